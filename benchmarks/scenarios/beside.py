"""How long people wait while a run learns beside them.

Four people talk in channels of their own: each asks, hears a reply to its end and thinks for a
moment. Phases with nothing in the background and with a training run that is at work take turns.
The run is the real one, with its default settings, on rated examples of the built-in corpus and
with replies replayed; it has more epochs than the phase is long, so it is never at its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import milliseconds
from benchmarks.scenarios.channels import Channel, Heard, hear
from benchmarks.scenarios.models import endless
from benchmarks.training import examples_of
from bot.config import EngineConfig, LearningConfig, SftConfig
from bot.engine.base import Job
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel
from learning.training.trainer import training_job
from learning.types import BaseReply, Snapshot

CHANNELS, REPLY, LONGEST = 4, 32, 512
"""How many talk, and tokens of a reply and of a prompt."""
THOUGHT = 0.5
"""Seconds between a reply and the next question, at most."""
EXAMPLES, REPLAYED, ENDLESS = 320, 64, 10_000
GOAL = 2.0
"""So many times as long as beside nothing may be waited for the first token and between two."""
TURNS = 2
"""How often each phase has its turn."""


@dataclass(frozen=True)
class Phase:
    """What people heard, and what else was done meanwhile."""

    replies: int
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p95_ms: float
    itl_p50_ms: float
    itl_p95_ms: float
    slices: int
    """Of training."""
    slice_ms: float
    """Of one, on average."""
    slice_share: float
    """Of the time of the phase."""

    def __str__(self) -> str:
        return (
            f"{self.replies} replies, {self.tokens_per_s:.1f} tokens/s  "
            f"TTFT {self.ttft_p50_ms:.0f}/{self.ttft_p95_ms:.0f} ms  "
            f"ITL {self.itl_p50_ms:.1f}/{self.itl_p95_ms:.1f} ms  "
            f"{self.slices} slices of {self.slice_ms:.0f} ms, {self.slice_share:.0%} of the time"
        )


@dataclass(frozen=True)
class Result:
    """Both phases, and how many times as long one waits beside training."""

    idle: Phase
    training: Phase
    ttft_p95_ratio: float
    itl_p95_ratio: float
    goal: float = GOAL

    def __str__(self) -> str:
        return (
            f"nothing beside: {self.idle}\nwhile training: {self.training}\n"
            f"p95 beside training: TTFT x {self.ttft_p95_ratio}, ITL x {self.itl_p95_ratio} "
            f"(goal: {self.goal})"
        )


async def measure(loaded: LoadedModel, seconds: float) -> Result:
    """Both phases in turn, for so many seconds in all."""
    config = EngineConfig(rows=CHANNELS)
    engine = LocalEngine(endless(loaded), config, share=LearningConfig().share)
    vocabulary = int(loaded.model.config.vocab_size)
    idle, training = Talk(engine, vocabulary), Talk(engine, vocabulary)
    snapshot = snapshot_of(loaded)
    try:
        # What is loaded and allocated at the first use belongs to no phase.
        await Talk(engine, vocabulary).go_on(min(1.0, seconds))
        for turn in range(TURNS):
            await idle.go_on(seconds / 2 / TURNS)
            async with learning(engine, loaded, snapshot, turn):
                await training.go_on(seconds / 2 / TURNS)
    finally:
        await engine.close()
    alone, beside = idle.phase(), training.phase()
    return Result(
        alone, beside, _ratio(beside.ttft_p95_ms, alone.ttft_p95_ms),
        _ratio(beside.itl_p95_ms, alone.itl_p95_ms),
    )  # fmt: skip


@asynccontextmanager
async def learning(
    engine: LocalEngine, loaded: LoadedModel, snapshot: Snapshot, seed: int
) -> AsyncIterator[None]:
    """A training run that is at work for as long as the context lasts."""
    begun = asyncio.Event()
    settings = SftConfig(epochs=ENDLESS)

    async def learn(job: Job) -> None:
        async with aclosing(engine.run(job)) as run:
            async for _ in run:
                begun.set()

    with TemporaryDirectory() as folder:
        job = training_job(
            snapshot, settings, Path(folder) / "run", seed, loaded.info.end_ids, digest="bench"
        )
        async with asyncio.TaskGroup() as group:
            run = group.create_task(learn(job))
            await begun.wait()
            yield
            run.cancel()


def snapshot_of(loaded: LoadedModel) -> Snapshot:
    """Rated replies of the built-in corpus, and some of them as if the base had said them."""
    examples = examples_of(loaded, EXAMPLES + REPLAYED)
    replay = (BaseReply(one.prompt_ids, one.reply_ids) for one in examples[EXAMPLES:])
    return Snapshot(loaded.info.fingerprint, examples[:EXAMPLES], tuple(replay), ())


class Talk:
    """People who talk in turns of a phase, and what they heard."""

    def __init__(self, engine: LocalEngine, vocabulary: int) -> None:
        self._engine = engine
        self._vocabulary = vocabulary
        self._heard: list[Heard] = []
        self._seconds = 0.0
        self._slices = 0
        self._slice_seconds = 0.0

    async def go_on(self, seconds: float) -> None:
        """Talk for so long, and until all replies have ended."""
        before, began = self._engine.stats(), time.perf_counter()
        await asyncio.gather(*(
            self._talk(f"channel {one}", began + seconds) for one in range(CHANNELS)
        ))
        self._seconds += time.perf_counter() - began
        after = self._engine.stats()
        self._slices += after.slices - before.slices
        self._slice_seconds += after.slice_seconds - before.slice_seconds

    async def _talk(self, name: str, until: float) -> None:
        channel = Channel(name, self._vocabulary, LONGEST)
        self._engine.forget_prefix(name)
        await asyncio.sleep(channel.rng.uniform(0, THOUGHT))
        while time.perf_counter() < until:
            heard = await hear(self._engine, channel.asks(tokens=REPLY))
            channel.answered(heard.ids)
            self._heard.append(heard)
            await asyncio.sleep(channel.rng.uniform(0, THOUGHT))

    def phase(self) -> Phase:
        """All turns as one."""
        first = [one.first for one in self._heard]
        gaps = [gap for one in self._heard for gap in one.gaps]
        return Phase(
            len(first), round(sum(len(one.ids) for one in self._heard) / self._seconds, 1),
            milliseconds(first, 0.5), milliseconds(first, 0.95),
            milliseconds(gaps, 0.5), milliseconds(gaps, 0.95), self._slices,
            round(1e3 * self._slice_seconds / max(1, self._slices), 1),
            round(self._slice_seconds / self._seconds, 3),
        )  # fmt: skip


def _ratio(beside: float, alone: float) -> float:
    return round(beside / alone, 2) if alone else 0.0
