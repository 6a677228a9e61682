"""Whose votes do not count: from the moment of a ban until it is lifted, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store import Ban, Store
from tests.store.samples import NOW, exchange, later, vote


async def test_votes_of_a_banned_person_hold_no_more_and_again_when_the_ban_is_lifted(
    tmp_path: Path,
) -> None:
    async with await Store.open(tmp_path) as store:
        keys = [await store.add_exchange(exchange(adapter="v0001")) for _ in range(4)]
        for key, value in zip(keys, (1, -1, 1), strict=False):
            await store.add_vote(vote(key, "eve", value))
        await store.add_vote(vote(keys[0], "ann", -1))
        await store.add_vote(vote(keys[2], "eve", 0, 1))
        held = await store.current_votes()
        assert await store.ban("eve", "web/op", NOW) == 2
        assert await store.banned() == [Ban("eve", 3, "web/op", NOW)]
        assert [one.rater for one in await store.current_votes()] == ["ann"]
        assert await store.like_rate("v0001") == (0, 1)
        assert await store.count_votes() == 1
        await store.add_vote(vote(keys[3], "eve", 1, 2))
        assert await store.current_vote(keys[3], "eve") == 0
    async with await Store.open(tmp_path) as store:
        assert len(await store.votes_of(keys[3])) == 1
        assert await store.unban("eve", "web/op", later(3)) == 3
        assert await store.banned() == []
        assert await store.current_votes() == [*held, vote(keys[3], "eve", 1, 2)]
        assert await store.like_rate("v0001") == (2, 4)
        assert await store.count_votes() == 5
        assert await store.ban("eve", "web/op", later(4)) == 3


async def test_only_who_has_voted_is_banned_and_only_once(store: Store) -> None:
    with pytest.raises(StoreError, match="nobody who is known as eve has voted"):
        await store.ban("eve", "web/op", NOW)
    with pytest.raises(StoreError, match="eve is not banned"):
        await store.unban("eve", "web/op", NOW)
    await store.add_vote(vote(await store.add_exchange(exchange()), "eve", 1))
    await store.ban("eve", "web/op", NOW)
    with pytest.raises(StoreError, match="eve is banned already"):
        await store.ban("eve", "web/op", NOW)


async def test_a_ban_outlives_the_votes_it_was_for_and_loses_the_name_of_who_is_forgotten(
    store: Store,
) -> None:
    await store.add_vote(vote(await store.add_exchange(exchange()), "eve", 1))
    await store.ban("eve", "discord/op", NOW)
    told = [{"rater": "eve", "time": NOW.isoformat(), "banned": True}]
    assert (await store.data_of("discord", "op"))["bans"] == told
    assert (await store.data_of("console", "eve"))["bans"] == told
    await store.forget("discord", "op", NOW)
    await store.forget("console", "eve", NOW)
    assert await store.banned() == [Ban("eve", 0, "", NOW)]
    assert (await store.data_of("discord", "op"))["bans"] == []
