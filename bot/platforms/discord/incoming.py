"""What people write on Discord, as Rapport's own values.

Decides whether a message is addressed to the bot and turns it into a `Message`; text files
are read into it within a budget, other files are named. Whether the person may be answered
is admission's to say. Nothing here answers or stores.
"""

from __future__ import annotations

import logging

import discord

from bot.config import DiscordConfig
from bot.platforms import attachments
from bot.store.conversations import Spot
from bot.types import ChannelKey, Message

log = logging.getLogger(__name__)

NAME = "discord"
DIRECT = "direct"
"""The guild of direct messages."""
_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)


def channel_key(guild_id: int | None, channel_id: int) -> ChannelKey:
    """The key of a channel, a thread or a direct conversation."""
    return ChannelKey(NAME, DIRECT if guild_id is None else str(guild_id), str(channel_id))


def key_of(message: discord.Message) -> ChannelKey:
    """The channel that a message stands in."""
    return channel_key(message.guild.id if message.guild else None, message.channel.id)


def spots(guild_id: int | None, channel_id: int, message_id: int) -> tuple[Spot, ...]:
    """Where a message may be on record: its channel, or the thread that was opened for it.

    Such a thread has the id of the message that it began with.
    """
    places = (channel_id,) if guild_id is None else (channel_id, message_id)
    return tuple((channel_key(guild_id, place), str(message_id)) for place in places)


def is_spoken(message: discord.Message) -> bool:
    """Whether a person said it: not a bot, a webhook or Discord itself."""
    return (
        not message.author.bot and message.webhook_id is None and message.type in _SPOKEN
    )


def is_addressed(message: discord.Message, me: discord.ClientUser, config: DiscordConfig) -> bool:
    """Whether a message asks for an answer.

    Direct messages do, mentions of the bot or of its own role, replies to it, threads that
    it is in, and everything in the channels where it always answers.
    """
    if message.guild is None or me in message.mentions:
        return True
    if any(role.is_bot_managed() and role.tags and role.tags.bot_id == me.id
           for role in message.role_mentions):
        return True
    replied = message.reference.resolved if message.reference else None
    if isinstance(replied, discord.Message) and replied.author == me:
        return True
    channel = message.channel
    if isinstance(channel, discord.Thread) and (channel.me or channel.owner_id == me.id):
        return True
    places = {str(channel.id), *within(channel)}
    return not places.isdisjoint(config.always)


def within(channel: object) -> tuple[str, ...]:
    """Ids of what a channel lies in: the channel of a thread, and the category."""
    ids: list[int | None] = []
    if isinstance(channel, discord.Thread):
        ids.append(channel.parent_id)
        channel = channel.parent
    ids.append(getattr(channel, "category_id", None))
    return tuple(str(one) for one in ids if one)


def is_private(message: discord.Message) -> bool:
    """Whether not everybody on the server can read along."""
    if message.guild is None:
        return True
    channel: object = message.channel
    if isinstance(channel, discord.Thread):
        if channel.is_private():
            return True
        channel = channel.parent
    if not isinstance(channel, discord.abc.GuildChannel):
        return True  # not known well enough to say that everybody reads it
    return not channel.permissions_for(message.guild.default_role).view_channel


def as_message(message: discord.Message, me: discord.ClientUser) -> Message:
    """A Discord message as Rapport's own; attached files are only named."""
    names = (attachments.shown(file.filename) for file in message.attachments)
    member = message.author
    return Message(
        channel=key_of(message),
        author=str(member.id),
        text="\n".join([spoken_text(message, me), *names]).strip(),
        platform_id=str(message.id),
        time=message.created_at,
        author_name=member.display_name,
        private=is_private(message),
        roles=roles_of(member),
        within=(str(message.channel.id), *within(message.channel)),
    )


def roles_of(person: discord.abc.User) -> tuple[str, ...]:
    """The ids of the roles that somebody has where they were met."""
    roles = person.roles if isinstance(person, discord.Member) else []
    return tuple(str(role.id) for role in roles)


def spoken_text(message: discord.Message, me: discord.ClientUser) -> str:
    """What was said, without the mention of the bot, and with names instead of ids."""
    text = message.content
    for form in (f"<@{me.id}>", f"<@!{me.id}>"):
        text = text.replace(form, "")
    for user in message.mentions:
        for form in (f"<@{user.id}>", f"<@!{user.id}>"):
            text = text.replace(form, f"@{user.display_name}")
    for role in message.role_mentions:
        text = text.replace(f"<@&{role.id}>", f"@{role.name}")
    return text.strip()


async def with_files(message: discord.Message, me: discord.ClientUser, budget: int) -> str:
    """What was said, with the text files in it as far as the budget goes, in characters."""
    parts = [spoken_text(message, me)]
    for file in message.attachments:
        content = await _content(file, budget)
        budget -= len(content)
        parts.append(attachments.shown(file.filename, content))
    return "\n".join(parts).strip()


async def _content(file: discord.Attachment, budget: int) -> str:
    if not attachments.is_readable(file.filename, file.content_type or "", file.size, budget):
        return ""
    try:
        return attachments.excerpt(await file.read(), budget)
    except discord.DiscordException as error:
        log.warning("an attachment could not be read: %s", type(error).__name__)
        return ""
