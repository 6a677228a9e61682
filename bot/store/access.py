"""How the parts of the store reach the database: reads through the reader, writes the writer.

Each part (`conversations`, `exchanges`, `examples`, `votes`, `rated`, `recent`, `reviews`,
`bans`, `judgements`, `people`, `runs`, `adapters`, `journal`) derives from `Access` and adds its
own questions; `store.Store` is all of them together. Nothing here knows a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Executable, Row

from bot.store.reader import Read, Reader
from bot.store.writer import Write, Writer

T = TypeVar("T")


class Access:
    """A reader and a writer."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        """Use both; whoever closes the store closes them."""
        self._reader = reader
        self._writer = writer

    async def _write(self, act: Write[T]) -> T:
        """The result of `act`, once it is durable."""
        return await self._writer.write(act)

    async def _read(self, act: Read[T]) -> T:
        """The result of `act` on one consistent snapshot."""
        return await self._reader.read(act)

    async def _rows(self, statement: Executable) -> Sequence[Row[Any]]:
        return await self._read(lambda connection: connection.execute(statement).all())
