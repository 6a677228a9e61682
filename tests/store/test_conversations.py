"""Channels, messages and histories."""

from __future__ import annotations

import asyncio

from bot.store import Store, StoredTurn
from tests.store.samples import HERE, NOW, THERE, exchange, later, message


async def test_a_persona_belongs_to_one_channel_and_can_be_taken_away(store: Store) -> None:
    assert await store.persona(HERE) is None
    await store.set_persona(HERE, "You are a pirate.")
    assert await store.persona(HERE) == "You are a pirate."
    assert await store.persona(THERE) is None
    await store.set_persona(HERE, None)
    assert await store.persona(HERE) is None


async def test_a_channel_can_answer_with_a_version_of_its_own(store: Store) -> None:
    await store.set_persona(THERE, "quiet")
    await store.set_channel_adapter(HERE, "v0003")
    assert await store.channel_adapters() == {HERE: "v0003"}
    await store.set_channel_adapter(HERE, None)
    assert await store.channel_adapters() == {}


async def test_a_message_told_twice_is_kept_once(store: Store) -> None:
    told = await asyncio.gather(*(store.add_message(message(1)) for _ in range(5)))
    assert told.count(None) == 4
    assert await store.add_message(message(1, text="edited")) is None
    assert len(await store.history(HERE)) == 1


async def test_the_same_message_id_in_another_channel_is_another_message(store: Store) -> None:
    assert await store.add_message(message(1, HERE))
    assert await store.add_message(message(1, THERE))


async def test_a_history_has_messages_and_replies_in_the_order_they_were_recorded(
    store: Store,
) -> None:
    await store.add_message(message(1, time=later(100)))
    first = await store.add_exchange(exchange(reply="answer 1", time=later(-100)))
    await store.add_message(message(2, author="bob", author_name="Bob", time=later(50)))
    await store.add_message(message(3))
    second = await store.add_exchange(exchange(reply="answer 2"))
    third = await store.add_exchange(exchange(reply="answer 3"))
    await store.add_message(message(9, THERE))
    assert await store.history(HERE) == [
        StoredTurn("user", "question 1 🙂", "ann", None, "Ann"),
        StoredTurn("assistant", "answer 1", None, first, adapter="v0001"),
        StoredTurn("user", "question 2 🙂", "bob", None, "Bob"),
        StoredTurn("user", "question 3 🙂", "ann", None, "Ann"),
        StoredTurn("assistant", "answer 2", None, second, adapter="v0001"),
        StoredTurn("assistant", "answer 3", None, third, adapter="v0001"),
    ]


async def test_a_message_waits_until_it_or_a_later_one_of_its_channel_is_answered(
    store: Store,
) -> None:
    first, second = [await store.add_message(message(n), waits=True) for n in (1, 2)]
    await store.add_message(message(3, THERE), waits=True)
    await store.add_message(message(4))
    waiting = await store.waiting_messages(HERE.platform)
    assert [(one.id, one.message) for one in waiting[:2]] == [
        (first, message(1)), (second, message(2)),
    ]  # fmt: skip
    assert await store.waiting_messages("elsewhere") == []
    await store.add_exchange(exchange(), second)
    waiting = await store.waiting_messages(HERE.platform)
    assert [one.message.channel for one in waiting] == [THERE]
    await store.settle(waiting[0].id)
    assert await store.waiting_messages(HERE.platform) == []


async def test_a_reply_stands_after_the_message_it_answers(store: Store) -> None:
    first = await store.add_message(message(1))
    second = await store.add_message(message(2))
    await store.add_exchange(exchange(reply="answer 1"), first)
    turns = await store.history(HERE)
    assert [turn.content for turn in turns] == ["question 1 🙂", "answer 1", "question 2 🙂"]
    assert await store.history(HERE, before=second) == turns[:2]


async def test_a_reply_that_stayed_empty_is_not_in_the_history(store: Store) -> None:
    await store.add_message(message(1))
    await store.add_exchange(exchange(reply="", finish="error"))
    assert [turn.role for turn in await store.history(HERE)] == ["user"]


async def test_a_limited_history_is_the_newest_end_of_the_whole_one(store: Store) -> None:
    for number in range(6):
        await store.add_message(message(number))
        if number % 2:
            await store.add_exchange(exchange(reply=f"answer {number}"))
    whole = await store.history(HERE)
    assert len(whole) == 9
    for limit in range(1, 11):
        assert await store.history(HERE, limit) == whole[-limit:]
    assert await store.history(HERE, 0) == []


async def test_after_a_reset_the_history_starts_anew_and_nothing_is_lost(store: Store) -> None:
    await store.add_message(message(1))
    old = await store.add_exchange(exchange(reply="old"))
    await store.add_message(message(2, THERE))
    await store.reset(HERE, NOW)
    assert await store.history(HERE) == []
    assert len(await store.history(THERE)) == 1
    await store.add_message(message(3))
    await store.add_exchange(exchange(reply="new"))
    assert [turn.content for turn in await store.history(HERE)] == ["question 3 🙂", "new"]
    assert await store.exchange(old) is not None
    assert await store.add_message(message(1)) is None


async def test_a_channel_can_be_reset_before_anything_was_said_in_it(store: Store) -> None:
    await store.reset(HERE, NOW)
    await store.add_message(message(1))
    assert len(await store.history(HERE)) == 1


async def test_a_channel_nobody_spoke_in_has_an_empty_history(store: Store) -> None:
    assert await store.history(HERE) == []
