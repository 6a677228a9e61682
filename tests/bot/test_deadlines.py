"""People whose reply takes too long are told so, and what there is of it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from bot.again import Again
from bot.config import Config, EngineConfig, SamplingConfig
from bot.conversation import Conversation, Reply
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.errors import RapportError
from bot.excuses import CUT, EXPIRED
from bot.store import Store
from bot.types import BASE
from tests.bot.conftest import CHANNEL, message
from tests.engine.tiny import ENDLESS, Clock, load, prompt_ids


@pytest.fixture
def config(config: Config) -> Config:
    return config.model_copy(update={
        "engine": EngineConfig(rows=1, adapter_rank=4, deadline_seconds=30),
        "sampling": SamplingConfig(temperature=0.0, max_tokens=4000, min_tokens=4000),
    })  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(folder: Path, config: Config, clock: Clock) -> AsyncIterator[LocalEngine]:
    made = LocalEngine(load(folder, config.engine), config.engine, 0.25, clock)
    yield made
    await made.close()


@pytest.fixture
def conversation(engine: LocalEngine, store: Store, config: Config) -> Conversation:
    return Conversation(engine, store, config, lambda channel: BASE)


async def late(conversation: Conversation, clock: Clock) -> Reply:
    """The answer to a question whose time is up at the first word."""
    async with aclosing(conversation.respond(message("Tell me a story"))) as events:
        await anext(events)
        clock.now += 30.0
        return [event async for event in events][-1]  # type: ignore[return-value]  # always last


async def test_a_reply_that_takes_too_long_is_cut_kept_and_said_to_be_cut(
    conversation: Conversation, store: Store, clock: Clock
) -> None:
    reply = await late(conversation, clock)
    assert (reply.finish, reply.note) == ("timeout", CUT)
    exchange = await store.last_exchange(CHANNEL)
    assert exchange is not None
    assert (exchange.id, exchange.finish) == (reply.exchange_id, "timeout")
    assert exchange.reply == reply.text != ""
    assert exchange.timings == reply.timings


async def test_who_waits_too_long_is_asked_kindly_to_ask_again_and_the_question_stays(
    conversation: Conversation, engine: LocalEngine, store: Store, clock: Clock
) -> None:
    async with aclosing(engine.stream(Request(prompt_ids(8), sampling=ENDLESS))) as others:
        await anext(others)

        async def ask() -> list[object]:
            return [event async for event in conversation.respond(message("Are you there?"))]

        asked = asyncio.create_task(ask())
        async for _ in others:  # until the question waits behind them
            if engine.stats().queued:
                break
        clock.now += 30.0
        assert await asked == [
            Reply(EXPIRED, finish="expired", timings=asked.result()[-1].timings)  # type: ignore[attr-defined]  # the reply
        ]
    assert await store.last_exchange(CHANNEL) is None
    await late(conversation, clock)
    exchange = await store.last_exchange(CHANNEL)
    assert exchange is not None
    assert exchange.prompt[-1].content == "Are you there?\nTell me a story"


async def test_another_answer_that_waits_too_long_is_none(
    conversation: Conversation, engine: LocalEngine, store: Store, config: Config, clock: Clock
) -> None:
    first = await late(conversation, clock)
    assert first.exchange_id is not None
    again = Again(engine, store, config, conversation, lambda channel: BASE)
    async with aclosing(engine.stream(Request(prompt_ids(8), sampling=ENDLESS))) as others:
        await anext(others)
        asked = asyncio.create_task(anext(again.answer(CHANNEL, first.exchange_id)))
        async for _ in others:
            if engine.stats().queued:
                break
        clock.now += 30.0
        with pytest.raises(RapportError, match="ask me again"):
            await asked
