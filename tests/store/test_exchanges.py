"""Exchanges and the ids they were posted under."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store import Store
from tests.store.samples import HERE, NOW, THERE, exchange


async def test_an_exchange_comes_back_exactly_even_after_a_restart(
    store: Store, tmp_path: Path
) -> None:
    given = exchange(platform_ids=("r2", "r1"))
    key = await store.add_exchange(given)
    await store.close()
    async with await Store.open(tmp_path / "data") as reopened:
        assert await reopened.exchange(key) == replace(given, id=key)
        assert await reopened.count_exchanges() == 1


async def test_an_exchange_without_tokens_authors_or_seed_comes_back_too(store: Store) -> None:
    given = exchange(authors=(), prompt=(), prompt_ids=(), reply_ids=(), private=False)
    key = await store.add_exchange(given)
    assert await store.exchange(key) == replace(given, id=key)


async def test_a_time_in_another_zone_comes_back_as_the_same_moment(store: Store) -> None:
    zone = timezone(timedelta(hours=-9))
    key = await store.add_exchange(exchange(time=NOW.astimezone(zone)))
    found = await store.exchange(key)
    assert found is not None
    assert found.time == NOW
    assert found.time.utcoffset() == timedelta(0)


async def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no time zone"):
        await store.add_exchange(exchange(time=NOW.replace(tzinfo=None)))


async def test_exchanges_come_in_the_order_asked_and_unknown_ones_are_left_out(
    store: Store,
) -> None:
    keys = [await store.add_exchange(exchange(reply=str(n), authors=(str(n),))) for n in range(4)]
    asked = [keys[2], 999, keys[0], keys[3]]
    found = await store.exchanges(asked)
    assert [(item.id, item.reply, item.authors) for item in found] == [
        (keys[2], "2", ("2",)),
        (keys[0], "0", ("0",)),
        (keys[3], "3", ("3",)),
    ]
    assert await store.exchanges([]) == []
    assert len(await store.exchanges(keys * 200)) == 800
    assert await store.exchange(999) is None


async def test_an_exchange_is_found_by_each_id_it_was_posted_under(store: Store) -> None:
    key = await store.add_exchange(exchange(platform_ids=("r1",)))
    await store.link_platform_ids(key, ["r3", "r2"])
    await store.link_platform_ids(key, ["r2"])
    for platform_id in ("r1", "r2", "r3"):
        assert await store.exchange_of(HERE, platform_id) == key
    assert await store.exchange_of(THERE, "r1") is None
    assert await store.exchange_of(HERE, "unknown") is None
    found = await store.exchange(key)
    assert found is not None
    assert found.platform_ids == ("r1", "r3", "r2")


async def test_a_posted_message_belongs_to_one_exchange_only(store: Store) -> None:
    first = await store.add_exchange(exchange(platform_ids=("r1",)))
    second = await store.add_exchange(exchange())
    with pytest.raises(StoreError, match=f"r1 belongs to exchange {first}"):
        await store.link_platform_ids(second, ["r2", "r1"])
    assert await store.exchange_of(HERE, "r2") is None, "half of a refused write was kept"
    with pytest.raises(StoreError, match="there is no exchange 99"):
        await store.link_platform_ids(99, ["r9"])


async def test_the_last_exchange_is_the_channels_own(store: Store) -> None:
    assert await store.last_exchange(HERE) is None
    await store.add_exchange(exchange(reply="first"))
    mine = await store.add_exchange(exchange(reply="second"))
    await store.add_exchange(exchange(THERE))
    found = await store.last_exchange(HERE)
    assert found is not None
    assert (found.id, found.reply) == (mine, "second")
