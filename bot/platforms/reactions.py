"""Signs under messages on their way to becoming votes, in the order they were given.

A sign may come before the reply it stands under is finished and on record, and even before the
platform has said under which id it was posted; then it waits for the replies that are being made
in its channel. Signs of one person under one message are handled one after another, others
beside each other, so that votes share their commits; what is about a whole message waits
for every sign before it, and every later one waits for that. An event tells of one sign
only: where taking one away withdraws a vote, the platform is asked whether the person has
left another one. It knows no platform: messages and people are ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bot.errors import RapportError
from bot.ratings import Ratings
from bot.types import ChannelKey, Vote, VoteValue

log = logging.getLogger(__name__)

Place = tuple[ChannelKey, str]
"""A message, in its conversation."""
Standing = Mapping[str, Collection[VoteValue]]
"""The signs of each person that a platform shows under a reply."""
Left = Callable[[ChannelKey, Sequence[str], str], Awaitable[Collection[VoteValue] | None]]
"""Asks a platform for the signs that one person shows under the messages of a reply; None where
it does not say."""
EVERYBODY = ""
"""Whose turn it is when something is about all signs under a message."""
PATIENCE = 10.0
"""Seconds that a platform has to say what somebody left; the bot may wait for it to end."""
MOST = 10_000
"""People under messages of whom is remembered when they gave their last sign."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A reaction that is a vote, given or taken away."""

    channel: ChannelKey
    message: str
    person: str
    value: VoteValue
    withdrawn: bool = False
    source: str = "reaction"
    time: float = 0.0
    """When it was given, where the platform says so, in seconds."""


class Signs:
    """Takes signs as they come, and turns them into votes."""

    def __init__(
        self, ratings: Ratings, counted: Callable[[Sign], Awaitable[None]] | None = None,
        left: Left | None = None,
    ) -> None:
        """`counted` is awaited after each sign that became a vote.

        `left` is asked when a vote was withdrawn, or a sign of which no vote is known.
        """
        self._ratings = ratings
        self._counted = counted
        self._left = left
        self._making: dict[ChannelKey, list[asyncio.Event]] = {}
        self._last: dict[Place, dict[str, asyncio.Task[None]]] = {}
        self._times: OrderedDict[tuple[ChannelKey, str, str], float] = OrderedDict()

    @contextmanager
    def making(self, channel: ChannelKey) -> Iterator[None]:
        """While a reply is made, until it is on record or will never be."""
        made = asyncio.Event()
        self._making.setdefault(channel, []).append(made)
        try:
            yield
        finally:
            made.set()
            self._making[channel].remove(made)
            if not self._making[channel]:
                del self._making[channel]

    def being_made(self) -> tuple[asyncio.Event, ...]:
        """One event for each reply that is being made now, set when it is on record."""
        return tuple(made for several in self._making.values() for made in several)

    def take(self, sign: Sign) -> None:
        """Accept a sign; returns at once.

        One that is older than the person's last one there has been told late: it is left.
        """
        if self._is_news(sign):
            place = (sign.channel, sign.message)
            self._queue([place], sign.person, lambda: self._taken(sign))

    def clear(self, channel: ChannelKey, message: str, value: VoteValue) -> None:
        """Accept that all signs of one kind, or with 0 of both, went; returns at once."""
        place = (channel, message)
        self._queue([place], EVERYBODY, lambda: self._withdraw(place, value))

    async def compare(
        self, channel: ChannelKey, messages: Sequence[str], read: Callable[[], Awaitable[Standing]]
    ) -> None:
        """Take what was missed: the difference between signs under a reply and votes on it.

        Signs that come while the platform is asked are taken after that, so that what it
        answers is never newer than they are. Votes given by button or command are left alone.

        Args:
            messages: those that the reply stands in, of which each has its signs.
            read: asks the platform for the signs under all of them; what it raises is raised
                here.
        """
        places = [(channel, message) for message in messages]
        await self._queue(places, EVERYBODY, lambda: self._compare(places[0], read))

    async def settled(self) -> None:
        """Wait until every sign that was taken is a vote on record."""
        while self._last:
            await asyncio.wait([task for last in self._last.values() for task in last.values()])

    def _is_news(self, sign: Sign) -> bool:
        """Whether a sign is not older than the last one; without a time it always is."""
        key = (sign.channel, sign.message, sign.person)
        if not sign.time:
            return True
        if sign.time < self._times.get(key, 0.0):
            return False
        self._times[key] = sign.time
        self._times.move_to_end(key)
        while len(self._times) > MOST:
            self._times.popitem(last=False)
        return True

    def _queue(
        self, places: list[Place], whose: str, work: Callable[[], Awaitable[None]]
    ) -> asyncio.Task[None]:
        """Do something about messages after what it has to wait for."""
        before = [
            task for place in places for person, task in self._last.get(place, {}).items()
            if whose in (person, EVERYBODY) or person == EVERYBODY
        ]
        task = asyncio.create_task(_after(before, work))
        for place in places:
            self._last.setdefault(place, {})[whose] = task
        task.add_done_callback(lambda done: self._drop(places, whose, done))
        return task

    def _drop(self, places: list[Place], whose: str, done: asyncio.Task[None]) -> None:
        for place in places:
            last = self._last.get(place, {})
            if last.get(whose) is done:
                del last[whose]
            if not last:
                self._last.pop(place, None)

    async def _compare(self, place: Place, read: Callable[[], Awaitable[Standing]]) -> None:
        standing = await read()
        held = {vote.rater: vote for vote in await self._ratings.standing(*place)}
        for person, values in standing.items():
            vote = held.get(person)
            if vote is None or (vote.source == "reaction" and vote.value not in values):
                # Which of two signs came last is not told; a dislike is the safer guess.
                await self._count(Sign(*place, person, min(values)))
        for vote in held.values():
            if vote.source == "reaction" and vote.rater not in standing:
                await self._count(Sign(*place, vote.rater, vote.value, withdrawn=True))

    async def _withdraw(self, place: Place, value: VoteValue) -> None:
        try:
            votes = await self._ratings.standing(*place)
        except RapportError as error:
            log.error("signs that were cleared could not be withdrawn: %s", error)
            return
        for vote in votes:
            if vote.source == "reaction" and value in (0, vote.value):
                sign = Sign(*place, vote.rater, vote.value, withdrawn=True)
                await (self._taken(sign) if value else self._count(sign))

    async def _taken(self, sign: Sign) -> None:
        """Count a sign that a person gave or took away; what still stands then counts again."""
        vote = await self._count(sign)
        if not sign.withdrawn or self._left is None:
            return
        if vote is None and sign.time:
            # Where signs may be told late: the one that holds may be gone as well, unheard of.
            held = await self._ratings.standing(sign.channel, sign.message)
            mine = (one for one in held if (one.rater, one.source) == (sign.person, sign.source))
            vote = next(mine, None)
        if vote is None:
            return
        left = await self._still(sign, vote.exchange_id)
        if left is None or vote.value in left:
            return
        if vote.value:
            await self._count(replace(sign, value=vote.value))
        if left:
            await self._count(replace(sign, value=min(left), withdrawn=False))

    async def _still(self, sign: Sign, exchange: int) -> Collection[VoteValue] | None:
        """What the platform shows of a person under a reply."""
        assert self._left is not None
        try:
            reply = await self._ratings.rated(sign.channel, exchange)
        except RapportError as error:
            log.error("what stands under a reply could not be counted: %s", error)
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._left(sign.channel, reply.platform_ids, sign.person)
        except TimeoutError:
            log.warning("what somebody left under a reply is not counted: no answer came")
            return None

    async def _count(self, sign: Sign) -> Vote | None:
        making = tuple(self._making.get(sign.channel, ()))
        try:
            for made in making:  # they end in this order
                if await self._ratings.known(sign.channel, sign.message):
                    break
                await made.wait()
            vote = await self._ratings.signed(
                sign.channel, sign.message, sign.person, sign.value, sign.source,
                withdrawn=sign.withdrawn,
            )
            if vote is not None and vote.value and self._counted is not None:
                await self._counted(sign)
            return vote
        except RapportError as error:
            log.error("a reaction could not be saved as a vote: %s", error)
            return None


async def _after(before: list[asyncio.Task[None]], work: Callable[[], Awaitable[None]]) -> None:
    if before:
        await asyncio.wait(before)
    await work()
