"""Rated exchanges and the small world of a learning loop, for the tests of the learning room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bot.config import Config, EngineConfig, GateConfig, LearningConfig, SftConfig
from bot.engine.local import LocalEngine
from bot.learning_port import LearningEvent
from bot.store import Store
from bot.types import BASE, ChannelKey, Exchange, Sampling, Timings, Turn, Vote, VoteValue
from learning.loop import LearningLoop
from learning.registry import Registry
from learning.types import Check, Outcome, Verdict

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = ChannelKey("console", "local", "here")
THERE = ChannelKey("local", "local", "there")
SLOTS = EngineConfig(adapter_rank=4, rows=4, adapter_slots=2)


def config(**learning: Any) -> Config:
    """Settings with which a small model learns in a moment, from liked replies alone."""
    learning = {
        "objective": "sft", "gate": GateConfig(folds=0, replies=4, anchors=4)
    } | learning
    sft = SftConfig(gauge=4, epochs=1, batch=4, micro_batch=4, rank=4, alpha=8, learning_rate=1e-2)
    return Config(engine=SLOTS, learning=LearningConfig(sft=sft, **learning))


def exchange(number: int = 1, **changes: Any) -> Exchange:
    """An exchange that may be learned from; `number` makes it unlike the others."""
    plain = Exchange(
        channel=HERE, asker="ann", authors=("ann",),
        prompt=(Turn("system", "Be kind."), Turn("user", f"question {number}")),
        prompt_ids=(20 + number % 200, 30, 31), reply_ids=(40 + number % 200, 50, 0),
        reply=f"answer {number}", finish="stop", adapter=BASE, base="tiny",
        sampling=Sampling(), timings=Timings(),
        time=START + timedelta(minutes=number), id=number,
    )  # fmt: skip
    return replace(plain, **changes)


def vote(
    exchange_id: int, value: VoteValue = 1, rater: str = "ann", time: datetime = START
) -> Vote:
    return Vote(exchange_id, rater, value, "terminal", time)


def saying(*outcomes: Outcome) -> Callable[..., Any]:
    """A gate that comes to these verdicts, one after another, the last for ever."""
    left = list(outcomes)

    async def judge(
        engine: object, snapshot: object, candidate: str, champion: str, *rest: object
    ) -> Verdict:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        check = Check("scripted", outcome == "promote", 1.0, 0.0, "as written")
        return Verdict(outcome, candidate, champion, f"{outcome}, as written", (check,))

    return judge


@dataclass
class World:
    """A loop over a real store, engine and disk."""

    loop: LearningLoop
    store: Store
    registry: Registry
    engine: LocalEngine
    data: Path
    events: asyncio.Queue[LearningEvent] = field(default_factory=asyncio.Queue)

    async def until(self, *kinds: str) -> LearningEvent:
        """The next event of one of these kinds."""
        while (event := await self.events.get()).kind not in kinds:
            pass
        return event

    async def rate(self, number: int, first: int = 1) -> None:
        """Store and rate exchanges, three of four liked."""
        for index in range(first, first + number):
            given = exchange(index, base=self.engine.info.fingerprint)
            key = await self.store.add_exchange(given)
            await self.store.add_vote(vote(key, 1 if index % 4 else -1, time=datetime.now(UTC)))

    async def learn(self) -> LearningEvent:
        """One run, to its end."""
        await self.loop.retrain()
        return await self.until("finished", "failed", "cancelled")


@asynccontextmanager
async def world(
    engine: LocalEngine, data: Path, config: Config, *, serve: bool = True, **parts: Any
) -> AsyncIterator[World]:
    """Open everything, recover, and run the loop until the end of the context."""
    async with await Store.open(data) as store:
        registry = Registry(data / "adapters")
        loop = LearningLoop(engine, store, registry, config, data, **parts)
        made = World(loop, store, registry, engine, data)
        loop.listen(made.events.put_nowait)
        await loop.recover()
        task = asyncio.create_task(loop.run()) if serve else None
        try:
            yield made
        finally:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])


class Opener:
    """Opens the same data folder again and again, as restarts do."""

    def __init__(self, engine: LocalEngine, data: Path, settings: Config | None = None) -> None:
        self.engine, self.data, self.settings = engine, data, settings or config()

    def __call__(
        self, *outcomes: Outcome, settings: Config | None = None, **parts: Any
    ) -> AbstractAsyncContextManager[World]:
        parts.setdefault("judge", saying(*(outcomes or ("promote",))))
        return world(self.engine, self.data, settings or self.settings, **parts)

    async def restart(self) -> None:
        """A restart begins with nothing loaded."""
        for name in self.engine.loaded():
            if name != BASE:
                await self.engine.unload(name)
