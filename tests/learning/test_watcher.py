"""A version after its promotion, in the real loop over a real store."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.config import Config, EngineConfig, GateConfig, LearningConfig, SftConfig, WatchConfig
from bot.types import BASE, ChannelKey
from learning.serving import stays
from tests.learning.rated import HERE, Opener, World, exchange, vote

SLOTS = EngineConfig(adapter_rank=4, rows=4, adapter_slots=3)
CHANNELS = [ChannelKey("discord", "guild", f"c{number}") for number in range(400)]


def config(slots: int = 3, **watch: Any) -> Config:
    sft = SftConfig(
        gauge=4, epochs=1, batch=16, micro_batch=16, rank=4, alpha=8, learning_rate=1e-2
    )
    return Config(
        engine=SLOTS.model_copy(update={"adapter_slots": slots}),
        learning=LearningConfig(
            objective="sft", sft=sft, gate=GateConfig(folds=0, replies=4, anchors=4),
            watch=WatchConfig(**watch),
        ),
    )


@pytest.fixture
def settings() -> Config:
    return config()


async def rated(
    here: World, adapter: str, likes: int, dislikes: int, *, each: int = 1,
    rng: random.Random | None = None,
) -> None:
    """Replies of a version given now, each rated by `each` others, told as the bot tells them."""
    values = [1] * likes + [-1] * dislikes
    if rng:
        rng.shuffle(values)
    first = await here.store.count_exchanges()
    for number, value in enumerate(values, start=first):
        now = datetime.now(UTC)
        given = exchange(number, base=here.engine.info.fingerprint, adapter=adapter, time=now)
        key = await here.store.add_exchange(given)
        for rater in range(each):
            one = vote(key, value, f"p{key}.{rater}", now)
            await here.store.add_vote(one)
            await here.loop.on_vote(one)


async def promoted(here: World) -> None:
    """A base with a record of 60 likes in 90 votes, and a version that serves in its place."""
    await rated(here, here.loop.current(HERE), 10, 5, each=6)
    assert (await here.learn()).kind == "finished"


async def test_a_version_that_is_clearly_liked_less_is_rolled_back_and_operators_are_told(
    opened: Opener,
) -> None:
    async with opened() as here:
        await promoted(here)
        assert (await here.loop.status()).serving == "v0001"
        await rated(here, "v0001", 8, 40)
        told = await here.until("rolled_back")
        assert told.text.startswith("rolled back from v0001 to the base model: ")
        assert told.text.endswith(" liked against 60 of 90 before")
        assert (await here.loop.status()).serving == BASE
    await opened.restart()
    async with opened() as here:
        status = await here.loop.status()
        assert (status.serving, status.watched) == (BASE, "")
        assert {ref.name: ref.status for ref in await here.loop.adapters()} == {"v0001": "retired"}
        assert {here.loop.current(channel) for channel in CHANNELS} == {BASE}


async def test_votes_given_while_the_bot_was_away_count_at_the_next_start(
    opened: Opener,
) -> None:
    async with opened(settings=config(enabled=False)) as here:
        await promoted(here)
        await rated(here, "v0001", 8, 40)
        assert (await here.loop.status()).watched == ""
    async with opened() as here:
        assert (await here.until("rolled_back")).adapter == BASE


async def test_a_version_that_is_liked_as_much_goes_on_when_it_has_been_watched(
    opened: Opener,
) -> None:
    async with opened(settings=config(votes=60)) as here:
        await promoted(here)
        await rated(here, "v0001", 20, 10, rng=random.Random(3))
        assert (await here.loop.status()).watched == (
            "v0001 is watched: 20 of 30 liked against 60 of 90 before"
        )
        assert {here.loop.current(channel) for channel in CHANNELS} == {BASE, "v0001"}
        await rated(here, "v0001", 20, 10, rng=random.Random(4))
        told = await here.until("watched", "rolled_back")
        assert told.text == (
            "v0001 was watched and goes on: 40 of 60 liked against 60 of 90 before"
        )
    await opened.restart()
    async with opened(settings=config(votes=60)) as here:
        assert {here.loop.current(channel) for channel in CHANNELS} == {"v0001"}
        assert (await here.loop.status()).watched == ""


async def test_the_same_channels_stay_on_the_version_before_after_a_restart(
    opened: Opener,
) -> None:
    async with opened() as here:
        await promoted(here)
        await here.learn()
        before = {channel: here.loop.current(channel) for channel in CHANNELS}
        assert set(before.values()) == {"v0001", "v0002"}
        assert 30 <= list(before.values()).count("v0001") <= 90
    await opened.restart()
    async with opened() as here:
        assert {channel: here.loop.current(channel) for channel in CHANNELS} == before
        assert {"v0001", "v0002"} <= set(here.engine.loaded())


async def test_a_channel_that_tries_a_version_keeps_it(opened: Opener) -> None:
    async with opened() as here:
        await promoted(here)
        stayed = next(one for one in CHANNELS if here.loop.current(one) == BASE)
        moved = next(one for one in CHANNELS if here.loop.current(one) == "v0001")
        await here.loop.try_version(stayed, "v0001")
        await here.loop.try_version(moved, BASE)
        assert (here.loop.current(stayed), here.loop.current(moved)) == ("v0001", BASE)
        assert await here.loop.try_version(stayed, None) == (
            "This channel follows the others again (base)."
        )


async def test_a_run_that_needs_the_slot_of_the_version_before_gets_it(opened: Opener) -> None:
    async with opened(settings=config(slots=2)) as here:
        await promoted(here)
        for number in (1, 2):
            assert (await here.learn()).kind == "finished"
            names = {f"v000{number}", f"v000{number + 1}"}
            assert {here.loop.current(channel) for channel in CHANNELS} == names


async def test_replies_that_stay_empty_roll_back_at_once_and_a_single_one_does_not(
    opened: Opener,
) -> None:
    async with opened() as here:
        await promoted(here)
        for number in range(90):
            here.loop.on_reply(BASE, "stop", "fine", [number, 0])
        here.loop.on_reply("v0001", "stop", "", [0])
        for number in range(12):
            here.loop.on_reply("v0001", "stop", "fine", [number, 0])
        here.loop.on_reply("v0001", "stop", "", [0])
        here.loop.on_reply("v0001", "stop", "fine", [1, 0])
        await here.loop.status()
        assert here.loop.current(HERE) == "v0001"
        here.loop.on_reply("v0001", "error", "", [])
        told = await here.until("rolled_back")
        assert told.text == (
            "rolled back from v0001 to the base model: 2 of its last 10 replies were empty, "
            "endless, out of time or failed, against 0 of 90 before"
        )


async def test_replies_that_were_sick_before_a_restart_count_after_it(opened: Opener) -> None:
    async with opened() as here:
        await promoted(here)
        base = here.engine.info.fingerprint
        for finish, reply in (("stop", "fine"), ("stop", ""), ("stop", "fine")):
            given = exchange(adapter="v0001", base=base, finish=finish, reply=reply)
            await here.store.add_exchange(given)
    await opened.restart()
    async with opened() as here:
        await here.loop.status()
        assert here.loop.current(HERE) == "v0001"
        here.loop.on_reply("v0001", "error", "", [])
        assert (await here.until("rolled_back")).text == (
            "rolled back from v0001 to the base model: 2 of its last 4 replies were empty, "
            "endless, out of time or failed, against 0 of 15 before"
        )


async def test_votes_that_are_changed_or_taken_back_are_counted_as_they_stand(
    opened: Opener,
) -> None:
    async with opened() as here:
        await promoted(here)
        first = await here.store.count_exchanges() + 1
        await rated(here, "v0001", 4, 0)
        assert "4 of 4 liked" in (await here.loop.status()).watched
        for key, value in ((first, -1), (first + 1, 0)):
            changed = vote(key, value, f"p{key}.0", datetime.now(UTC))
            await here.store.add_vote(changed)
            await here.loop.on_vote(changed)
        assert "2 of 3 liked" in (await here.loop.status()).watched


async def test_operators_are_told_once_that_replies_are_rated_less_often(
    opened: Opener,
) -> None:
    async with opened() as here:
        await promoted(here)
        base, now = here.engine.info.fingerprint, datetime.now(UTC)
        for _ in range(40):
            given = exchange(base=base, adapter="v0001", time=now - timedelta(hours=2))
            await here.store.add_exchange(given)
            here.loop.on_reply("v0001", "stop", "fine", [1, 0])
        # The record lies minutes back; the watch asks what was said more than an hour ago.
        for _ in range(40):
            given = exchange(base=base, time=now - timedelta(hours=2))
            key = await here.store.add_exchange(given)
            await here.store.add_vote(vote(key, 1, time=now - timedelta(hours=2)))
        for _ in range(20):
            here.loop.on_reply("v0001", "stop", "fine", [1, 0])
        told = await here.until("drift")
        assert told.text.startswith("v0001 is rated less often: 0 of 40 replies within an hour")
        for _ in range(60):
            here.loop.on_reply("v0001", "stop", "fine", [1, 0])
        await rated(here, "v0001", 1, 0)
        await here.loop.status()
        assert len(await here.store.events("drift")) == 1
        assert here.loop.current(HERE) == "v0001"


async def test_a_version_served_again_after_a_roll_back_is_not_watched_again(
    opened: Opener,
) -> None:
    async with opened() as here:
        await promoted(here)
        await here.loop.rollback()
        await here.loop.rollback("v0001")
        assert (await here.loop.status()).watched == ""
        assert {here.loop.current(channel) for channel in CHANNELS} == {"v0001"}


def test_the_operators_own_channels_never_stay_behind() -> None:
    own = [
        ChannelKey(platform, "local", f"p{number:05d}")
        for platform in ("console", "playground", "simulate") for number in range(200)
    ]
    assert not any(stays(channel, "v0001", 0.5) for channel in own)
    assert any(stays(channel, "v0001", 0.5) for channel in CHANNELS)


def test_other_channels_stay_behind_for_another_version() -> None:
    first, second = (
        {one for one in CHANNELS if stays(one, name, 0.15)} for name in ("v0001", "v0002")
    )
    assert first and second and first != second
