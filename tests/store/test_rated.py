from __future__ import annotations

from bot.store import Ending, Said, Store
from tests.store.samples import NOW, exchange, later, vote

BASE = "fingerprint"


async def test_votes_on_a_version_are_told_apart_by_when_their_reply_was_given(
    store: Store,
) -> None:
    old = await store.add_exchange(exchange(adapter="base", time=NOW))
    stayed = await store.add_exchange(exchange(adapter="base", time=later(10)))
    new = await store.add_exchange(exchange(adapter="v0001", time=later(10)))
    for key in (old, stayed, new):
        await store.add_vote(vote(key, seconds=20))
    assert [one.exchange_id for one in await store.votes_before("base", BASE, later(10))] == [old]
    since = await store.votes_since(BASE, later(10))
    assert {name: [one.exchange_id for one in votes] for name, votes in since.items()} == {
        "base": [stayed], "v0001": [new],
    }  # fmt: skip


async def test_a_vote_counts_as_it_stands_and_once_for_each_rater(store: Store) -> None:
    key = await store.add_exchange(exchange(adapter="v0001"))
    await store.add_vote(vote(key, "bob", 1, 1))
    await store.add_vote(vote(key, "bob", -1, 2))
    await store.add_vote(vote(key, "cid", 1, 3))
    await store.add_vote(vote(key, "cid", 0, 4))
    assert await store.votes_since(BASE, NOW) == {"v0001": [vote(key, "bob", -1, 2)]}


async def test_replies_of_another_base_are_left_out(store: Store) -> None:
    key = await store.add_exchange(exchange(adapter="base", base="another"))
    await store.add_vote(vote(key))
    assert await store.votes_before("base", BASE, later(1)) == []
    assert await store.votes_since(BASE, NOW) == {}
    assert await store.last_said(BASE, 10) == []
    assert await store.last_ends("base", BASE, 10, 10) == []


async def test_votes_on_a_few_exchanges_are_read_without_the_others(store: Store) -> None:
    old = await store.add_exchange(exchange(adapter="v0001", time=NOW))
    keys = [await store.add_exchange(exchange(adapter="v0001", time=later(10))) for _ in range(3)]
    for key in (old, *keys):
        await store.add_vote(vote(key, seconds=20))
    read = await store.votes_since(BASE, later(10), [old, keys[1]])
    assert read == {"v0001": [vote(keys[1], seconds=20)]}


async def test_the_last_ends_of_a_version_are_those_among_the_last_replies_of_all(
    store: Store,
) -> None:
    for number, finish in enumerate(("stop", "error", "length", "stop")):
        await store.add_exchange(exchange(adapter="v0001", finish=finish, reply=f"{number}"))
    await store.add_exchange(exchange(adapter="base"))
    long, last = Ending("length", "2", (7, 2)), Ending("stop", "3", ())
    assert await store.last_ends("v0001", BASE, 2, 100) == [long, last]
    assert await store.last_ends("v0001", BASE, 10, 3) == [long, last]


async def test_the_last_replies_come_with_their_first_rating(store: Store) -> None:
    for seconds in range(3):
        await store.add_exchange(exchange(adapter=f"v000{seconds}", time=later(seconds)))
    await store.add_vote(vote(3, "bob", 1, 60))
    await store.add_vote(vote(3, "cid", -1, 30))
    assert await store.last_said(BASE, 2) == [
        Said("v0001", later(1), None), Said("v0002", later(2), later(30)),
    ]
