"""What people think of replies: votes on their way into the store.

A vote comes by command or button on an exchange, or as a sign under a posted message; it is
durable when the call returns, and whoever waits for votes is told. Knows no platform and no
learning: what votes come to is an opinion, made elsewhere from what is kept here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from bot.errors import RapportError
from bot.store import Posted, Store
from bot.types import ChannelKey, Exchange, Vote, VoteValue


class Ratings:
    """The votes on all replies."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime],
        on_vote: Callable[[Vote], Awaitable[object]] | None = None,
        barred: Callable[[str, str], bool] = lambda platform, person: False,
    ) -> None:
        """`barred` tells on which platform whose votes do not count."""
        self._store = store
        self._clock = clock
        self._on_vote = on_vote
        self._barred = barred

    async def vote(
        self, channel: ChannelKey, exchange_id: int, rater: str, value: VoteValue, source: str
    ) -> Vote:
        """Keep a person's opinion of a reply (0 withdraws it); durable on return.

        Raises:
            RapportError: there is no such reply in this channel, or the person is barred.
        """
        if self._barred(channel.platform, rater):
            raise RapportError("you may not rate replies here")
        await self.rated(channel, exchange_id)
        return await self._keep(exchange_id, rater, value, source)

    async def rated(self, channel: ChannelKey, exchange_id: int) -> Exchange:
        """The reply of a channel, with exactly what the model saw and said.

        Raises:
            RapportError: there is no such reply in this channel.
        """
        exchange = await self._store.exchange(exchange_id)
        if exchange is None or exchange.channel != channel:
            raise RapportError(f"there is no reply {exchange_id} in this channel")
        return exchange

    async def known(self, channel: ChannelKey, platform_id: str) -> bool:
        """Whether a posted message belongs to a reply on record."""
        return await self._store.exchange_of(channel, platform_id) is not None

    async def signed(
        self, channel: ChannelKey, platform_id: str, rater: str, value: VoteValue, source: str,
        *, withdrawn: bool = False,
    ) -> Vote | None:
        """Take a sign under a posted message as a vote; None where it changes nothing.

        The last thing a person did counts: a sign replaces the other one, and taking a sign
        away withdraws the vote only if that is the one that holds.
        """
        if not value or self._barred(channel.platform, rater):
            return None
        exchange = await self._store.exchange_of(channel, platform_id)
        if exchange is None:
            return None
        holds = await self._store.current_vote(exchange, rater)
        if withdrawn:
            return await self._keep(exchange, rater, 0, source) if holds == value else None
        return await self._keep(exchange, rater, value, source) if holds != value else None

    async def posted(self, exchange_id: int, platform_ids: tuple[str, ...]) -> None:
        """Remember under which of the platform's ids a reply was posted."""
        await self._store.link_platform_ids(exchange_id, platform_ids)

    async def posted_since(self, platform: str, since: datetime, limit: int) -> list[Posted]:
        """The newest replies posted on a platform after a time, newest first."""
        return await self._store.posted_since(platform, since, limit)

    async def standing(self, channel: ChannelKey, platform_id: str) -> list[Vote]:
        """The votes that hold for the reply that a posted message belongs to."""
        exchange = await self._store.exchange_of(channel, platform_id)
        return [] if exchange is None else await self._store.current_votes_on(exchange)

    async def _keep(self, exchange: int, rater: str, value: VoteValue, source: str) -> Vote:
        vote = Vote(exchange, rater, value, source, self._clock())
        await self._store.add_vote(vote)
        if self._on_vote is not None:
            await self._on_vote(vote)
        return vote
