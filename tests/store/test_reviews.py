"""Decisions of operators about replies: kept as they came, gone with what they are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import StoreError
from bot.store import Review, Store
from bot.types import ChannelKey
from tests.store.samples import NOW, exchange, later

GUILD = ChannelKey("discord", "7", "general")


async def test_every_decision_is_kept_in_its_order_also_after_a_restart(tmp_path: Path) -> None:
    async with await Store.open(tmp_path) as store:
        first, second = [await store.add_exchange(exchange()) for _ in range(2)]
        await store.add_review(second, True, "console/ann", NOW)
        await store.add_review(first, False, "console/ann", later(1))
        await store.add_review(second, False, "discord/7", later(2))
    async with await Store.open(tmp_path) as store:
        assert await store.reviews() == [
            Review(second, True, "console/ann", NOW),
            Review(first, False, "console/ann", later(1)),
            Review(second, False, "discord/7", later(2)),
        ]


async def test_nothing_is_decided_about_what_does_not_exist(store: Store) -> None:
    with pytest.raises(StoreError, match="there is no exchange 99 to decide about"):
        await store.add_review(99, True, "console/ann", NOW)
    assert await store.reviews() == []


async def test_decisions_go_with_their_exchange_and_names_with_their_person(store: Store) -> None:
    hers = await store.add_exchange(exchange(GUILD, asker="ann", authors=("ann",)))
    his = await store.add_exchange(exchange(GUILD, asker="bob", authors=("bob",)))
    for number in (hers, his):
        await store.add_review(number, False, "discord/ann", NOW)
    await store.add_review(his, True, "slack/ann", NOW)
    data = await store.data_of("discord", "ann")
    assert data["reviews"] == [
        {"exchange": number, "time": NOW.isoformat(), "decision": "drop"} for number in (hers, his)
    ]
    await store.forget("discord", "ann", NOW)
    assert await store.reviews() == [
        Review(his, False, "", NOW), Review(his, True, "slack/ann", NOW)
    ]
    assert (await store.data_of("discord", "ann"))["reviews"] == []
