"""Who and what there is on a Discord: people, guilds, roles, channels, and who may do what.

These are the things themselves, each able to show itself the way the API shows it. They
know nothing of HTTP or the gateway: what changes is told to the `Emit` they are given.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.discord_bits import (
    EVERYTHING,
    NOTHING,
    USUAL,
    Intent,
    Permission,
    permissions,
)

Json = dict[str, Any]
EPOCH = 1420070400000
"""The first millisecond of 2015, where Discord's ids begin."""

TEXT, DIRECT, CATEGORY, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 4, 11, 12


def now() -> str:
    """This moment as Discord writes it."""
    return datetime.now(UTC).isoformat()


class Snowflakes:
    """Ids that tell their time and only ever grow."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> int:
        """The next id."""
        self._last = max(self._last + 1, (time.time_ns() // 1_000_000 - EPOCH) << 22)
        return self._last


@dataclass(frozen=True)
class Event:
    """Something that clients are told, if they asked for it."""

    name: str
    data: Json
    intent: Intent | None
    """What a client must have asked for; None for what it is told anyway."""
    guild_id: int | None = None
    without_content: Json | None = None
    """What those are told who may not read messages; None when it is the same."""


Emit = Callable[[Event], None]


def shuffled(events: list[Event], rng: random.Random) -> list[Event]:
    """In a random order, but what is about one message in its own."""
    about = [event.data.get("message_id", event.data.get("id")) for event in events]
    queues = {message: deque[Event]() for message in about}
    for message, event in zip(about, events, strict=True):
        queues[message].append(event)
    rng.shuffle(about)
    return [queues[message].popleft() for message in about]


@dataclass(eq=False)
class User:
    """A person, or a bot, on all guilds."""

    id: int
    name: str
    bot: bool = False
    accepts_dms: bool = True

    @property
    def mention(self) -> str:
        """What pings them in a text."""
        return f"<@{self.id}>"

    def payload(self) -> Json:
        """The user object."""
        return {
            "id": str(self.id), "username": self.name, "discriminator": "0", "avatar": None,
            "global_name": None, "bot": self.bot, "system": False, "public_flags": 0,
            "banner": None, "accent_color": None, "avatar_decoration_data": None,
        }


@dataclass(eq=False)
class Role:
    """A role of one guild."""

    id: int
    name: str
    permissions: Permission
    position: int = 1
    bot: User | None = None
    """Whose managed role it is."""

    def payload(self) -> Json:
        """The role object."""
        data: Json = {
            "id": str(self.id), "name": self.name, "permissions": str(int(self.permissions)),
            "position": self.position, "color": 0, "hoist": False, "managed": self.bot is not None,
            "mentionable": False, "icon": None, "unicode_emoji": None, "flags": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        }
        if self.bot:
            data["tags"] = {"bot_id": str(self.bot.id)}
        return data


@dataclass(eq=False)
class Membership:
    """That somebody is on a guild."""

    user: User
    roles: list[Role]
    joined: str

    def payload(self, *, user: bool = True) -> Json:
        """The member object, with or without who it is."""
        data: Json = {
            "roles": [str(role.id) for role in self.roles], "joined_at": self.joined,
            "nick": None, "avatar": None, "banner": None, "premium_since": None,
            "deaf": False, "mute": False, "pending": False, "flags": 0,
            "communication_disabled_until": None,
        }
        return data | {"user": self.user.payload()} if user else data


@dataclass
class Overwrite:
    """What a role (kind 0) or a member (kind 1) may do otherwise in one channel."""

    kind: int
    allow: Permission = NOTHING
    deny: Permission = NOTHING


@dataclass(eq=False)
class Channel:
    """A place for messages: a channel, a category, a thread or a direct conversation."""

    id: int
    kind: int
    name: str = ""
    guild: Guild | None = None
    parent: Channel | None = None
    recipient: User | None = None
    owner: User | None = None
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    members: set[int] = field(default_factory=set)
    """Who is in a thread."""
    archived: bool = False
    created: str = field(default_factory=now)
    last_message: int | None = None
    message_count: int = 0

    @property
    def is_thread(self) -> bool:
        """Whether it hangs on another channel."""
        return self.kind in (PUBLIC_THREAD, PRIVATE_THREAD)

    def deny(self, *names: str, who: User | Role | None = None) -> None:
        """Take permissions away here, from the bot unless said otherwise."""
        overwrite = self._overwrite(who)
        overwrite.deny |= permissions(names)
        overwrite.allow &= ~permissions(names)
        self._updated()

    def allow(self, *names: str, who: User | Role | None = None) -> None:
        """Give permissions here, to the bot unless said otherwise."""
        overwrite = self._overwrite(who)
        overwrite.allow |= permissions(names)
        overwrite.deny &= ~permissions(names)
        self._updated()

    def allowed(self, user: User) -> Permission:
        """All that somebody may do here, by Discord's order of overwrites."""
        if self.guild is None:
            return EVERYTHING if user.bot or user is self.recipient else NOTHING
        if self.is_thread and self.parent is not None:
            have = self.parent.allowed(user)
            hidden = self.kind == PRIVATE_THREAD and user.id not in self.members
            return NOTHING if hidden and Permission.MANAGE_THREADS not in have else have
        member = self.guild.members.get(user.id)
        if member is None:
            return NOTHING
        have = self.guild.permissions(user)
        if Permission.ADMINISTRATOR in have:
            return EVERYTHING
        for ids in ([self.guild.id], [role.id for role in member.roles], [user.id]):
            found = [self.overwrites[one] for one in ids if one in self.overwrites]
            for one in found:
                have &= ~one.deny
            for one in found:
                have |= one.allow
        return have if Permission.VIEW_CHANNEL in have else NOTHING

    def payload(self, viewer: User) -> Json:
        """The channel object as `viewer` gets it."""
        last = str(self.last_message) if self.last_message else None
        data: Json = {"id": str(self.id), "type": self.kind, "last_message_id": last, "flags": 0}
        if self.guild is None:
            assert self.recipient is not None
            return data | {"recipients": [self.recipient.payload()]}
        data |= {
            "guild_id": str(self.guild.id), "name": self.name, "rate_limit_per_user": 0,
            "parent_id": str(self.parent.id) if self.parent else None,
        }
        if self.is_thread:
            return data | self._as_thread(viewer)
        return data | {
            "position": list(self.guild.channels).index(self.id), "topic": None, "nsfw": False,
            "permission_overwrites": [
                {"id": str(one), "type": overwrite.kind, "allow": str(int(overwrite.allow)),
                 "deny": str(int(overwrite.deny))}
                for one, overwrite in self.overwrites.items()
            ],
        }

    def _as_thread(self, viewer: User) -> Json:
        data: Json = {
            "owner_id": str(self.owner.id) if self.owner else "0",
            "message_count": self.message_count, "total_message_sent": self.message_count,
            "member_count": len(self.members),
            "thread_metadata": {
                "archived": self.archived, "auto_archive_duration": 1440, "locked": False,
                "archive_timestamp": self.created, "create_timestamp": self.created,
            },
        }
        if viewer.id in self.members:
            data["member"] = {
                "id": str(self.id), "user_id": str(viewer.id), "join_timestamp": self.created,
                "flags": 0,
            }
        return data

    def _overwrite(self, who: User | Role | None) -> Overwrite:
        assert self.guild is not None, "a direct conversation has no permissions"
        target = who or self.guild.bot
        kind = 0 if isinstance(target, Role) else 1
        return self.overwrites.setdefault(target.id, Overwrite(kind))

    def _updated(self) -> None:
        assert self.guild is not None
        self.guild.tell("CHANNEL_UPDATE", self.payload(self.guild.bot))


class Guild:
    """One guild ("server") that the bot is on."""

    def __init__(self, name: str, bot: User, owner: User, ids: Snowflakes, emit: Emit) -> None:
        self.id = ids()
        self.name = name
        self.bot = bot
        self.owner = owner
        self._ids = ids
        self._emit = emit
        self.everyone = Role(self.id, "@everyone", USUAL, position=0)
        managed = Role(ids(), bot.name, USUAL, bot=bot)
        self.roles = {self.everyone.id: self.everyone, managed.id: managed}
        self.channels: dict[int, Channel] = {}
        """Channels, categories and threads."""
        self.members: dict[int, Membership] = {
            owner.id: Membership(owner, [], now()), bot.id: Membership(bot, [managed], now()),
        }

    def add_category(self, name: str) -> Channel:
        """A category, to be given to `add_channel`."""
        return self._add(Channel(self._ids(), CATEGORY, name, self))

    def add_channel(
        self, name: str, *, private: bool = False, category: Channel | None = None
    ) -> Channel:
        """A text channel; a private one is seen by the bot and the owner only."""
        channel = Channel(self._ids(), TEXT, name, self, category)
        if private:
            channel.overwrites = {
                self.id: Overwrite(0, deny=Permission.VIEW_CHANNEL),
                self.bot.id: Overwrite(1, allow=Permission.VIEW_CHANNEL),
            }
        return self._add(channel)

    def add_role(self, name: str, *permission_names: str) -> Role:
        """A role that gives permissions."""
        role = Role(self._ids(), name, permissions(permission_names), len(self.roles))
        self.roles[role.id] = role
        self.tell("GUILD_ROLE_CREATE", {"guild_id": str(self.id), "role": role.payload()})
        return role

    def add_member(
        self, who: str | User, *, roles: tuple[Role, ...] = (), permissions: tuple[str, ...] = (),
    ) -> User:
        """Somebody joins: a new person by name, or one known from elsewhere."""
        user = User(self._ids(), who) if isinstance(who, str) else who
        given = list(roles)
        if permissions:
            given.append(self.add_role(f"{user.name}'s", *permissions))
        member = self.members[user.id] = Membership(user, given, now())
        data = member.payload() | {"guild_id": str(self.id)}
        self._emit(Event("GUILD_MEMBER_ADD", data, Intent.GUILD_MEMBERS, self.id))
        return user

    def permissions(self, user: User) -> Permission:
        """What somebody may do on the guild, before the channels' overwrites."""
        if user is self.owner:
            return EVERYTHING
        have = self.everyone.permissions
        for role in self.members[user.id].roles:
            have |= role.permissions
        return have

    def tell(self, name: str, data: Json) -> None:
        """Emit an event about the guild itself."""
        self._emit(Event(name, data, Intent.GUILDS, self.id))

    def payload(self) -> Json:
        """The guild object, without what only the gateway adds."""
        return {
            "id": str(self.id), "name": self.name, "owner_id": str(self.owner.id), "icon": None,
            "banner": None, "splash": None, "discovery_splash": None, "description": None,
            "features": [], "emojis": [], "stickers": [], "verification_level": 0,
            "default_message_notifications": 0, "explicit_content_filter": 0, "mfa_level": 0,
            "nsfw_level": 0, "premium_tier": 0, "premium_subscription_count": 0,
            "preferred_locale": "en-US", "afk_timeout": 300, "system_channel_flags": 0,
            "vanity_url_code": None, "premium_progress_bar_enabled": False,
            "roles": [role.payload() for role in self.roles.values()],
        } | dict.fromkeys(
            (
                "afk_channel_id", "system_channel_id", "rules_channel_id",
                "public_updates_channel_id", "safety_alerts_channel_id", "application_id",
            )
        )

    def as_created(self) -> Json:
        """What GUILD_CREATE tells: without presences the bot alone is among the members."""
        threads = [channel for channel in self.channels.values() if channel.is_thread]
        return self.payload() | {
            "unavailable": False, "large": False, "joined_at": self.members[self.bot.id].joined,
            "member_count": len(self.members), "members": [self.members[self.bot.id].payload()],
            "channels": [
                channel.payload(self.bot) for channel in self.channels.values()
                if not channel.is_thread
            ],
            "threads": [
                thread.payload(self.bot) for thread in threads
                if not thread.archived and thread.allowed(self.bot)
            ],
            "voice_states": [], "presences": [], "stage_instances": [],
            "guild_scheduled_events": [], "soundboard_sounds": [],
        }

    def _add(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        self.tell("CHANNEL_CREATE", channel.payload(self.bot))
        return channel
