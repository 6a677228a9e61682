"""The real store and the real engine on a tiny random model, wired as the app wires them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.config import Config, EngineConfig, ModelConfig, SamplingConfig
from bot.conversation import Conversation, Reply, ReplyEvent
from bot.engine.local import LocalEngine
from bot.engine.model import load_model
from bot.store import Store
from bot.types import BASE, ChannelKey, Message
from tests.engine.tiny import make_model

CHANNEL = ChannelKey("console", "local", "main")
OTHER = ChannelKey("console", "local", "other")
NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
_numbers = itertools.count()


def message(text: str, channel: ChannelKey = CHANNEL, author: str = "ada") -> Message:
    """Something said, under an id of its own."""
    return Message(channel, author, text, f"m{next(_numbers)}", NOON)


def config_of(folder: Path | str, **conversation: object) -> Config:
    """A configuration for the tiny model: few rows, short greedy replies."""
    return Config.model_validate({
        "model": ModelConfig(name=str(folder), device="cpu", threads=2),
        "engine": EngineConfig(rows=2, queue=2, adapter_slots=2, adapter_rank=4),
        "sampling": SamplingConfig(temperature=0.0, max_tokens=8),
        "conversation": {"persona": "Be kind.", **conversation},
    })  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def config(folder: Path) -> Config:
    return config_of(folder)


@pytest.fixture(scope="session")
def running(folder: Path) -> Iterator[LocalEngine]:
    """One engine for all tests: it starts in seconds, and keeps nothing but prefixes."""
    config = config_of(folder)
    engine = LocalEngine(load_model(config.model, config.engine), config.engine, 0.25)
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def engine(running: LocalEngine) -> LocalEngine:
    for channel in (CHANNEL, OTHER):
        running.forget_prefix(str(channel))
    return running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "data") as store:
        yield store


Talk = Callable[..., Conversation]


@pytest.fixture
def talk(engine: LocalEngine, store: Store, config: Config) -> Talk:
    """Makes conversations over the same engine and store, as after a restart."""

    def make(settings: Config | None = None, **options: object) -> Conversation:
        return Conversation(
            engine, store, settings or config, lambda channel: BASE,
            clock=lambda: NOON, **options,  # type: ignore[arg-type]  # tests pass any option
        )  # fmt: skip

    return make


async def events_of(
    conversation: Conversation, said: Message, seed: int | None = None
) -> list[ReplyEvent]:
    """Everything that comes back for a message."""
    async with aclosing(conversation.respond(said, seed=seed)) as events:
        return [event async for event in events]


async def ask(
    conversation: Conversation, text: str, channel: ChannelKey = CHANNEL, author: str = "ada"
) -> Reply:
    """The reply to a text."""
    last = (await events_of(conversation, message(text, channel, author)))[-1]
    assert isinstance(last, Reply)
    return last
