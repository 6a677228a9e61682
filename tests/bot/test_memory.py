"""Liked exchanges come back as examples: at once, where they were said, and no longer than liked.

The liked exchanges are put into the real store as they would have been recorded; the
conversation, the engine and the prompts are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Engine, event

from bot.commands import Asker, Commands
from bot.config import Config
from bot.conversation import Conversation, Reply
from bot.engine.local import LocalEngine
from bot.learning_port import Learning
from bot.people import People
from bot.store import Store
from bot.types import (
    BASE,
    ChannelKey,
    Exchange,
    Message,
    Sampling,
    Timings,
    Turn,
    Vote,
)
from learning.pretraining import corpus
from tests.bot.conftest import CHANNEL, NOON, OTHER, Talk, ask, config_of, message
from tests.bot.test_commands import Pupil, done, text_of

GUILD = ChannelKey("discord", "7", "general")
TEA = ("Do you like tea?", "Yes, with milk.")
FILMS = ("Which films do you watch?", "Old ones.")
TEA_SHOWN = "\n".join(["Be kind.", *corpus.example_lines([TEA])])


def remembering(folder: Path, **memory: object) -> Config:
    """A configuration with memory, and room for what a small vocabulary makes of words."""
    return Config.model_validate({
        **config_of(folder).model_dump(),
        "memory": {"enabled": True, "tokens": 600, **memory},
        "learning": {"platform_terms_acknowledged": True},
    })


@pytest.fixture
def settings(folder: Path) -> Config:
    return remembering(folder)


async def given(
    store: Store, words: tuple[str, str], channel: ChannelKey = CHANNEL, *,
    said: Message | None = None, **changes: Any,
) -> int:  # fmt: skip
    """An exchange on record, asked by ada, that nobody has rated."""
    question, reply = words
    row = await store.add_message(said or message(question, channel))
    fields: dict[str, Any] = {
        "channel": channel, "asker": "ada", "authors": ("ada",), "reply": reply,
        "prompt": (Turn("user", question),), "prompt_ids": (5,), "reply_ids": (6, 0),
        "finish": "stop", "adapter": BASE, "base": "b", "sampling": Sampling(),
        "timings": Timings(), "time": NOON, **changes,
    }  # fmt: skip
    return await store.add_exchange(Exchange(**fields), answers=row)


async def vote(store: Store, exchange: int, value: Any = 1, rater: str = "bob") -> None:
    await store.add_vote(Vote(exchange, rater, value, "reaction", NOON))


async def liked(
    store: Store, words: tuple[str, str], channel: ChannelKey = CHANNEL, **changes: Any
) -> int:
    """A liked exchange that the channel's history does not show any more."""
    exchange = await given(store, words, channel, **changes)
    await vote(store, exchange)
    await store.reset(channel, NOON)
    return exchange


async def exchange_of(store: Store, reply: Reply) -> Exchange:
    assert reply.exchange_id is not None
    exchange = await store.exchange(reply.exchange_id)
    assert exchange is not None
    return exchange


async def system(
    store: Store, conversation: Conversation, text: str, channel: ChannelKey = CHANNEL,
    author: str = "ada",
) -> str:
    """The system turn of the prompt that a question leads to."""
    exchange = await exchange_of(store, await ask(conversation, text, channel, author))
    return exchange.prompt[0].content


def continues(first: Exchange, second: Exchange) -> bool:
    """Whether the second prompt begins with the very ids of the first and its reply."""
    seen = (*first.prompt_ids, *first.reply_ids)
    return second.prompt_ids[: len(seen)] == seen


async def test_a_liked_answer_is_an_example_as_soon_as_it_is_liked(
    talk: Talk, store: Store, settings: Config
) -> None:
    exchange = await given(store, TEA)
    await store.reset(CHANNEL, NOON)
    conversation = talk(settings)
    assert await system(store, conversation, "Do you like green tea?") == "Be kind."
    await conversation.ratings.vote(CHANNEL, exchange, "bob", 1, "terminal")
    assert await system(store, conversation, "Do you like black tea?") == TEA_SHOWN
    assert await system(store, talk(settings), "Tea, do you like it?") == TEA_SHOWN


@pytest.mark.parametrize("value", [0, -1])
async def test_a_withdrawn_or_outvoted_like_takes_the_example_out_at_once(
    talk: Talk, store: Store, settings: Config, value: int
) -> None:
    exchange = await liked(store, TEA)
    conversation = talk(settings)
    assert await system(store, conversation, "Do you like green tea?") == TEA_SHOWN
    await vote(store, exchange, value, "bob" if value == 0 else "cid")
    assert await system(store, conversation, "Do you like black tea?") == "Be kind."


async def test_withdrawn_consent_takes_the_example_out_at_once(
    talk: Talk, store: Store, settings: Config
) -> None:
    await liked(store, TEA, GUILD, authors=("ada", "cid"))
    conversation = talk(settings)
    for person in ("ada", "cid"):
        assert await system(store, conversation, "Do you like tea?", GUILD) == "Be kind."
        await store.set_consent("discord", person, True, NOON)
    assert await system(store, conversation, "Do you like green tea?", GUILD) == TEA_SHOWN
    await store.set_consent("discord", "cid", False, NOON)
    assert await system(store, conversation, "Do you like black tea?", GUILD) == "Be kind."


async def test_nobodys_words_are_examples_before_the_platforms_terms_are_acknowledged(
    talk: Talk, store: Store, settings: Config
) -> None:
    await liked(store, TEA, GUILD)
    await store.set_consent("discord", "ada", True, NOON)
    without = settings.model_copy(update={"learning": Config().learning})
    assert await system(store, talk(without), "Do you like tea?", GUILD) == "Be kind."


async def test_an_edited_question_is_shown_in_its_new_words_and_a_deleted_one_not_at_all(
    talk: Talk, store: Store, settings: Config
) -> None:
    said = message("Do you like old tea?")
    await liked(store, (said.text, TEA[1]), said=said)
    conversation, spot = talk(settings), [(CHANNEL, said.platform_id)]
    assert "Question: Do you like old tea?" in await system(store, conversation, TEA[0])
    await conversation.changes.edited(spot, "Do you like new tea?")
    assert "Question: Do you like new tea?" in await system(store, conversation, TEA[0])
    await conversation.changes.deleted(spot)
    assert await system(store, conversation, TEA[0]) == "Be kind."


async def test_words_that_are_forgotten_are_in_no_example(
    talk: Talk, store: Store, settings: Config
) -> None:
    await liked(store, TEA, GUILD)
    await store.set_consent("discord", "ada", True, NOON)
    conversation = talk(settings)
    people = People(
        store, settings, lambda: NOON, conversation=conversation, learning=cast(Learning, Pupil())
    )
    reply = await ask(conversation, "Do you like tea?", GUILD, "bob")
    exchange = await exchange_of(store, reply)
    assert exchange.prompt[0].content == TEA_SHOWN
    assert (exchange.asker, exchange.authors) == ("bob", ("ada", "bob"))
    await people.forget("discord", "ada")
    assert await store.exchange(exchange.id) is None
    assert await system(store, conversation, "Do you like tea?", GUILD, "bob") == "Be kind."


async def test_what_was_liked_in_one_channel_is_no_example_in_another(
    talk: Talk, store: Store, settings: Config
) -> None:
    await liked(store, TEA, OTHER)
    assert await system(store, talk(settings), "Do you like tea?") == "Be kind."


@pytest.mark.parametrize("changes", [{"finish": "length"}, {"finish": "cancelled"}])
async def test_an_answer_that_did_not_end_by_itself_is_no_example(
    talk: Talk, store: Store, settings: Config, changes: dict[str, Any]
) -> None:
    await liked(store, TEA, **changes)
    assert await system(store, talk(settings), "Do you like tea?") == "Be kind."


async def test_a_link_is_an_example_only_once_somebody_else_vouches_for_it(
    talk: Talk, store: Store, settings: Config
) -> None:
    exchange = await liked(store, (TEA[0], "Ask tea.example.com"))
    conversation = talk(settings)
    assert await system(store, conversation, TEA[0]) == "Be kind."
    await vote(store, exchange, rater="cid")
    assert "Ask tea.example.com" in await system(store, conversation, TEA[0])
    await vote(store, exchange, 0, "cid")
    assert await system(store, conversation, TEA[0]) == "Be kind."
    ours = settings.model_copy(update={
        "conversation": settings.conversation.model_copy(
            update={"persona": "Praise tea.example.com."}
        ),
    })
    assert "Ask tea.example.com" in await system(store, talk(ours), TEA[0])


@pytest.mark.parametrize(
    "rules",
    [{"words": ["milk"]}, {"patterns": ["mil."]}, {"classifier": f"{__name__}:milky"}],
)
async def test_an_answer_that_must_not_be_said_any_more_is_no_example(
    talk: Talk, store: Store, settings: Config, rules: dict[str, Any]
) -> None:
    await liked(store, TEA)
    ruled = Config.model_validate({**settings.model_dump(), "moderation": rules})
    assert await system(store, talk(ruled), "Do you like tea?") == "Be kind."


async def test_an_answer_with_a_forbidden_word_takes_no_others_place(
    talk: Talk, store: Store, folder: Path
) -> None:
    await liked(store, ("Do you like tea, too?", "Yes, plain."))
    await liked(store, TEA)
    settings = remembering(folder, examples=1)
    ruled = Config.model_validate({**settings.model_dump(), "moderation": {"words": ["milk"]}})
    assert await system(store, talk(settings), TEA[0]) == TEA_SHOWN
    await store.reset(CHANNEL, NOON)
    assert "Answer: Yes, plain." in await system(store, talk(ruled), TEA[0])


def milky(text: str) -> str | None:
    """An operator's classifier, for the test before."""
    return "milk" if "milk" in text else None


async def test_what_the_conversation_shows_anyway_is_no_example(
    talk: Talk, store: Store, settings: Config
) -> None:
    await vote(store, await given(store, TEA))
    conversation = talk(settings)
    assert await system(store, conversation, "Do you like green tea?") == "Be kind."
    await conversation.reset(CHANNEL)
    assert await system(store, conversation, "Do you like green tea?") == TEA_SHOWN


async def test_examples_stay_within_their_budget(
    talk: Talk, store: Store, folder: Path, engine: LocalEngine
) -> None:
    for n in range(6):
        await liked(store, (f"Do you like tea number {n}?", f"Yes, number {n}."))
    long = " ".join(f"leaf{n}" for n in range(200))
    await liked(store, ("Do you like tea?", long))
    for most, tokens in ((2, 600), (5, 150), (5, 30)):
        conversation = talk(remembering(folder, examples=most, tokens=tokens))
        shown = await system(store, conversation, "Do you like tea?")
        behind = shown.removeprefix("Be kind.").removeprefix("\n")
        count = behind.count("Question: ")
        assert len(engine.template.encode(behind)) <= tokens
        assert "leaf" not in shown
        assert count == 2 if tokens == 600 else count < most
        assert (count == 0) == (tokens == 30)


async def test_a_long_question_has_its_room_and_examples_give_way(
    talk: Talk, store: Store, folder: Path, engine: LocalEngine
) -> None:
    await liked(store, TEA)
    plain = config_of(folder, history_tokens=400)
    conversation = talk(plain.model_copy(update={"memory": remembering(folder).memory}))
    assert await system(store, conversation, TEA[0]) == TEA_SHOWN
    fits = 1
    while len(engine.template.encode(TEA[0] * fits)) < 370:
        fits += 1
    for question, note in ((TEA[0] * fits, ""), (TEA[0] * 100, "I read the beginning")):
        reply = await ask(conversation, question)
        assert (await exchange_of(store, reply)).prompt[0].content == "Be kind."
        assert note in reply.note
        assert bool(note) == bool(reply.note)
        assert await system(store, conversation, TEA[0]) == TEA_SHOWN


async def test_the_next_turn_continues_the_ids_of_the_one_before_with_its_examples(
    talk: Talk, store: Store, settings: Config
) -> None:
    await liked(store, TEA)
    await liked(store, FILMS)
    conversation = talk(settings)
    texts = ("Do you like green tea?", "Which films do you watch?", "What else?")
    turns = [await exchange_of(store, await ask(conversation, text)) for text in texts]
    assert [turn.prompt[0].content for turn in turns] == [TEA_SHOWN] * 3
    assert continues(turns[0], turns[1])
    assert continues(turns[1], turns[2])
    assert turns[1].timings.reuse > 0.5


async def test_a_new_like_changes_the_beginning_only_for_a_question_it_resembles(
    talk: Talk, store: Store, settings: Config
) -> None:
    await liked(store, TEA)
    films = await given(store, FILMS)
    await store.reset(CHANNEL, NOON)
    conversation = talk(settings)
    first = await exchange_of(store, await ask(conversation, "Do you like green tea?"))
    await vote(store, films)
    second = await exchange_of(store, await ask(conversation, "And black tea?"))
    third = await exchange_of(store, await ask(conversation, "Which films?"))
    assert continues(first, second)
    assert not continues(second, third)
    assert third.prompt[0].content == "\n".join(["Be kind.", *corpus.example_lines([FILMS])])


async def test_after_a_silence_the_examples_are_chosen_anew(
    engine: LocalEngine, store: Store, settings: Config
) -> None:
    await liked(store, TEA)
    await liked(store, FILMS)
    now = NOON

    def clock() -> datetime:
        return now

    conversation = Conversation(engine, store, settings, lambda channel: BASE, clock=clock)
    assert await system(store, conversation, "Do you like green tea?") == TEA_SHOWN
    now += timedelta(minutes=30)
    assert await system(store, conversation, "Which films do you watch?") == TEA_SHOWN
    now += timedelta(minutes=31)
    assert "Old ones." in await system(store, conversation, "Which films do you watch?")


async def test_examples_are_chosen_anew_when_the_conversation_is_trimmed(
    talk: Talk, store: Store, folder: Path
) -> None:
    await liked(store, TEA)
    await liked(store, FILMS)
    plain = config_of(folder, history_tokens=500)
    conversation = talk(plain.model_copy(update={"memory": remembering(folder).memory}))
    assert await system(store, conversation, "Do you like green tea?") == TEA_SHOWN
    turns: list[Exchange] = []
    while len(turns) < 2 or len(turns[-1].prompt) > len(turns[-2].prompt):
        turns.append(await exchange_of(store, await ask(conversation, FILMS[0])))
    *grown, trimmed = [turn.prompt[0].content for turn in turns]
    assert grown == [TEA_SHOWN] * (len(turns) - 1)
    assert "Old ones." in trimmed


async def test_a_chinese_question_finds_its_chinese_example(
    talk: Talk, store: Store, settings: Config
) -> None:
    await liked(store, ("你周末做什么?", "我在家看书。"))
    await liked(store, ("你喜欢喝绿茶吗?", "喜欢,每天都喝。"))
    shown = await system(store, talk(settings), "他们也喜欢喝绿茶")
    assert "Answer: 喜欢,每天都喝。" in shown
    assert "周末" not in shown


async def test_why_names_the_examples_that_a_reply_was_given_with(
    talk: Talk, store: Store, settings: Config, engine: LocalEngine
) -> None:
    key = await liked(store, TEA)
    conversation = talk(settings)
    exchange = await exchange_of(store, await ask(conversation, "Do you like green tea?"))
    assert exchange.examples == (key,)
    people = People(
        store, settings, conversation=conversation, learning=cast(Learning, Pupil())
    )
    commands = Commands(conversation, store, engine, cast(Learning, Pupil()), people)
    asker = Asker(CHANNEL, "ada", "terminal")
    told = text_of(await done(commands, "/why", asker))
    assert f"#{key} {TEA[0]}" in told
    assert f"#{key}" not in text_of(await done(commands, f"/why {key}", asker))


@contextmanager
def overheard() -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    heard: list[str] = []

    def hear(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        heard.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


async def test_without_memory_prompts_are_as_ever_and_nothing_more_is_read(
    talk: Talk, store: Store, config: Config, settings: Config, engine: LocalEngine
) -> None:
    await liked(store, TEA)
    assert not config.memory.enabled
    with overheard() as plain:
        exchange = await exchange_of(store, await ask(talk(config), "Do you like tea?"))
    expected = (Turn("system", "Be kind."), Turn("user", "Do you like tea?"))
    assert exchange.prompt == expected
    assert list(exchange.prompt_ids) == engine.template.encode(engine.template.render(expected))
    assert exchange.authors == ("ada",)
    assert exchange.examples == ()
    assert not any("current_votes" in statement for statement in plain)
    await store.reset(CHANNEL, NOON)
    with overheard() as remembered:
        await ask(talk(settings), "Do you like tea?")
    assert sum("current_votes" in statement for statement in remembered) == 1
    assert len(remembered) <= len(plain) + 4
