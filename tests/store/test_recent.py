"""The newest facts, for whoever looks on."""

from __future__ import annotations

from bot.store import Cast, Outcome, Store
from bot.types import Timings
from tests.store.samples import HERE, NOW, THERE, exchange, later, vote


async def test_the_mark_changes_with_every_vote_and_every_decision(store: Store) -> None:
    assert await store.mark() == (0, 0, 0)
    key = await store.add_exchange(exchange())
    await store.add_vote(vote(key))
    await store.add_vote(vote(key, value=0))
    assert await store.mark() == (2, 0, 0)
    await store.add_review(key, True, "web/op", NOW)
    assert await store.mark() == (2, 1, 0)
    await store.ban("bob", "web/op", NOW)
    assert await store.mark() == (2, 1, 1)


async def test_the_newest_votes_are_told_as_they_came_with_where_and_on_which_version(
    store: Store,
) -> None:
    first = await store.add_exchange(exchange(HERE, adapter="base"))
    second = await store.add_exchange(exchange(THERE, adapter="v0002"))
    await store.add_vote(vote(first, "bob", 1, 0))
    await store.add_vote(vote(first, "bob", -1, 1))
    await store.add_vote(vote(second, "cid", 0, 2))
    assert await store.newest_votes(2) == [
        Cast(first, "bob", -1, "reaction", later(1), "base", "console", "local"),
        Cast(second, "cid", 0, "reaction", later(2), "v0002", "console", "local"),
    ]
    assert len(await store.newest_votes(100)) == 3


async def test_the_newest_timings_are_told_oldest_first(store: Store) -> None:
    for total in (1.0, 2.0, 3.0):
        await store.add_exchange(exchange(timings=Timings(total=total, reply_tokens=5)))
    found = await store.newest_timings(2)
    assert [(one.exchange_id, one.timings.total) for one in found] == [(2, 2.0), (3, 3.0)]
    assert (found[0].adapter, found[0].time) == ("v0001", NOW)


async def test_the_last_verdict_on_a_version_is_the_one_that_counts(store: Store) -> None:
    assert (await store.outcomes(), await store.last_sentence()) == ({}, "")
    for name, outcome, sentence in (
        ("v0001", "reject", "no"), ("v0002", "shadow", "who knows"), ("v0001", "promote", "yes"),
    ):
        await store.add_verdict(name, "base", outcome, sentence, [], NOW)
    assert await store.outcomes() == {
        "v0001": Outcome("promote", "base", "yes"), "v0002": Outcome("shadow", "base", "who knows"),
    }
    assert await store.last_sentence() == "yes"
