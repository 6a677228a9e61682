"""What was said, changed and deleted while nobody listened.

Discord repeats nothing after a connection that could not be resumed. The newest messages of a
channel are then read again: what was said lately is heard, what was changed is changed on
record, and what is on record and has gone is deleted there, once Discord says so of each.
Which channels these are, and what happened to votes, is for others to say.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta

import discord

from bot.conversation import Conversation
from bot.errors import RapportError
from bot.people import People
from bot.platforms.discord import incoming
from bot.platforms.discord.outgoing import FAILURES
from bot.platforms.discord.reconcile import Place
from bot.types import Message

log = logging.getLogger(__name__)

TOO_OLD = 15 * 60
"""Seconds after which what was said is not answered any more."""
NEWEST = 25
"""Messages of a channel that are read again."""
UNKNOWN_MESSAGE = 10008

Do = Callable[[discord.Message], Awaitable[None]]


class Missed:
    """Reads channels again.

    Args:
        hear: what is done about a message that was said; what is known stays as it is.
        change: what is done about a message that was edited.
    """

    def __init__(
        self, conversation: Conversation, people: People, hear: Do, change: Do
    ) -> None:
        self._conversation = conversation
        self._people = people
        self._hear = hear
        self._change = change

    async def is_gone(self, channel: Place, question: Message) -> bool:
        """Whether a question that waits was deleted meanwhile; one that was edited is changed."""
        number = int(question.platform_id)
        try:
            shown = await _shown(channel, number)
            if shown is None:
                guild = None if isinstance(channel, discord.DMChannel) else channel.guild.id
                spots = incoming.spots(guild, channel.id, number)
                await self._conversation.changes.deleted(spots)
                return True
            await self._change(shown)
        except FAILURES as error:
            log.debug("a question in %s is not looked at again: %s", channel, error)
        except RapportError as error:
            log.error("what changed in %s could not be taken: %s", channel, error)
        return False

    async def read(self, channel: Place) -> None:
        """Catch up with one channel; what cannot be read is left as it is."""
        guild = None if isinstance(channel, discord.DMChannel) else channel.guild.id
        key, since = incoming.channel_key(guild, channel.id), long_ago()
        try:
            # Asked for first: what is heard from here on is not missed.
            known = await self._conversation.changes.newest(key, NEWEST)
            newest = [message async for message in channel.history(limit=NEWEST)]
            for message in reversed(newest):
                if message.edited_at is not None:
                    await self._change(message)
                # One that has a thread of its own was heard when that was opened.
                if message.created_at <= since or message.flags.has_thread:
                    continue
                author, time = str(message.author.id), message.created_at
                if not await self._people.left_behind(incoming.NAME, author, time):
                    await self._hear(message)
            for number in _missing(known, newest):
                if await _shown(channel, number) is None:
                    spots = incoming.spots(guild, channel.id, number)
                    await self._conversation.changes.deleted(spots)
        except FAILURES as error:
            log.debug("what was said in %s is not read again: %s", channel, error)
        except RapportError as error:
            log.error("what changed in %s could not be taken: %s", channel, error)


def lively(guilds: Iterable[discord.Guild]) -> list[Place]:
    """The channels and threads where something was said lately, the latest first."""
    since = discord.utils.time_snowflake(long_ago())
    lately: list[tuple[int, Place]] = []
    every: list[discord.TextChannel | discord.Thread] = []
    for guild in guilds:
        every += guild.text_channels
        every += guild.threads
    for place in every:
        if (last := place.last_message_id or 0) > since:
            lately.append((last, place))
    return [place for _, place in sorted(lately, key=lambda one: one[0], reverse=True)]


def long_ago() -> datetime:
    """What was said before this is not answered any more."""
    return discord.utils.utcnow() - timedelta(seconds=TOO_OLD)


def _missing(known: Iterable[str], newest: Sequence[discord.Message]) -> list[int]:
    """What is on record of the span that was read and does not stand there."""
    read = {message.id for message in newest}
    oldest = newest[-1].id if len(newest) == NEWEST else 0
    return [one for one in map(int, known) if one >= oldest and one not in read]


async def _shown(channel: Place, message: int) -> discord.Message | None:
    """A message as it stands now, or None where Discord says that there is no such message.

    What is merely not shown is not proof: who may not read the history is shown none of it.

    Raises:
        discord.HTTPException: Discord does not say.
    """
    place = channel
    if isinstance(channel, discord.Thread) and isinstance(channel.parent, discord.TextChannel):
        # The message that a thread was opened for has its id, and stands outside.
        place = channel.parent if message == channel.id else channel
    try:
        return await place.fetch_message(message)
    except discord.NotFound as error:
        if error.code == UNKNOWN_MESSAGE:
            return None
        raise
