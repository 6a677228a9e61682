"""Votes: flips, withdrawals, counts and rates."""

from __future__ import annotations

import pytest

from bot.errors import StoreError
from bot.store import Store
from tests.store.samples import exchange, later, vote


async def test_every_change_of_a_vote_is_kept_and_the_last_one_holds(store: Store) -> None:
    key = await store.add_exchange(exchange())
    changes = [vote(key, value=1), vote(key, value=-1, seconds=1), vote(key, value=1, seconds=2)]
    for change in changes:
        await store.add_vote(change)
    assert await store.votes_of(key) == changes
    assert await store.current_votes() == [changes[-1]]


async def test_a_withdrawn_vote_no_longer_holds_but_is_remembered(store: Store) -> None:
    key = await store.add_exchange(exchange())
    await store.add_vote(vote(key))
    await store.add_vote(vote(key, value=0, seconds=1))
    assert await store.current_votes() == []
    assert [change.value for change in await store.votes_of(key)] == [1, 0]
    await store.add_vote(vote(key, value=-1, seconds=2))
    assert [held.value for held in await store.current_votes()] == [-1]


async def test_withdrawing_a_vote_never_given_is_no_vote(store: Store) -> None:
    key = await store.add_exchange(exchange())
    await store.add_vote(vote(key, value=0))
    assert await store.current_votes() == []
    assert await store.count_votes() == 0


async def test_current_votes_are_ordered_by_exchange_then_rater(store: Store) -> None:
    first, second = [await store.add_exchange(exchange()) for _ in range(2)]
    for key, rater in [(second, "bob"), (first, "cid"), (second, "ann"), (first, "ann")]:
        await store.add_vote(vote(key, rater))
    held = [(item.exchange_id, item.rater) for item in await store.current_votes()]
    assert held == [(first, "ann"), (first, "cid"), (second, "ann"), (second, "bob")]


async def test_a_vote_on_an_unknown_exchange_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="there is no exchange 77"):
        await store.add_vote(vote(77))
    assert await store.votes_of(77) == []


async def test_votes_are_counted_after_a_time_flips_included_withdrawals_not(
    store: Store,
) -> None:
    key = await store.add_exchange(exchange())
    for seconds, value in enumerate((1, -1, 0, 1)):
        await store.add_vote(vote(key, value=value, seconds=seconds))  # type: ignore[arg-type]
    assert await store.count_votes() == 3
    assert await store.count_votes(since=later(0)) == 2
    assert await store.count_votes(since=later(3)) == 0


async def test_the_like_rate_is_over_current_votes_on_replies_of_an_adapter(
    store: Store,
) -> None:
    assert await store.like_rate() == (0, 0)
    old = await store.add_exchange(exchange(adapter="v0001"))
    new = await store.add_exchange(exchange(adapter="v0002"))
    await store.add_vote(vote(old, "ann", 1))
    await store.add_vote(vote(old, "bob", 1))
    await store.add_vote(vote(old, "bob", -1))
    await store.add_vote(vote(new, "ann", 1))
    await store.add_vote(vote(new, "bob", 0))
    assert await store.like_rate("v0001") == (1, 2)
    assert await store.like_rate("v0002") == (1, 1)
    assert await store.like_rate("v0003") == (0, 0)
    assert await store.like_rate() == (2, 3)
