"""Which liked exchanges may be examples in their channel."""

from __future__ import annotations

from typing import Any

import pytest

from bot.config import LearningConfig, WeighingConfig
from bot.store import Store
from bot.store.examples import MOST, NEWEST
from bot.types import ChannelKey, Example, Turn
from tests.store.samples import HERE, NOW, THERE, exchange, message, vote

GUILD = ChannelKey("discord", "7", "general")
TERMS = LearningConfig(platform_terms_acknowledged=True)


async def asked(store: Store, number: int, channel: ChannelKey = HERE, **changes: Any) -> int:
    """The exchange that answers message `number`."""
    row = await store.add_message(message(number, channel))
    given = exchange(channel, **({"finish": "stop", "authors": ("ann",)} | changes))
    return await store.add_exchange(given, answers=row)


async def liked(store: Store, channel: ChannelKey = HERE, characters: int = 1000) -> list[int]:
    return [one.exchange_id for one in await store.liked(channel, TERMS, characters)]


async def test_what_is_liked_comes_newest_first_with_its_words_and_whose_they_are(
    store: Store,
) -> None:
    first = await asked(store, 1, authors=("bob", "ann"))
    second = await asked(store, 2)
    await asked(store, 3)
    for key in (second, first):
        await store.add_vote(vote(key))
    assert await store.liked(HERE, TERMS, 1000) == [
        Example(second, "question 2 🙂", "hello", ("ann",)),
        Example(first, "question 1 🙂", "hello", ("ann", "bob")),
    ]
    assert await store.liked(THERE, TERMS, 1000) == []


async def test_as_many_dislikes_as_likes_are_no_like(store: Store) -> None:
    key = await asked(store, 1)
    await store.add_vote(vote(key, "bob"))
    await store.add_vote(vote(key, "cid", -1))
    assert await liked(store) == []
    await store.add_vote(vote(key, "dan"))
    assert await liked(store) == [key]
    await store.add_vote(vote(key, "bob", 0))
    assert await liked(store) == []


@pytest.mark.parametrize(
    "changes", [{"finish": "length"}, {"finish": "cancelled"}, {"reply": ""}, {"asker": "eve"}]
)
async def test_what_did_not_end_says_nothing_or_answers_somebody_else_is_left_out(
    store: Store, changes: dict[str, Any]
) -> None:
    await store.add_vote(vote(await asked(store, 1, **changes)))
    assert await liked(store) == []


async def test_question_and_reply_have_so_many_characters_at_most(store: Store) -> None:
    key = await asked(store, 1)
    await store.add_vote(vote(key))
    length = len("question 1 🙂") + len("hello")
    assert await liked(store, characters=length) == [key]
    assert await liked(store, characters=length - 1) == []


async def test_everybody_in_the_prompt_and_the_asker_must_consent(store: Store) -> None:
    key = await asked(store, 1, GUILD, authors=("bob",))
    await store.add_vote(vote(key))
    await store.set_consent("discord", "bob", True, NOW)
    assert await liked(store, GUILD) == []
    await store.set_consent("discord", "ann", True, NOW)
    assert await liked(store, GUILD) == [key]
    assert await store.liked(GUILD, LearningConfig(), 1000) == []
    await store.set_consent("discord", "bob", False, NOW)
    assert await liked(store, GUILD) == []
    # Another platform's person of this id is somebody else.
    await store.set_consent("slack", "bob", True, NOW)
    assert await liked(store, GUILD) == []


async def test_what_an_operator_dropped_is_left_out_until_kept_again(store: Store) -> None:
    key = await asked(store, 1)
    await store.add_vote(vote(key))
    for keep in (True, False, True):
        await store.add_review(key, keep, "console/ann", NOW)
        assert await liked(store) == [key] * keep


async def test_the_same_reply_to_the_same_words_is_dropped_with_it_until_the_last_word(
    store: Store,
) -> None:
    prompt = (Turn("user", "Tell me"),)
    first = await asked(store, 1, prompt=prompt, reply="That is it")
    again = await asked(store, 2, prompt=(Turn("user", "tell  ME"),), reply=" That  is it")
    other = await asked(store, 3, prompt=(Turn("user", "Tell us"),), reply="That is it")
    for key in (first, again, other):
        await store.add_vote(vote(key))
    await store.add_review(first, False, "console/ann", NOW)
    assert await liked(store) == [other]
    await store.add_review(again, True, "console/ann", NOW)
    assert await liked(store) == [other, again, first]


async def test_a_link_that_one_person_alone_likes_is_shown_to_nobody(store: Store) -> None:
    key = await asked(store, 1, reply="Go to evil.example/a")
    await store.add_vote(vote(key, "bob"))
    assert await liked(store) == []
    assert len(await store.liked(HERE, TERMS, 1000, {"evil.example/a"})) == 1
    off = TERMS.model_copy(update={"votes": WeighingConfig(novelty=False)})
    assert len(await store.liked(HERE, off, 1000)) == 1
    await store.add_vote(vote(key, "cid"))
    assert await liked(store) == [key]
    await store.add_vote(vote(key, "cid", 0))
    assert await liked(store) == []
    await store.add_review(key, True, "console/ann", NOW)
    assert await liked(store) == [key]
    await store.add_review(key, False, "console/ann", NOW)
    await store.add_vote(vote(key, "cid"))
    assert await liked(store) == []


async def test_a_deleted_question_takes_its_example_along(store: Store) -> None:
    await store.add_vote(vote(await asked(store, 1)))
    await store.delete_messages([(HERE, "m1")])
    assert await liked(store) == []


async def test_what_is_looked_at_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST <= NEWEST
    monkeypatch.setattr("bot.store.examples.NEWEST", 4)
    monkeypatch.setattr("bot.store.examples.MOST", 2)
    keys = [await asked(store, number) for number in range(6)]
    for key in keys:
        await store.add_vote(vote(key))
    assert await liked(store) == [keys[5], keys[4]]
    for key in keys[3:]:
        await store.add_vote(vote(key, value=0))
    assert await liked(store) == [keys[2]]
