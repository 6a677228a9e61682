"""People decide about their words: asked once, told what is kept, forgotten when they say so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from datetime import timedelta
from typing import cast

import pytest

from bot.commands import Asker, Commands
from bot.config import Config
from bot.conversation import Conversation
from bot.engine.local import LocalEngine
from bot.learning_port import Learning
from bot.people import CONSENT_QUESTION, People
from bot.store import Store
from bot.types import ChannelKey, Message
from tests.bot.conftest import NOON, Talk, ask, message
from tests.bot.test_commands import Pupil, done, text_of

GUILD = ChannelKey("discord", "7", "general")
QUIET = ChannelKey("discord", "7", "quiet")
ANN = Asker(GUILD, "ann", "command")
TERMS = {"platform_terms_acknowledged": True}

Make = Callable[..., People]


@pytest.fixture
def pupil() -> Pupil:
    return Pupil()


@pytest.fixture
def conversation(talk: Talk, engine: LocalEngine) -> Conversation:
    engine.forget_prefix(str(GUILD))
    return talk()


@pytest.fixture
def make(store: Store, config: Config, conversation: Conversation, pupil: Pupil) -> Make:
    """People under settings of `learning`."""

    def people(**learning: object) -> People:
        settings = Config.model_validate({"learning": {**TERMS, **learning}})
        return People(
            store, settings, lambda: NOON,
            conversation=conversation, learning=cast(Learning, pupil),
        )  # fmt: skip

    return people


@pytest.fixture
def commands(
    store: Store, engine: LocalEngine, conversation: Conversation, make: Make, pupil: Pupil
) -> Commands:
    return Commands(conversation, store, engine, cast(Learning, pupil), make())


async def test_a_person_is_asked_once_and_not_once_they_have_decided(
    make: Make, store: Store
) -> None:
    people = make()
    assert await people.should_ask("discord", "ann")
    assert not await people.should_ask("discord", "ann")
    await people.set("discord", "bob", False)
    assert not await people.should_ask("discord", "bob")
    assert "/mydata consent" in CONSENT_QUESTION


@pytest.mark.parametrize(
    "settings",
    [{"consent": "opt-in"}, {"consent": "granted"}, {"platform_terms_acknowledged": False},
     {"enabled": False}],
)  # fmt: skip
async def test_nobody_is_asked_where_the_answer_could_not_matter(
    make: Make, settings: dict[str, object]
) -> None:
    assert not await make(**settings).should_ask("discord", "ann")
    assert not await make().should_ask("console", "ann")
    assert await make().should_ask("discord", "ann")


async def test_an_exchange_may_be_learned_from_once_all_in_it_agree(
    make: Make, conversation: Conversation, store: Store
) -> None:
    people = make()
    await ask(conversation, "Hello", GUILD, "ann")
    await ask(conversation, "Hi", GUILD, "bob")
    first, second = await store.exchanges([1, 2])
    assert await people.learnable([first, second]) == []
    await people.set("discord", "ann", True)
    assert await people.may_learn_from(first)
    # Ann's words stand before bob's question.
    assert not await people.may_learn_from(second)
    await people.set("discord", "bob", True)
    assert await people.learnable([first, second]) == [first, second]


@pytest.mark.parametrize(
    ("settings", "decided", "told"),
    [
        ({}, None, "Nothing is learned from your words, and they are kept 30 days at most"),
        ({"retention_days": 0}, None, "Nothing is learned from your words; /mydata consent yes"),
        ({}, True, "You have agreed: my next versions may learn"),
        ({"consent": "opt-out"}, None, "You have not said no: my next versions may learn"),
        ({"consent": "granted"}, False, "Nothing is learned from your words"),
        ({"platform_terms_acknowledged": False}, True, "the operator has not allowed it"),
    ],
)
async def test_mydata_says_how_things_stand(
    make: Make, settings: dict[str, object], decided: bool | None, told: str
) -> None:
    people = make(**settings)
    if decided is not None:
        await people.set("discord", "ann", decided)
    assert told in (await people.told("discord", "ann", "")).text


async def test_in_the_terminal_an_answer_changes_nothing_and_it_says_so(make: Make) -> None:
    assert "the operator's own place" in (await make().told("console", "ada", "consent no")).text


async def test_mydata_counts_and_gives_everything_as_a_file(
    commands: Commands, conversation: Conversation
) -> None:
    await ask(conversation, "Hello xyzzy", GUILD, "ann")
    await done(commands, "/up", ANN)
    told = text_of(await done(commands, "/mydata", ANN))
    assert "1 message of yours, 1 reply with words of yours before it and 1 vote" in told
    answer = await done(commands, "/mydata get", ANN)
    assert answer.file is not None
    name, content = answer.file
    assert (name, json.loads(content)["messages"][0]["text"]) == ("mydata.json", "Hello xyzzy")
    empty = await done(commands, "/mydata get", Asker(GUILD, "bob", "command"))
    assert empty.file is not None
    assert "xyzzy" not in empty.file[1]


async def test_a_yes_and_a_no_are_taken_and_answered(commands: Commands, store: Store) -> None:
    assert "You have agreed" in text_of(await done(commands, "/mydata consent yes", ANN))
    assert await store.consent_of("discord", "ann") == "granted"
    told = text_of(await done(commands, "/mydata consent NO", ANN))
    assert "/mydata forget also removes them" in told
    assert await store.consent_of("discord", "ann") == "refused"


@pytest.mark.parametrize("line", ["/mydata consent", "/mydata forget no", "/mydata all"])
async def test_what_mydata_does_not_know_is_answered_with_what_it_does(
    commands: Commands, line: str
) -> None:
    assert "say /mydata what, /mydata get" in text_of(await done(commands, line, ANN))


async def test_forgetting_asks_first_and_then_says_what_went(
    commands: Commands, conversation: Conversation, store: Store, pupil: Pupil
) -> None:
    await ask(conversation, "Hello xyzzy", GUILD, "ann")
    await ask(conversation, "Who was that?", GUILD, "bob")
    would = text_of(await done(commands, "/mydata forget", ANN))
    assert "1 message of yours, 2 replies with words" in would
    assert "/mydata forget yes" in would
    assert await store.count_exchanges() == 2
    receipt = text_of(await done(commands, "/mydata forget yes", ANN))
    for part in (
        "Deleted: 1 message of yours, 2 replies with words of yours before it and 0 votes.",
        "No version was trained on that.", "Replies that earlier versions gave to others stay",
        "Nothing is learned from your words",
    ):  # fmt: skip
        assert part in receipt
    assert pupil.asked == [("forget", 1, 2)]
    assert await store.count_exchanges() == 0
    assert await store.unfinished() is None


async def test_forgotten_words_are_not_shown_to_the_model_again(
    commands: Commands, conversation: Conversation, store: Store
) -> None:
    await ask(conversation, "Hello xyzzy", GUILD, "ann")
    await ask(conversation, "Who was that?", GUILD, "bob")
    await done(commands, "/mydata forget yes", ANN)
    reply = await ask(conversation, "And now?", GUILD, "bob")
    assert reply.timings.reused_tokens == 0
    exchange = await store.exchange(reply.exchange_id or 0)
    assert exchange is not None
    assert [turn.content for turn in exchange.prompt] == ["Be kind.", "Who was that?\nAnd now?"]
    assert exchange.authors == ("bob",)


async def test_a_reply_that_is_being_written_is_deleted_as_well(
    make: Make, conversation: Conversation, store: Store
) -> None:
    async with aclosing(conversation.respond(message("Hello xyzzy", GUILD, "ann"))) as events:
        await anext(events)
        forgetting = asyncio.create_task(make().forget("discord", "ann"))
        rest = [event async for event in events]
    assert rest
    assert "1 message of yours, 1 reply" in await forgetting
    assert await store.count_exchanges() == 0
    assert await store.history(GUILD) == []


async def test_what_was_begun_before_a_stop_is_finished_at_the_start(
    make: Make, conversation: Conversation, store: Store, pupil: Pupil
) -> None:
    people = make()
    await people.finish()
    assert pupil.asked == []
    await ask(conversation, "Hello", GUILD, "ann")
    await store.forget("discord", "ann", NOON)
    await people.finish()
    assert pupil.asked == [("forget", 1)]
    assert await store.unfinished() is None


async def test_retention_ends_for_who_has_not_agreed_and_never_for_the_terminal(
    make: Make, conversation: Conversation, store: Store
) -> None:
    old = NOON - timedelta(days=31)
    for channel in (QUIET, ChannelKey("console", "local", "main")):
        await store.add_message(Message(
            channel, "ann", "old", f"old-{channel.platform}", old
        ))  # fmt: skip
    await ask(conversation, "Hello", QUIET, "bob")
    await make(retention_days=0).purge()
    assert (await store.traces_of("discord", "ann")).messages == 1
    await make().purge()
    assert (await store.traces_of("discord", "ann")).messages == 0
    assert (await store.traces_of("discord", "bob")).messages == 1
    assert (await store.traces_of("console", "ann")).messages == 1
    reply = await ask(conversation, "And?", QUIET, "bob")
    exchange = await store.exchange(reply.exchange_id or 0)
    assert exchange is not None
    assert "old" not in "".join(turn.content for turn in exchange.prompt)


async def test_retention_goes_on_every_day_until_the_bot_stops(
    make: Make, store: Store
) -> None:
    old = Message(QUIET, "ann", "old", "old", NOON - timedelta(days=31))
    await store.add_message(old)
    keeping = asyncio.create_task(make().keep_retention())
    while (await store.traces_of("discord", "ann")).messages:
        assert not keeping.done()
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    await make(retention_days=0).keep_retention()
