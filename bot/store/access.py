"""How the parts of the store reach the database: reads here, writes through the writer.

Each part (`conversations`, `exchanges`, `votes`, `people`, `runs`, `adapters`, `journal`)
derives from `Access` and adds its own questions; `store.Store` is all of them together. Nothing
here knows a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Row
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import StoreError
from bot.store.database import translated
from bot.store.writer import Write, Writer

T = TypeVar("T")


class Access:
    """A reading engine and a writer."""

    def __init__(self, readers: AsyncEngine, writer: Writer) -> None:
        """Take over both; whoever closes the store lets go of them."""
        self._readers = readers
        self._writer = writer

    async def _write(self, act: Write[T]) -> T:
        """The result of `act`, once it is durable."""
        return await self._writer.write(act)

    async def _read(self, act: Callable[[Connection], T]) -> T:
        """The result of `act` on one consistent snapshot."""
        if self._writer.closed:
            raise StoreError("the store is closed")
        with translated():
            async with self._readers.connect() as connection:
                return await connection.run_sync(act)

    async def _rows(self, statement: Executable) -> Sequence[Row[Any]]:
        return await self._read(lambda connection: connection.execute(statement).all())
