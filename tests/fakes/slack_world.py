"""A Slack workspace in memory: its people, channels, messages, views and files.

It knows what exists and who may see it. It does not know how anything looks on the wire
(`slack_json`), what the app is told of it (`slack_events`), or that there is a network.
Time is read from one clock that a test may move forward, so that nothing has to be waited
for.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

JSON = dict[str, Any]
Kind = Literal["channel", "group", "im", "mpim"]
Shape = Literal["text", "chunks"]
StreamState = Literal["in_progress", "completed", "errored", "stopped_by_user"]
Found = TypeVar("Found")

PLURAL: dict[Kind, str] = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
"""How scopes and subscriptions call each kind of conversation."""

SUBSCRIPTIONS = frozenset({
    "app_home_opened", "app_mention", "message.channels", "message.groups", "message.im",
    "message.mpim", "reaction_added", "reaction_removed",
})
SCOPES = frozenset({
    "app_mentions:read", "assistant:write", "chat:write", "commands", "files:read",
    "files:write", "reactions:read", "reactions:write", "team:read", "users:read",
    *(f"{kind}:{right}" for kind in PLURAL.values() for right in ("history", "read", "write")),
})


class News:
    """Wakes everybody who waits for a change; nobody has to sleep and look again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait_for(self, look: Callable[[], Found], seconds: float) -> Found:
        """The first truthy answer of `look`, asked again after every change.

        Raises `TimeoutError` after so many seconds.
        """
        async with asyncio.timeout(seconds):
            while not (found := look()):
                await self._event.wait()
            return found


@dataclass(eq=False, slots=True)
class User:
    """A person, or the bot's own user."""

    id: str
    name: str
    is_owner: bool = False
    is_admin: bool = False
    is_bot: bool = False


@dataclass(eq=False, slots=True)
class Channel:
    """A public channel, a private one (``group``), or a conversation of a few people."""

    id: str
    name: str
    kind: Kind
    bot_is_member: bool = True
    """Whether the app sees what happens here, and may write."""
    members: list[str] = field(default_factory=list)
    archived: bool = False
    messages: dict[str, Message] = field(default_factory=dict, repr=False)


@dataclass(eq=False, slots=True)
class Stream:
    """The writing of one streamed message."""

    started: float
    shape: Shape | None = None
    """What it was opened with; for the rest of its life it takes nothing else."""
    state: StreamState = "in_progress"
    appends: int = 0
    chunks: list[JSON] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Message:
    """A message as it stands now."""

    channel: Channel = field(repr=False)
    ts: str
    user: str
    text: str
    bot_id: str | None = None
    thread_ts: str | None = None
    """The `ts` of its parent; a parent's own once it has replies."""
    blocks: list[JSON] = field(default_factory=list)
    attachments: list[JSON] = field(default_factory=list)
    metadata: JSON | None = None
    files: list[JSON] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)
    subtype: str | None = None
    broadcast: bool = False
    edits: int = 0
    edited: JSON | None = None
    ephemeral_to: str | None = None
    deleted: bool = False
    stream: Stream | None = None

    @property
    def is_reply(self) -> bool:
        """Whether it lies in a thread that another message began."""
        return self.thread_ts is not None and self.thread_ts != self.ts

    @property
    def streaming(self) -> StreamState | None:
        """How far its stream has come; None for a message that never was one."""
        return self.stream.state if self.stream else None


@dataclass(eq=False, slots=True)
class View:
    """A home tab or a modal as the app sent it."""

    id: str
    user: str
    hash: str
    content: JSON

    @property
    def blocks(self) -> list[JSON]:
        """The blocks of it."""
        blocks: list[JSON] = self.content["blocks"]
        return blocks


@dataclass(eq=False, slots=True)
class File:
    """An upload; `content` stays None until the bytes have come."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str = ""
    alt: str = ""
    """For those who do not see it."""
    shared: bool = False


class World:
    """Everything in one workspace, and what the app still has to be told."""

    def __init__(self, scopes: frozenset[str], subscriptions: frozenset[str]) -> None:
        self.scopes = scopes
        self.subscriptions = subscriptions
        self.news = News()
        self.ahead = 0.0
        """Seconds by which the test has moved the clock."""
        self.stream_lifetime = 300.0
        self.strict_rates = False
        self.too_fast = 0
        self.complaints: list[str] = []
        """What the real Slack lets pass although it is a mistake of the app."""
        self._numbers = itertools.count(1)
        self._last_tick = 0
        self.team_id, self.app_id, self.bot_id = self.id("T"), self.id("A"), self.id("B")
        self.team_name, self.domain = "Rabbits", "rabbits"
        self.bot = User(self.id("U"), "rapport", is_bot=True)
        self.users = {self.bot.id: self.bot}
        self.channels: dict[str, Channel] = {}
        self.ephemerals: list[Message] = []
        self.views: list[View] = []
        self.modals: list[View] = []
        self.files: dict[str, File] = {}
        self.triggers: dict[str, float] = {}
        self.statuses: dict[tuple[str, str], str] = {}
        self.assistant: list[tuple[str, JSON]] = []
        """Titles and suggested prompts, each with the method that set it."""
        self.last_post: dict[str, float] = {}
        self.base = ""
        """Where all of this is served, such as ``http://127.0.0.1:4711``."""
        self.tickets: set[str] = set()
        """Each is good for one WebSocket."""
        self.outbox: list[JSON] = []
        """Events that have happened and have not been handed to the transport yet."""

    def id(self, prefix: str) -> str:
        """A new id, such as ``C0000000007``."""
        return f"{prefix}{next(self._numbers):010d}"

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.ahead

    def ts(self) -> str:
        """A new timestamp, later than any before, to the microsecond as Slack's are."""
        self._last_tick = max(int(self.now() * 1_000_000), self._last_tick + 1)
        seconds, rest = divmod(self._last_tick, 1_000_000)
        return f"{seconds}.{rest:06d}"

    def trigger(self) -> str:
        """A trigger id, with which a view may be opened once within three seconds."""
        trigger = f"{next(self._numbers)}.{self.team_id}.trigger"
        self.triggers[trigger] = self.now()
        return trigger

    def add_user(self, name: str, is_owner: bool = False, is_admin: bool = False) -> User:
        """A person who is in every public channel."""
        user = User(self.id("U"), name, is_owner, is_admin or is_owner)
        self.users[user.id] = user
        for channel in self.channels.values():
            if channel.kind == "channel":
                channel.members.append(user.id)
        return user

    def add_channel(
        self, name: str, private: bool = False, bot_is_member: bool = True
    ) -> Channel:
        """A channel of everybody who is here already."""
        people = [user for user in self.users if user != self.bot.id]
        bot = [self.bot.id] if bot_is_member else []
        kind: Kind = "group" if private else "channel"
        channel = Channel(self.id("C"), name, kind, bot_is_member, people + bot)
        self.channels[channel.id] = channel
        return channel

    def open_dm(self, *users: User) -> Channel:
        """The one conversation of the bot with these people, made when it is new."""
        members = sorted({self.bot.id, *(user.id for user in users)})
        for channel in self.channels.values():
            if channel.kind in ("im", "mpim") and sorted(channel.members) == members:
                return channel
        alone = len(users) == 1
        name = "" if alone else "mpdm-" + "--".join(user.name for user in users) + "-1"
        channel = Channel(
            self.id("D" if alone else "G"), name, "im" if alone else "mpim", members=members
        )
        self.channels[channel.id] = channel
        return channel

    def thread(self, parent: Message) -> Iterator[Message]:
        """The replies to `parent`, the oldest first."""
        return (
            message
            for message in parent.channel.messages.values()
            if message.thread_ts == parent.ts and message.is_reply
        )
