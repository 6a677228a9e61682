"""The messages of a Discord, and what happens to them: posts, edits, reactions, threads.

People and the bot go through the same methods; whether they may is decided before, in
`tests.fakes.discord_routes`, because people are not refused in tests.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fakes.discord_bits import Intent, Permission
from tests.fakes.discord_rules import EPHEMERAL, HAS_THREAD
from tests.fakes.discord_world import (
    DIRECT,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    Channel,
    Emit,
    Event,
    Guild,
    Json,
    Role,
    Snowflakes,
    User,
    now,
)

_USER = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")


@dataclass(frozen=True)
class Attachment:
    """A file under a message, with its content."""

    id: int
    filename: str
    content: bytes
    content_type: str
    url: str
    description: str = ""
    """For those who do not see it."""

    def payload(self) -> Json:
        """The attachment object."""
        described = {"description": self.description} if self.description else {}
        return {
            "id": str(self.id), "filename": self.filename, "size": len(self.content),
            "url": self.url, "proxy_url": self.url, "content_type": self.content_type, **described,
        }


@dataclass(eq=False)
class Message:
    """One message as the server has it now, with what was sent to make it so."""

    id: int
    channel: Channel
    author: User
    content: str
    kind: int = 0
    flags: int = 0
    nonce: str | None = None
    tts: bool = False
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    allowed_mentions: Json | None = None
    """As it was sent with the message, and later with its last edit that named any."""
    reference: Message | None = None
    mentions: list[User] = field(default_factory=list)
    """Who is pinged, after the allowed mentions."""
    role_mentions: list[Role] = field(default_factory=list)
    mentions_everyone: bool = False
    reactions: dict[str, dict[int, bool]] = field(default_factory=dict)
    """Of each emoji, who gave it, and whether as a burst."""
    thread: Channel | None = None
    interaction: Json | None = None
    """The metadata of the interaction that it answers."""
    posted_at: float = field(default_factory=time.monotonic)
    posted: str = field(default_factory=now)
    edits: list[float] = field(default_factory=list)
    """When it was edited, by the monotonic clock."""
    versions: list[str] = field(default_factory=list)
    """Every content it had, the present one last."""
    edited: str | None = None
    deleted: bool = False

    @property
    def ephemeral(self) -> bool:
        """Whether one person alone sees it."""
        return bool(self.flags & EPHEMERAL)

    def readable_without_intent(self, bot: User) -> bool:
        """Whether the content is told to a bot that may not read messages."""
        return self.channel.guild is None or self.author is bot or bot in self.mentions

    def payload(self, bot: User, *, content: bool = True, resolve: bool = True) -> Json:
        """The message object as `bot` gets it; `content` says whether it may read all."""
        shown = content or self.readable_without_intent(bot)
        data: Json = {
            "id": str(self.id), "channel_id": str(self.channel.id), "type": self.kind,
            "author": self.author.payload(), "content": self.content if shown else "",
            "timestamp": self.posted, "edited_timestamp": self.edited, "tts": self.tts,
            "mention_everyone": self.mentions_everyone, "pinned": False, "flags": self.flags,
            "mentions": [self._mention(user) for user in self.mentions],
            "mention_roles": [str(role.id) for role in self.role_mentions],
            "embeds": self.embeds if shown else [],
            "components": self.components if shown else [],
            "attachments": [one.payload() for one in self.attachments] if shown else [],
        }
        if self.reactions:
            data["reactions"] = [self._reaction(emoji, bot) for emoji in self.reactions]
        if self.nonce is not None:
            data["nonce"] = self.nonce
        if self.interaction is not None:
            data |= {"interaction_metadata": self.interaction, "webhook_id": str(bot.id),
                     "application_id": str(bot.id)}
        if self.thread is not None:
            data["thread"] = self.thread.payload(bot)
        if self.reference is not None:
            data["message_reference"] = {
                "type": 0, "message_id": str(self.reference.id),
                "channel_id": str(self.reference.channel.id), **self._place(),
            }
            if resolve:
                gone = self.reference.deleted
                data["referenced_message"] = None if gone else self.reference.payload(
                    bot, content=content, resolve=False
                )
        return data

    def event(self, bot: User, *, content: bool) -> Json:
        """The message as an event tells it: with where, and who on that guild."""
        data = self.payload(bot, content=content) | self._place()
        member = self.channel.guild.members.get(self.author.id) if self.channel.guild else None
        return data | {"member": member.payload(user=False)} if member else data

    def _place(self) -> Json:
        return {"guild_id": str(self.channel.guild.id)} if self.channel.guild else {}

    def _mention(self, user: User) -> Json:
        member = self.channel.guild.members.get(user.id) if self.channel.guild else None
        data = user.payload()
        return data | {"member": member.payload(user=False)} if member else data

    def _reaction(self, emoji: str, bot: User) -> Json:
        given = self.reactions[emoji]
        bursts = sum(given.values())
        return {
            "emoji": emoji_payload(emoji), "count": len(given), "me": bot.id in given,
            "me_burst": given.get(bot.id, False), "burst_colors": [],
            "count_details": {"burst": bursts, "normal": len(given) - bursts},
        }


def emoji_payload(emoji: str) -> Json:
    """An emoji as objects name it; a custom one is written ``name:id``."""
    name, _, number = emoji.partition(":")
    return {"id": number or None, "name": name}


class Messages:
    """Every message of every channel."""

    def __init__(self, bot: User, ids: Snowflakes, emit: Emit) -> None:
        self.bot = bot
        self._ids = ids
        self._emit = emit
        self.all: dict[int, Message] = {}
        self.users: dict[int, User] = {bot.id: bot}
        self.guilds: dict[int, Guild] = {}
        self.direct: dict[int, Channel] = {}

    def channel(self, channel_id: int) -> Channel | None:
        """A channel, a thread or a direct conversation."""
        for guild in self.guilds.values():
            if channel := guild.channels.get(channel_id):
                return channel
        return self.direct.get(channel_id)

    def user(self, user_id: int) -> User | None:
        """Anybody known, on a guild or not."""
        for guild in self.guilds.values():
            if member := guild.members.get(user_id):
                return member.user
        return self.users.get(user_id)

    def of(self, channel: Channel) -> list[Message]:
        """What stands in a channel for everybody, in order."""
        return [
            message for message in self.all.values()
            if message.channel is channel and not message.deleted and not message.ephemeral
        ]

    def open_dm(self, user: User) -> Channel:
        """The direct conversation of the bot and somebody, new or not."""
        for channel in self.direct.values():
            if channel.recipient is user:
                return channel
        channel = Channel(self._ids(), DIRECT, recipient=user)
        self.users[user.id] = user
        self.direct[channel.id] = channel
        return channel

    def post(self, message: Message) -> Message:
        """Take a message in and tell of it, unless it is for one person only."""
        self._resolve_mentions(message)
        message.versions.append(message.content)
        self.all[message.id] = message
        if not message.ephemeral:
            message.channel.last_message = message.id
            message.channel.message_count += 1
            self._tell("MESSAGE_CREATE", message)
        return message

    def edit(self, message: Message, content: str | None = None) -> None:
        """Set what is new in a message; other fields are set by the caller before."""
        if content is not None:
            message.content = content
            message.versions.append(content)
        message.edits.append(time.monotonic())
        message.edited = now()
        self._resolve_mentions(message)
        self._tell("MESSAGE_UPDATE", message)

    def delete(self, message: Message) -> None:
        """Take a message away."""
        message.deleted = True
        self._about(message, "MESSAGE_DELETE", {"id": str(message.id)}, reaction=False)

    def delete_many(self, messages: Sequence[Message]) -> None:
        """Take messages of one channel away; it is told of in one event."""
        for message in messages:
            message.deleted = True
        data = {"ids": [str(message.id) for message in messages]}
        self._about(messages[0], "MESSAGE_DELETE_BULK", data, reaction=False)

    def react(self, message: Message, user: User, emoji: str, *, burst: bool = False) -> None:
        """Give a reaction; a second one of the same kind changes nothing."""
        given = message.reactions.setdefault(emoji, {})
        if user.id in given:
            return
        given[user.id] = burst
        data: Json = {
            "user_id": str(user.id), "emoji": emoji_payload(emoji), "burst": burst,
            "type": int(burst), "message_author_id": str(message.author.id),
        }
        if burst:
            data["burst_colors"] = ["#ffaa00"]
        if message.channel.guild and (member := message.channel.guild.members.get(user.id)):
            data["member"] = member.payload()
        self._about(message, "MESSAGE_REACTION_ADD", data)

    def unreact(self, message: Message, user: User, emoji: str) -> None:
        """Take a reaction back; one that is not there changes nothing."""
        given = message.reactions.get(emoji, {})
        if user.id not in given:
            return
        burst = given.pop(user.id)
        if not given:
            del message.reactions[emoji]
        self._about(message, "MESSAGE_REACTION_REMOVE", {
            "user_id": str(user.id), "emoji": emoji_payload(emoji), "burst": burst,
            "type": int(burst),
        })

    def clear(self, message: Message, emoji: str | None) -> None:
        """A moderator takes away all reactions, or those of one kind."""
        if emoji is None:
            message.reactions.clear()
            self._about(message, "MESSAGE_REACTION_REMOVE_ALL", {})
        elif message.reactions.pop(emoji, None) is not None:
            data = {"emoji": emoji_payload(emoji)}
            self._about(message, "MESSAGE_REACTION_REMOVE_EMOJI", data)

    def start_thread(
        self, channel: Channel, owner: User, name: str, start: Message | None = None, *,
        private: bool = False, members: tuple[User, ...] = (),
    ) -> Channel:
        """Open a thread, on a message or free; a thread on a message has its id."""
        guild = channel.guild
        assert guild is not None, "a direct conversation has no threads"
        kind = PRIVATE_THREAD if private else PUBLIC_THREAD
        thread = Channel(start.id if start else self._ids(), kind, name, guild, channel)
        thread.owner = owner
        thread.members = {owner.id, *(member.id for member in members)}
        guild.channels[thread.id] = thread
        if thread.allowed(self.bot):
            guild.tell("THREAD_CREATE", thread.payload(self.bot) | {"newly_created": True})
        if start is not None:
            start.thread = thread
            start.flags |= HAS_THREAD
            self._tell("MESSAGE_UPDATE", start)
        return thread

    def typing(self, channel: Channel, user: User) -> None:
        """Somebody types."""
        data: Json = {
            "channel_id": str(channel.id), "user_id": str(user.id), "timestamp": int(time.time()),
        }
        if channel.guild is None:
            self._emit(Event("TYPING_START", data, Intent.DIRECT_MESSAGE_TYPING))
        elif channel.allowed(self.bot):
            member = channel.guild.members[user.id].payload()
            data |= {"guild_id": str(channel.guild.id), "member": member}
            self._emit(Event("TYPING_START", data, Intent.GUILD_MESSAGE_TYPING, channel.guild.id))

    def _resolve_mentions(self, message: Message) -> None:
        allowed = message.allowed_mentions
        parse = ["users", "roles", "everyone"] if allowed is None else allowed.get("parse") or []

        def may(kind: str, number: int) -> bool:
            named = (allowed or {}).get(kind) or []
            return kind in parse or number in {int(one) for one in named}

        numbers = dict.fromkeys(int(number) for number in _USER.findall(message.content))
        found = [self.user(number) for number in numbers if may("users", number)]
        message.mentions = [user for user in found if user is not None]
        pings = True if allowed is None else bool(allowed.get("replied_user"))
        replied = message.reference.author if message.reference and message.kind == 19 else None
        if replied is not None and pings and replied not in message.mentions:
            message.mentions.append(replied)
        roles = message.channel.guild.roles if message.channel.guild else {}
        numbers = dict.fromkeys(int(number) for number in _ROLE.findall(message.content))
        message.role_mentions = [
            roles[number] for number in numbers if number in roles and may("roles", number)
        ]
        loud = "@everyone" in message.content or "@here" in message.content
        entitled = Permission.MENTION_EVERYONE in message.channel.allowed(message.author)
        message.mentions_everyone = loud and "everyone" in parse and entitled

    def _tell(self, name: str, message: Message) -> None:
        guild = message.channel.guild
        if message.ephemeral or not message.channel.allowed(self.bot):
            return
        intent = Intent.GUILD_MESSAGES if guild else Intent.DIRECT_MESSAGES
        self._emit(Event(
            name, message.event(self.bot, content=True), intent, guild.id if guild else None,
            without_content=message.event(self.bot, content=False),
        ))

    def _about(self, message: Message, name: str, data: Json, *, reaction: bool = True) -> None:
        guild = message.channel.guild
        if message.ephemeral or not message.channel.allowed(self.bot):
            return
        data = data | {"channel_id": str(message.channel.id)}
        if reaction:
            data["message_id"] = str(message.id)
        if guild is None:
            intent = Intent.DIRECT_MESSAGE_REACTIONS if reaction else Intent.DIRECT_MESSAGES
            self._emit(Event(name, data, intent))
            return
        intent = Intent.GUILD_MESSAGE_REACTIONS if reaction else Intent.GUILD_MESSAGES
        self._emit(Event(name, data | {"guild_id": str(guild.id)}, intent, guild.id))
