"""The channels of the playground: what stands in them, and who is told when that changes.

A room is one channel as everybody sees it who has it open: the people's words, the replies as
they grow, the votes on them. Everything is said and kept through `Conversation` as on any other
platform; a room only remembers what it showed, and reads it from the store when the first page
asks after a start. Knows no browser: pages watch a room and draw what changed.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from bot.again import Again
from bot.conversation import Conversation, Heard, Reply, ReplyEvent
from bot.errors import RapportError
from bot.learning_port import Seen
from bot.store import Store
from bot.types import ChannelKey, Message, Vote, VoteValue

log = logging.getLogger(__name__)

NAME = "playground"
"""The platform of every room."""
GUILD = "local"
SOURCE = "button"
CROWD = "crowd"
"""The room in which one sees what simulated people do."""
LINES = 200
"""Lines that a room remembers."""

Who = Literal["person", "bot"]


@dataclass(slots=True, eq=False)
class Line:
    """Something said in a room."""

    who: Who
    author: str
    """The person's name, or the version that speaks."""
    text: str
    exchange: int | None = None
    """What votes on a reply refer to, once it has ended."""
    ended: bool = True
    note: str = ""
    """What is to be said besides, such as that the question was cut."""
    votes: dict[str, VoteValue] = field(default_factory=dict)
    """What each person thinks of a reply."""
    channel: ChannelKey | None = None
    """Where it was really said, if not in the room it is shown in."""
    rival: Line | None = None
    """Another answer to the same question, until somebody has chosen between the two."""


Watcher = Callable[[Line | None], None]
"""Told which line is new or has changed; None where all of them have. Returns at once."""


class Room:
    """One channel. Its tasks belong to whoever made it: `close` ends them."""

    def __init__(
        self, name: str, conversation: Conversation, store: Store, again: Again
    ) -> None:
        self.name = name
        self._other = again
        self.channel = ChannelKey(NAME, GUILD, name)
        self.lines: list[Line] = []
        self.said = 0
        """Lines since the start, for marks of what is unread."""
        self._conversation = conversation
        self._store = store
        self._watchers: set[Watcher] = set()
        self._replies: dict[asyncio.Task[None], Line] = {}
        self._recalling = asyncio.Lock()

    async def recall(self) -> None:
        """Read from the store what was said here; replies that are being made stay."""
        async with self._recalling:
            making = list(self._replies.values())
            turns = await self._store.history(self.channel, LINES)
            keys = [turn.exchange_id for turn in turns if turn.exchange_id is not None]
            votes: dict[int, dict[str, VoteValue]] = {}
            for vote in await self._store.current_votes_among(keys):
                votes.setdefault(vote.exchange_id, {})[vote.rater] = vote.value
            lines = [
                Line("person", turn.author_name or turn.author or "", turn.content)
                if (key := turn.exchange_id) is None
                else Line("bot", turn.adapter, turn.content, key, votes=votes.get(key, {}))
                for turn in turns
            ]
            told = {line.exchange for line in lines if line.exchange is not None}
            # Their questions are on record already; they themselves were not when that was read,
            # even where they have ended meanwhile.
            making = list(dict.fromkeys((*making, *self._replies.values())))
            self.lines = lines + [line for line in making if line.exchange not in told]
        self._tell(None)

    def voted(self, vote: Vote) -> None:
        """Show a vote that was given in another way."""
        for line in self.lines:
            if line.exchange == vote.exchange_id:
                line.votes[vote.rater] = vote.value
                self._tell(line)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Be told of changes; returns what ends that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    @property
    def answering(self) -> bool:
        """Whether a reply is being made, or waits for its turn."""
        return bool(self._replies)

    async def say(self, person: str, text: str) -> None:
        """Say something; the answer comes by itself.

        Raises:
            StoreError: it could not be kept.
        """
        message = Message(
            channel=self.channel, author=person, text=text, platform_id=uuid.uuid4().hex,
            time=datetime.now(UTC), author_name=person,
        )
        async with self._recalling:  # on record and in sight at once
            heard = await self._conversation.hear(message)
            if heard is None:
                return
            self._add(Line("person", person, text))
            line = Line("bot", "", "", ended=False)
            self._add(line)
            answer = self._answered(heard, line)
            task = asyncio.create_task(answer, name=f"answer in {self.channel}")
            self._replies[task] = line
            task.add_done_callback(self._over)

    def stop(self) -> None:
        """End the replies that are being made; what was said until then stays."""
        for task in list(self._replies):
            task.cancel()

    async def vote(self, line: Line, person: str, value: VoteValue) -> None:
        """Say what somebody thinks of a reply; the same again takes it back.

        Raises:
            RapportError: it could not be kept.
        """
        if line.exchange is None:
            return
        meant: VoteValue = 0 if line.votes.get(person) == value else value
        channel = line.channel or self.channel
        await self._conversation.ratings.vote(channel, line.exchange, person, meant, SOURCE)
        line.votes[person] = meant
        self._tell(line)

    def again(self, line: Line) -> None:
        """Have a question answered once more, beside the answer that is there."""
        if line.exchange is None or line.rival is not None or line.channel is not None:
            return
        line.rival = Line("bot", "", "", ended=False)
        self._tell(line)
        task = asyncio.create_task(self._answered_again(line, line.exchange, line.rival))
        self._replies[task] = line
        task.add_done_callback(self._over)

    async def choose(self, line: Line, person: str, *, other: bool) -> None:
        """Say which of two answers is better; it stands from now on.

        Raises:
            RapportError: it could not be kept.
        """
        rival = line.rival
        if rival is None or line.exchange is None or rival.exchange is None:
            return
        better, worse = (rival, line) if other else (line, rival)
        line.rival = None  # at once, or another person could choose meanwhile
        try:
            await self._other.choose(
                self.channel, better.exchange or 0, worse.exchange or 0, person, SOURCE
            )
        except RapportError:
            line.rival = rival
            raise
        if other:
            line.text, line.exchange, line.author = rival.text, rival.exchange, rival.author
            line.votes = {}
        line.votes[person] = 1
        self._tell(line)

    def see(self, seen: Seen) -> None:
        """Show what simulated people did elsewhere."""
        self._add(Line("person", seen.person, seen.question))
        self._add(Line(
            "bot", seen.adapter, seen.reply, seen.exchange, votes={seen.person: seen.value},
            channel=seen.channel,
        ))  # fmt: skip

    async def reset(self) -> None:
        """Begin anew; what was said stays on record."""
        self.stop()
        await self._conversation.reset(self.channel)
        await self.recall()

    async def close(self) -> None:
        """End every reply, and wait until what was said is on record."""
        tasks = list(self._replies)
        self.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answered(self, heard: Heard, line: Line) -> None:
        try:
            await self._follow(self._conversation.answer(heard), line, line)
        except asyncio.CancelledError:
            await self._cut(line)
            raise

    async def _answered_again(self, line: Line, exchange: int, rival: Line) -> None:
        try:
            await self._follow(self._other.answer(self.channel, exchange), rival, line)
        finally:
            if rival.exchange is None:
                line.rival = None  # stopped, or nothing came: there is nothing to choose
                self._tell(line)

    async def _follow(
        self, answer: AsyncGenerator[ReplyEvent, None], grows: Line, shown: Line
    ) -> None:
        """Let a line grow with an answer, and say so of the line that it is shown with."""
        try:
            async with aclosing(answer) as events:
                async for event in events:
                    if isinstance(event, Reply):
                        grows.text, grows.exchange = event.text, event.exchange_id
                        grows.note = event.note
                    else:
                        grows.text += event.text
                    grows.author = event.adapter
                    self._tell(shown)
        except RapportError as error:
            shown.note = " ".join(str(error).split())
        finally:
            grows.ended = True
            self._tell(shown)

    async def _cut(self, line: Line) -> None:
        """What is left of a reply that was stopped can be voted on like any other."""
        line.note = "Stopped."
        newest = await self._store.last_exchange(self.channel)
        if newest is not None and line.text and newest.reply.startswith(line.text):
            line.text, line.exchange = newest.reply, newest.id

    def _over(self, task: asyncio.Task[None]) -> None:
        line = self._replies.pop(task)
        line.ended = True  # also where it was cancelled before it began
        if not (line.text or line.note) and line in self.lines:
            self.lines.remove(line)  # answered together with what came after it
            self._tell(None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an answer in %s failed", self.channel, exc_info=error)
            line.note = "Something went wrong; the log has it."
        self._tell(line)

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        del self.lines[:-LINES]
        self.said += 1
        self._tell(line)

    def _tell(self, line: Line | None) -> None:
        for watcher in list(self._watchers):
            try:
                watcher(line)
            except Exception:
                log.exception("a page could not show what changed in %s", self.channel)


class Rooms:
    """All rooms, each read from the store when it is first asked for."""

    def __init__(
        self, conversation: Conversation, store: Store, again: Again, names: tuple[str, ...]
    ) -> None:
        self._rooms = {name: Room(name, conversation, store, again) for name in names}
        self._recalled: dict[str, asyncio.Task[None]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """What rooms there are, in order."""
        return tuple(self._rooms)

    async def room(self, name: str) -> Room:
        """A room with what stands in it.

        Raises:
            KeyError: there is no such room.
        """
        room = self._rooms[name]
        task = self._recalled.get(name)
        if task is None or (task.done() and task.exception() is not None):
            task = self._recalled[name] = asyncio.create_task(room.recall())
        await asyncio.shield(task)
        return room

    async def recall(self) -> None:
        """Read all of them from the store again: something was deleted."""
        for room in self._rooms.values():
            await room.recall()

    async def close(self) -> None:
        """End every reply."""
        for room in self._rooms.values():
            await room.close()
