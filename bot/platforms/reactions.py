"""Signs under messages on their way to becoming votes, in the order they were given.

A sign may come before the reply it stands under is finished and on record; then it waits
for that. Signs of one person under one message are handled one after another, others
beside each other, so that votes share their commits. It knows no platform: messages and
people are ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from dataclasses import dataclass

from bot.conversation import Conversation
from bot.errors import RapportError
from bot.types import ChannelKey, VoteValue

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sign:
    """A reaction that is a vote, given or taken away."""

    channel: ChannelKey
    message: str
    person: str
    value: VoteValue
    withdrawn: bool = False
    source: str = "reaction"


class Signs:
    """Takes signs as they come, and turns them into votes."""

    def __init__(
        self, conversation: Conversation,
        counted: Callable[[Sign], Awaitable[None]] | None = None,
    ) -> None:
        """`counted` is awaited after each sign that became a vote."""
        self._conversation = conversation
        self._counted = counted
        self._growing: dict[tuple[ChannelKey, str], asyncio.Event] = {}
        self._last: dict[Hashable, asyncio.Task[None]] = {}

    def growing(self, channel: ChannelKey, message: str) -> None:
        """Say that a message belongs to a reply that is still being made."""
        self._growing[channel, message] = asyncio.Event()

    def grown(self, channel: ChannelKey, messages: tuple[str, ...]) -> None:
        """Say that the reply of these messages is on record, or will never be."""
        for message in messages:
            event = self._growing.pop((channel, message), None)
            if event is not None:
                event.set()

    def take(self, sign: Sign) -> None:
        """Accept a sign; returns at once."""
        key = (sign.channel, sign.message, sign.person)
        task = asyncio.create_task(self._count(sign, self._last.get(key)))
        self._last[key] = task
        task.add_done_callback(lambda done: self._drop(key, done))

    async def compare(
        self, channel: ChannelKey, message: str, standing: Mapping[str, Collection[VoteValue]]
    ) -> None:
        """Take what was missed: the difference between signs that stand there and votes.

        Votes given by button or command are left alone.

        Args:
            standing: the signs of each person that the platform shows under the message.
        """
        votes = await self._conversation.ratings.standing(channel, message)
        held = {vote.rater: vote for vote in votes}
        for person, values in standing.items():
            vote = held.get(person)
            if vote is None or (vote.source == "reaction" and vote.value not in values):
                # Which of two signs came last is not told; a dislike is the safer guess.
                self.take(Sign(channel, message, person, min(values)))
        for vote in votes:
            if vote.source == "reaction" and vote.rater not in standing:
                self.take(Sign(channel, message, vote.rater, vote.value, withdrawn=True))

    async def settled(self) -> None:
        """Wait until every sign that was taken is a vote on record."""
        while self._last:
            await asyncio.wait(list(self._last.values()))

    def _drop(self, key: Hashable, done: asyncio.Task[None]) -> None:
        if self._last.get(key) is done:
            del self._last[key]

    async def _count(self, sign: Sign, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        growing = self._growing.get((sign.channel, sign.message))
        if growing is not None:
            await growing.wait()
        try:
            vote = await self._conversation.ratings.signed(
                sign.channel, sign.message, sign.person, sign.value, sign.source,
                withdrawn=sign.withdrawn,
            )
            if vote is not None and vote.value and self._counted is not None:
                await self._counted(sign)
        except RapportError as error:
            log.error("a reaction could not be saved as a vote: %s", error)
