"""A channel of the playground without a browser: what stands in it, and who is told."""

from __future__ import annotations

import asyncio

import pytest

from bot.again import Again
from bot.answers import Asker, Command
from bot.app import App
from bot.errors import LearningError
from bot.learning_port import Seen
from bot.types import ChannelKey
from bot.web.rooms import CROWD, Line, Room, Rooms
from bot.web.standing import Standings
from learning.simulation.visitors import Visitors


class Watched:
    """What a page would be told of a room."""

    def __init__(self, room: Room) -> None:
        self.changes: list[Line | None] = []
        self._changed = asyncio.Event()
        self.leave = room.watch(self._hear)
        self._room = room

    def _hear(self, line: Line | None) -> None:
        self.changes.append(line)
        self._changed.set()

    async def until_answered(self) -> None:
        while self._room.answering:
            self._changed.clear()
            await self._changed.wait()


async def talk(room: Room, *words: str) -> Line:
    """Ada says something and its answer has come; the last line."""
    page = Watched(room)
    for one in words:
        await room.say("Ada", one)
        await page.until_answered()
    page.leave()
    return room.lines[-1]


def again_of(app: App) -> Again:
    return Again(app.engine, app.store, app.config, app.conversation, app.learning.current)


@pytest.fixture
async def rooms(app: App) -> Rooms:
    return Rooms(app.conversation, app.store, again_of(app), ("general", CROWD))


async def test_what_is_said_and_answered_is_shown_and_stands_there_after_a_restart(
    app: App, rooms: Rooms
) -> None:
    room = await rooms.room("general")
    page = Watched(room)
    await room.say("Ada", "hello")
    await page.until_answered()
    asked, answered = room.lines
    assert (asked.who, asked.author, asked.text) == ("person", "Ada", "hello")
    assert (answered.who, answered.author, answered.ended) == ("bot", "base", True)
    assert len([one for one in page.changes if one is answered]) > 2  # it grew
    later = Room("general", app.conversation, app.store, again_of(app))
    await later.recall()
    assert [(one.who, one.author, one.text) for one in later.lines] == [
        ("person", "Ada", "hello"), ("bot", "base", answered.text)
    ]
    page.leave()
    told = len(page.changes)
    await room.reset()
    assert (room.lines, len(page.changes)) == ([], told)


async def test_reading_a_room_again_loses_no_reply_that_is_being_made_and_doubles_nothing(
    app: App, rooms: Rooms
) -> None:
    room = await rooms.room("general")
    page = Watched(room)
    await room.say("Ada", "one")
    await page.until_answered()
    await room.say("Ada", "two")
    await room.say("Ada", "three")  # its answer waits for the one before
    await asyncio.gather(room.recall(), room.recall(), room.recall())
    await page.until_answered()
    assert [line.text for line in room.lines if line.who == "person"] == ["one", "two", "three"]
    replies = [line.exchange for line in room.lines if line.who == "bot"]
    assert len(set(replies)) == len(replies) and None not in replies
    newest = await app.store.last_exchange(room.channel)
    assert newest is not None and room.lines[-1].exchange == newest.id


async def test_what_a_person_has_forgotten_stands_in_no_room(app: App, rooms: Rooms) -> None:
    room = await rooms.room("general")
    room.again(await talk(room, "my secret"))
    page = Watched(room)
    await page.until_answered()
    asker = Asker(room.channel, "Ada", "button", operator=True)
    await app.commands.run(Command("mydata", "forget yes"), asker)
    await rooms.recall()
    assert room.lines == []


async def test_a_page_that_fails_keeps_no_other_from_seeing(app: App, rooms: Rooms) -> None:
    room = await rooms.room("general")

    def fail(line: Line | None) -> None:
        raise RuntimeError("this page is broken")

    room.watch(fail)
    page = Watched(room)
    await room.say("Ada", "hello")
    await page.until_answered()
    assert room.lines[-1].exchange is not None


async def test_a_vote_is_kept_changed_and_taken_back_by_the_same_thumb(
    app: App, rooms: Rooms
) -> None:
    room = await rooms.room("general")
    line = await talk(room, "hello")
    assert line.exchange is not None
    for value, holds in ((1, 1), (-1, -1), (-1, 0)):
        await room.vote(line, "Ada", value)  # type: ignore[arg-type]  # as the thumbs give it
        assert line.votes["Ada"] == holds
        assert await app.store.current_vote(line.exchange, "Ada") == holds
    await room.vote(line, "Ada", 1)
    await room.vote(line, "Ben", -1)
    await room.recall()
    assert room.lines[-1].votes == {"Ada": 1, "Ben": -1}


async def test_a_reply_that_is_stopped_keeps_what_was_said_and_can_be_rated(
    app: App, rooms: Rooms
) -> None:
    room = await rooms.room("general")
    begun = asyncio.Event()
    room.watch(lambda line: begun.set() if line and line.who == "bot" and line.text else None)
    await room.say("Ada", "hello")
    await begun.wait()
    room.stop()
    await rooms.close()
    line = room.lines[-1]
    assert line.ended and line.text
    newest = await app.store.last_exchange(room.channel)
    assert newest is not None
    assert (line.exchange, line.text) == (newest.id, newest.reply)


async def test_the_better_of_two_answers_stands_and_the_choice_is_a_pair(
    app: App, rooms: Rooms
) -> None:
    room = await rooms.room("general")
    line = await talk(room, "hello")
    first = line.exchange
    page = Watched(room)
    room.again(line)
    room.again(line)  # pressed twice
    await page.until_answered()
    rival = line.rival
    assert first is not None and rival is not None and rival.exchange is not None
    told, other = await app.store.exchanges([first, rival.exchange])
    assert (other.prompt_ids, other.asker) == (told.prompt_ids, told.asker)
    standing = [turn.exchange_id for turn in await app.store.history(room.channel)]
    assert standing == [None, first]
    newest = await app.store.last_exchange(room.channel)
    assert newest is not None and newest.id == first

    await room.choose(line, "Ada", other=True)
    assert (line.exchange, line.rival, line.votes) == (rival.exchange, None, {"Ada": 1})
    votes = [await app.store.current_vote(key, "Ada") for key in (first, rival.exchange)]
    assert votes == [-1, 1]
    standing = [turn.exchange_id for turn in await app.store.history(room.channel)]
    assert standing == [None, rival.exchange]
    newest = await app.store.last_exchange(room.channel)
    assert newest is not None and newest.id == rival.exchange
    await talk(room, "and then?")
    last = await app.store.last_exchange(room.channel)
    assert last is not None and last.prompt[-2].content == rival.text


async def test_what_simulated_people_did_elsewhere_is_shown_and_can_be_rated(
    app: App, rooms: Rooms
) -> None:
    visitors = Visitors(app.conversation, app.store, app.config)
    crowd = await rooms.room(CROWD)
    seen: list[Seen] = []

    def watch(one: Seen) -> None:
        crowd.see(one)
        seen.append(one)

    visitors.watch(watch)
    with pytest.raises(LearningError, match="no taste 'kindness'"):
        await visitors.start("kindness", 3)
    await visitors.start("short_replies", 3)
    with pytest.raises(LearningError, match="voting already"):
        await visitors.start("short_replies", 3)
    await next(task for task in asyncio.all_tasks() if task.get_name() == "visitors")
    assert (visitors.progress, visitors.trouble) == ((0, 0), "")
    assert await app.store.count_votes() == 3
    assert [line.author for line in crowd.lines[::2]] == [one.person for one in seen]
    line = crowd.lines[-1]
    assert isinstance(line.channel, ChannelKey) and line.exchange is not None
    await crowd.vote(line, "Ada", 1)
    assert await app.store.current_vote(line.exchange, "Ada") == 1


async def test_many_pages_look_at_how_things_stand_once(app: App) -> None:
    now = [0.0]
    asked: list[str] = []
    status = app.learning.status

    async def counted() -> object:
        asked.append("status")
        return await status()

    class Counting:
        def __getattr__(self, name: str) -> object:
            return counted if name == "status" else getattr(app.learning, name)

    standings = Standings(Counting(), app.store, lambda: now[0])  # type: ignore[arg-type]  # counts
    found = await asyncio.gather(*(standings.now() for _ in range(50)))
    assert len(asked) == 1 and len(set(map(id, found))) == 1
    await standings.now()
    assert len(asked) == 1
    await standings.now(anew=True)
    assert len(asked) == 2
    now[0] += 1.0
    await standings.now()
    assert len(asked) == 3
