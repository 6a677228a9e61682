"""What people do to messages that they have sent: other words, or none.

A message that was edited says its new words in every prompt that is made afterwards, and one
that was deleted is in none: its row goes, and its words with it. Exchanges that were made
before are a record of what the model saw, and stay. What comes for a message that is not on
record changes nothing. Where a message is on record is for platforms to say, with as many
guesses as it takes (`Spot`); nothing here knows one.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta

from bot.admission import clean
from bot.errors import StoreError
from bot.store import Store
from bot.store.conversations import Spot
from bot.types import ChannelKey, Message

log = logging.getLogger(__name__)

SPAN = timedelta(days=1)
"""How far back it is looked for changes that were missed."""
MOST = 10_000
"""Deleted messages that are remembered by their ids, for when they are heard only then."""


class Changes:
    """Edits and deletions, on their way into the store and out of memory."""

    def __init__(self, store: Store, forget: Callable[[Iterable[ChannelKey]], None]) -> None:
        """`forget` drops what is in memory of channels, so that it is read anew."""
        self._store = store
        self._forget = forget
        self._gone: OrderedDict[Spot, None] = OrderedDict()

    async def on_record(self, spots: Collection[Spot]) -> bool:
        """Whether a message is on record, so that its new words are worth finding out."""
        return await self._store.on_record(spots)

    async def newest(self, channel: ChannelKey, limit: int) -> list[str]:
        """The platform's ids of what is on record of the last day, newest first.

        A platform that missed something compares them with what it shows now.
        """
        return await self._store.newest_messages(channel, datetime.now(UTC) - SPAN, limit)

    async def edited(self, spots: Collection[Spot], text: str) -> None:
        """Let a message say something else from now on; durable on return.

        Raises:
            StoreError: it could not be saved.
        """
        if text := clean(text):
            self._forget(await self._store.change_message(spots, text))
        else:
            await self.deleted(spots)

    async def deleted(self, spots: Collection[Spot]) -> None:
        """Erase messages, and do not answer those that wait; durable on return.

        Raises:
            StoreError: they could not be deleted.
        """
        for spot in spots:
            self._gone[spot] = None
        while len(self._gone) > MOST:
            self._gone.popitem(last=False)
        if channels := await self._store.delete_messages(spots):
            self._forget(channels)
            await self._sweep()

    def is_gone(self, message: Message) -> bool:
        """Whether a message was deleted before it was heard: events overtake each other."""
        return (message.channel, message.platform_id) in self._gone

    async def _sweep(self) -> None:
        """Take the words out of the database's log as well.

        Their place in the file is overwritten as it is freed. Rewriting the whole file, which
        alone is sure of pages that were moved earlier, stops all writes for too long.
        """
        try:
            await self._store.sweep(rewrite=False)
        except StoreError as error:
            log.warning("%s", error)
