"""What the bot did not hear because it was away, on both platforms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.platforms.conftest import until
from tests.platforms.places import (
    OnDiscord,
    Place,
    Start,
    answered,
    ask,
    heard,
    last,
    left,
    on,
    spoken,
)


@pytest.fixture(params=["discord", "slack"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with on(request.param) as place:
        yield place


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path / "data")


async def test_what_was_edited_and_deleted_while_the_bot_was_away_is_so_for_it_too(
    place: Place, start: Start
) -> None:
    async with start(place) as here:
        await place.ready()
        first, _ = await ask(here.app, place, "my word is xyzzy")
        second, _ = await ask(here.app, place, "never mind")
        await ask(here.app, place, "as you like")
    await place.edit(first, "my word is plugh")
    await place.delete(second)
    place.give_up()
    async with start(place) as here:
        await place.ready()
        await heard(here.app, place, first, "my word is plugh")
        await left(here.app, place, second)
        await ask(here.app, place, "and then?")
        newest = await last(here.app, place)
        assert spoken(newest) == ["my word is plugh", "as you like", "and then?"]
        assert await here.app.store.count_exchanges() == len(place.replies()) == 4


async def test_a_thread_goes_on_without_its_question_that_was_deleted_meanwhile(
    place: Place, start: Start
) -> None:
    settings = {"thread_per_mention": True} if isinstance(place, OnDiscord) else {}
    async with start(place, **settings) as here:
        await place.ready()
        question = await place.mention("my word is xyzzy")
        await place.open_thread(question)
        await answered(here.app, place, 1)
        gone = place.key, place.id_of(question)
        kept = await place.mention("my word is plugh")
        await place.open_thread(kept)
        # Each thread on Discord is a channel of its own.
        await answered(here.app, place, 1 if isinstance(place, OnDiscord) else 2)
    await place.delete(question)
    place.give_up()
    async with start(place, **settings) as here:

        async def holds() -> bool:
            return not await here.app.store.on_record([gone])

        await until(holds)
        # What was said later was read again first.
        assert await here.app.store.on_record([(place.key, place.id_of(kept))])
        assert await here.app.store.count_exchanges() == 2


async def test_of_two_thumbs_the_one_that_is_left_counts_again(
    place: Place, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot.platforms")

    async def caught_up() -> bool:
        return "connected" in caplog.text

    async with start(place) as here:
        app = here.app
        await until(caught_up)
        _, reply = await ask(app, place, "hello")
        exchange = await app.store.exchange_of(place.key, place.id_of(reply))
        assert exchange is not None

        async def voted(*values: int) -> None:
            async def holds() -> bool:
                return [vote.value for vote in await app.store.votes_of(exchange)] == [*values]

            await until(holds)

        await place.react(reply, 1)
        await place.react(reply, -1)
        await voted(1, -1)
        await place.react(reply, -1, given=False)
        await voted(1, -1, 0, 1)
        await place.react(reply, 1, given=False)
        await voted(1, -1, 0, 1, 0)


async def test_of_questions_that_waited_those_deleted_meanwhile_are_never_answered(
    place: Place, start: Start
) -> None:
    async with start(place) as here:
        app = here.app
        await place.ready()
        await ask(app, place, "hello")
        async with app.conversation.quiet([place.key]):
            gone = await place.say("my word is xyzzy")
            await heard(app, place, gone)
            kept = await place.say("still there?")
            await heard(app, place, kept)
            here.task.cancel()
            await asyncio.wait([here.task])
    await place.edit(kept, "and still here?")
    await place.delete(gone)
    place.give_up()
    async with start(place) as here:
        app = here.app
        await place.ready()
        await answered(app, place, 2)
        assert spoken(await last(app, place)) == ["hello", "and still here?"]
        assert await app.store.count_exchanges() == len(place.replies()) == 2
