"""What happened to votes while nobody listened.

Discord repeats no reaction after a connection that could not be resumed. The replies of the
last day are then looked at again: signs that stand there and are no votes become votes, and
votes whose sign has gone are withdrawn.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import groupby

import discord

from bot.conversation import Conversation
from bot.platforms.discord.incoming import DIRECT, NAME
from bot.platforms.discord.outgoing import FAILURES
from bot.platforms.reactions import Signs
from bot.platforms.thumbs import Thumbs
from bot.types import ChannelKey, VoteValue

log = logging.getLogger(__name__)

Place = discord.TextChannel | discord.Thread | discord.DMChannel
SPAN = timedelta(days=1)
MOST = 100
"""Replies that are looked at again; each costs a request."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What has been looked at again."""

    places: list[Place]
    """The channels that the replies stand in."""
    replies: set[int]
    """The exchanges."""


class Reconciliation:
    """Compares the signs under recent replies with the votes on record."""

    def __init__(
        self, client: discord.Client, conversation: Conversation, thumbs: Thumbs, signs: Signs
    ) -> None:
        self._client = client
        self._conversation = conversation
        self._thumbs = thumbs
        self._signs = signs

    async def run(self, known: Collection[int] = ()) -> Looked:
        """Look at the newest replies again, but for those that are `known` to have been looked at.

        What cannot be read is left as it is.
        """
        places: dict[ChannelKey, Place] = {}
        replies = set(known)
        since = discord.utils.utcnow() - SPAN
        posted = await self._conversation.ratings.posted_since(NAME, since, MOST)
        for (exchange, key), parts in groupby(posted, lambda one: (one.exchange_id, one.channel)):
            if exchange in replies:
                continue
            replies.add(exchange)
            channel = places.get(key) or await self.channel(key)
            if channel is None:
                continue
            places[key] = channel
            messages = [part.platform_id for part in parts]
            try:
                await self._signs.compare(
                    key, messages, partial(self._standing, channel, messages)
                )
            except FAILURES as error:
                log.debug("reply %s is not looked at again: %s", exchange, error)
        return Looked(list(places.values()), replies)

    async def left(
        self, key: ChannelKey, messages: Sequence[str], person: str
    ) -> Collection[VoteValue]:
        """The signs of one person under a reply; none where Discord does not say."""
        values: set[VoteValue] = set()
        channel = await self.channel(key)
        if channel is None:
            return values
        try:
            async for reaction, value in self._signs_under(channel, messages):
                if value not in values:
                    before = discord.Object(int(person) - 1)
                    values |= {
                        value async for user in reaction.users(limit=1, after=before)
                        if str(user.id) == person
                    }
        except FAILURES as error:
            log.debug("what somebody left under a reply is not counted: %s", error)
        return values

    async def channel(self, key: ChannelKey) -> Place | None:
        """The channel of a key, or None where it has gone or is hidden."""
        number = int(key.channel)
        channel = self._client.get_channel(number)
        if channel is None and key.guild != DIRECT:
            guild = self._client.get_guild(int(key.guild))
            channel = guild.get_thread(number) if guild else None
        if channel is None:
            try:
                channel = await self._client.fetch_channel(number)
            except discord.DiscordException:
                return None
        if isinstance(channel, (discord.TextChannel, discord.Thread, discord.DMChannel)):
            return channel
        return None

    async def _standing(
        self, channel: Place, messages: Iterable[str]
    ) -> dict[str, set[VoteValue]]:
        """Who gave which signs under a reply."""
        standing: dict[str, set[VoteValue]] = {}
        async for reaction, value in self._signs_under(channel, messages):
            async for user in reaction.users():
                if not user.bot:
                    standing.setdefault(str(user.id), set()).add(value)
        return standing

    async def _signs_under(
        self, channel: Place, messages: Iterable[str]
    ) -> AsyncIterator[tuple[discord.Reaction, VoteValue]]:
        """The reactions under a reply that are votes."""
        for message in messages:
            shown = await channel.fetch_message(int(message))
            for reaction in shown.reactions:
                emoji = reaction.emoji
                if value := self._thumbs.value(emoji if isinstance(emoji, str) else emoji.name):
                    yield reaction, value
