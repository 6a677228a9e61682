"""Reads, each on one consistent snapshot, and an end that waits for them.

A read that has begun runs to its end even where nobody waits for it any more: a connection
that is left half open or half read could never be closed in order. The reader does not know
what is read, or whether writes are still taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.errors import StoreError
from bot.store.database import translated

T = TypeVar("T")
Read = Callable[[Connection], T]


class Reader:
    """Runs reads side by side, for one event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        """The engine is its own from here on."""
        self._engine = engine
        self._closed = False
        self._reads: set[asyncio.Task[Any]] = set()

    async def read(self, act: Read[T]) -> T:
        """The result of `act` on a connection that cannot write.

        Raises:
            StoreError: closed, or the database refused.
        """
        if self._closed:
            raise StoreError("the store is closed")
        task = asyncio.create_task(self._run(act))
        self._reads.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Take no more, let those under way end, close the connections."""
        self._closed = True
        if self._reads:
            await asyncio.wait(self._reads)
        await self._engine.dispose()

    async def _run(self, act: Read[T]) -> T:
        with translated():
            async with self._engine.connect() as connection:
                return await connection.run_sync(act)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._reads.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; if nobody did, nobody misses it
