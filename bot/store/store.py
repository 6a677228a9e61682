"""The store as the other rooms see it: one object, opened on a folder and closed again.

What it can do is written in its parts; what is here is only its life. Between `open` and
`close` any number of tasks of one event loop may use it. A call that writes returns when
the write is durable; a call that reads sees every write confirmed before it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from bot.errors import StoreError
from bot.store.adapters import Adapters
from bot.store.answers import Answers
from bot.store.bans import Bans
from bot.store.conversations import Conversations
from bot.store.database import (
    copy_database,
    migrate,
    prepare_folder,
    reading_engine,
    rewrite_a_page,
    writing_engine,
)
from bot.store.examples import Examples
from bot.store.exchanges import Exchanges
from bot.store.followups import FollowUps
from bot.store.journal import Journal
from bot.store.judgements import Judgements
from bot.store.people import People
from bot.store.rated import Rated
from bot.store.reader import Reader
from bot.store.recent import Recent
from bot.store.reviews import Reviews
from bot.store.runs import Runs
from bot.store.votes import Votes
from bot.store.writer import Writer

FILE = "rapport.db"


class Store(
    Conversations, Exchanges, Answers, Examples, FollowUps, Votes, Rated, Recent, Reviews,
    Bans, Judgements, People, Runs, Adapters, Journal,
):
    """Everything that Rapport remembers."""

    def __init__(self, file: Path) -> None:
        """Use `Store.open`, which brings the schema up to date first."""
        super().__init__(Reader(reading_engine(file)), Writer(writing_engine(file)))
        self._file = file

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Open ``rapport.db`` in `folder`, making and migrating what needs it.

        Raises:
            StoreError: the folder or the file cannot be used; the message says why.
            StoreVersionError: the file was written by a version unknown to this one.
        """
        file = folder / FILE
        # Together in one thread: file access and schema work would stall the event loop.
        await asyncio.to_thread(_prepare, folder, file)
        return cls(file)

    async def close(self) -> None:
        """Finish what has begun, then let go of the file. Closing again is harmless."""
        try:
            await self._writer.close()
        finally:
            await self._reader.close()

    async def __aenter__(self) -> Self:
        """The store itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    async def check_writable(self) -> None:
        """Write to the disk for real, without changing anything.

        Raises:
            StoreError: it cannot be written.
        """
        await self._write(rewrite_a_page)

    async def backup(self, file: Path) -> None:
        """Copy the whole store, as of one moment, to a new single file, while it is in use.

        Raises:
            StoreError: `file` exists or cannot be written.
        """
        if self._writer.closed:
            raise StoreError("the store is closed")
        await asyncio.to_thread(copy_database, self._file, file)


def _prepare(folder: Path, file: Path) -> None:
    prepare_folder(folder)
    migrate(file)
