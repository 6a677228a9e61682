"""Signs become votes in the order in which they were given, whatever comes in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.platforms.reactions import Sign, Signs, Standing
from bot.ratings import Ratings
from bot.store import Store
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn, VoteValue
from tests.platforms.conftest import until

HERE = ChannelKey("discord", "guild", "here")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
REPLY = Exchange(
    HERE, "ada", ("ada",), (Turn("user", "hello"),), (1, 2), (3, 4), "hello", "stop", BASE,
    "tiny", Sampling(), Timings(), NOW, platform_ids=("first", "second"),
)  # fmt: skip


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path) as store:
        await store.add_exchange(REPLY)
        yield store


@pytest.fixture
def signs(store: Store) -> Signs:
    return Signs(Ratings(store, lambda: NOW))


def sign(person: str, value: VoteValue, *, gone: bool = False, time: float = 0.0) -> Sign:
    return Sign(HERE, "first", person, value, withdrawn=gone, time=time)


async def held(signs: Signs, store: Store) -> dict[str, int]:
    await signs.settled()
    return {vote.rater: vote.value for vote in await store.current_votes()}


async def test_a_sign_that_is_told_after_a_later_one_changes_nothing(
    signs: Signs, store: Store
) -> None:
    signs.take(sign("ada", 1, gone=True, time=2.0))
    signs.take(sign("ada", 1, time=1.0))
    signs.take(sign("bob", 1, time=1.0))
    assert await held(signs, store) == {"bob": 1}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [(set(), {}), ({-1}, {"ada": -1}), ({1}, {"ada": 1}), (None, {"ada": -1})],
)
async def test_a_last_sign_taken_away_that_is_told_first_leaves_what_the_platform_shows(
    store: Store, shown: set[VoteValue] | None, expected: dict[str, int]
) -> None:
    async def left(*asked: object) -> set[VoteValue] | None:
        return shown

    signs = Signs(Ratings(store, lambda: NOW), left=left)
    signs.take(sign("ada", -1, time=1.0))
    # Then: the dislike is taken away, a like is given, and that is taken away, told backwards.
    signs.take(sign("ada", 1, gone=True, time=4.0))
    signs.take(sign("ada", 1, time=3.0))
    signs.take(sign("ada", -1, gone=True, time=2.0))
    assert await held(signs, store) == expected


async def test_what_is_cleared_under_a_growing_reply_does_not_count_and_what_comes_then_does(
    signs: Signs, store: Store
) -> None:
    with signs.making(HERE):
        signs.take(sign("ada", 1))
        signs.take(sign("bob", -1))
        signs.clear(HERE, "first", 1)
        signs.take(sign("cyd", 1))
    assert await held(signs, store) == {"bob": -1, "cyd": 1}
    signs.clear(HERE, "first", 0)
    signs.take(sign("bob", 1))
    assert await held(signs, store) == {"bob": 1}


async def test_a_sign_that_comes_before_its_message_is_known_waits_for_the_reply(
    signs: Signs, store: Store
) -> None:
    with signs.making(HERE), signs.making(HERE):
        signs.take(replace(sign("ada", 1), message="third"))
        signs.take(sign("bob", 1))
        await until(store.current_votes)  # bob's came second, and does not wait
        with signs.making(HERE):
            await store.add_exchange(replace(REPLY, platform_ids=("third",)))
    assert signs.being_made() == ()
    assert await held(signs, store) == {"ada": 1, "bob": 1}


async def test_what_people_do_while_the_platform_is_asked_comes_after_its_answer(
    signs: Signs, store: Store
) -> None:
    async def read() -> Standing:
        signs.take(sign("ada", 1, gone=True))
        signs.take(sign("bob", -1))
        return {"ada": {1}, "cyd": {-1}}

    signs.take(sign("ada", 1))
    signs.take(sign("dan", 1))
    await signs.compare(HERE, ["first"], read)
    assert await held(signs, store) == {"bob": -1, "cyd": -1}


async def test_signs_wait_for_a_look_at_the_other_message_of_a_reply(
    signs: Signs, store: Store
) -> None:
    async def read() -> Standing:
        signs.take(sign("ada", 1, gone=True))
        return {"ada": {1}}

    await signs.compare(HERE, ["second", "first"], read)
    assert await held(signs, store) == {}


async def test_a_look_that_fails_changes_nothing_and_is_told(signs: Signs, store: Store) -> None:
    async def read() -> Standing:
        signs.take(sign("bob", 1))
        raise OSError("no network")

    signs.take(sign("ada", 1))
    with pytest.raises(OSError, match="no network"):
        await signs.compare(HERE, ["first"], read)
    assert await held(signs, store) == {"ada": 1, "bob": 1}


async def test_when_a_vote_goes_it_is_asked_once_what_that_person_left_under_the_reply(
    store: Store
) -> None:
    asked: list[tuple[tuple[str, ...], str]] = []

    async def left(channel: ChannelKey, messages: Sequence[str], person: str) -> set[VoteValue]:
        asked.append((tuple(messages), person))
        return {"ada": {1}, "cyd": {1}}.get(person, set())

    signs = Signs(Ratings(store, lambda: NOW), left=left)
    for person, *values in (("ada", 1, -1), ("bob", 1), ("cyd", -1, 1)):
        for value in values:
            signs.take(sign(person, value))
        signs.take(sign(person, 1 if person == "bob" else -1, gone=True))
    assert await held(signs, store) == {"ada": 1, "cyd": 1}
    assert sorted(asked) == [(("first", "second"), "ada"), (("first", "second"), "bob")]
    signs.clear(HERE, "first", 0)
    assert await held(signs, store) == {}
    assert len(asked) == 2
