"""A run that lets what it has learned so far answer, and learns from the best of that."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.learning import lent
from bot.config import Config, GateConfig, SamplingConfig, TasteConfig
from bot.engine.base import Delta, Job, Request
from bot.engine.local import LocalEngine
from bot.types import BASE
from learning.freezing import prepare
from learning.rehearsal import Rehearsals
from learning.training.trainer import training_job
from learning.types import BaseReply, Example, Snapshot, TrainProgress
from tests.engine.tiny import load
from tests.learning.rated import SLOTS, World, config, exchange, saying, vote, world

REHEARSAL = "v0001/rehearsal"


def asking(rounds: int, fewest: int = 2) -> Config:
    """Settings with which a head learns from few votes, and the tiny model talks briefly."""
    made = config(gate=GateConfig(folds=0, replies=4, canaries=2, reported_prompts=0, anchors=24))
    taste = TasteConfig(draws=4, rounds=rounds, min_per_class=fewest)
    sft = made.learning.sft.model_copy(update={"gauge": 40})
    learning = made.learning.model_copy(
        update={"objective": "taste", "taste": taste, "sft": sft}
    )
    sampling = SamplingConfig(max_tokens=40)
    return made.model_copy(update={"sampling": sampling, "learning": learning})


@pytest.fixture
async def engine(model: Path) -> AsyncIterator[LocalEngine]:
    """A random model that has many ways to end a reply, so that most are short and whole."""
    loaded = load(model, SLOTS)
    ends = (*loaded.info.end_ids, *range(200, 260))
    made = LocalEngine(replace(loaded, info=replace(loaded.info, end_ids=ends)), SLOTS, 0.25)
    yield made
    await made.close()


class Overheard:
    """An engine, and what was said by whom."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self.said: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        ids: list[int] = []
        async for delta in self._engine.stream(request):
            ids += delta.ids
            yield delta
        self.said[request.adapter].add(tuple(ids))


class Trainings:
    """The real training, which notes what it was given, by the name of the folder."""

    def __init__(self) -> None:
        self.of: dict[str, Snapshot] = {}
        self.begun = asyncio.Event()

    def __call__(
        self, snapshot: Snapshot, given: Any, folder: Path, *rest: Any, **options: Any
    ) -> Job:
        self.of[folder.name] = snapshot
        job, loop = training_job(snapshot, given, folder, *rest, **options), (
            asyncio.get_running_loop()
        )

        def told(resident: Any) -> Any:
            for item in job(resident):
                loop.call_soon_threadsafe(self.begun.set)
                yield item

        return told


async def rate(here: World) -> None:
    """Some votes that a head can tell apart by a word."""
    for index in range(1, 19):
        liked = index % 2 > 0
        words = (40 if liked else 140, 50 + index, 0)
        given = exchange(index, base=here.engine.info.fingerprint, reply_ids=words)
        key = await here.store.add_exchange(given)
        await here.store.add_vote(vote(key, 1 if liked else -1, time=datetime.now(UTC)))


async def test_the_best_of_what_a_rehearsal_says_is_learned_from(
    engine: LocalEngine, tmp_path: Path
) -> None:
    heard, trained = Overheard(engine), Trainings()
    parts: dict[str, Any] = {"train": trained, "judge": saying("promote")}
    async with world(heard, tmp_path, asking(2), **parts) as here:  # type: ignore[arg-type]  # an engine in all but name
        await rate(here)
        assert (await here.learn()).kind == "finished"
        assert (here.registry.path("v0001") / "taste.safetensors").exists()
    first, last = (trained.of[name] for name in ("rehearsal", "v0001.staging"))
    assert {one.reply_ids for one in first.chosen} <= heard.said[BASE]
    assert last.chosen
    assert {one.reply_ids for one in last.chosen} <= heard.said[REHEARSAL]
    assert (last.examples, last.replay, last.gauge, last.anchors) == (
        first.examples, first.replay, first.gauge, first.anchors
    )
    assert REHEARSAL not in engine.loaded()
    assert list((tmp_path / "runs").iterdir()) == []


async def test_drift_is_gauged_on_other_prompts_than_are_replayed(
    engine: LocalEngine, tmp_path: Path
) -> None:
    trained = Trainings()
    parts: dict[str, Any] = {"train": trained, "judge": saying("reject")}
    async with world(engine, tmp_path, asking(1), **parts) as here:
        await rate(here)
        assert (await here.learn()).kind == "finished"
    (snapshot,) = trained.of.values()
    replayed, gauged = (
        {one.prompt_ids for one in some} for some in (snapshot.replay, snapshot.gauge)
    )
    assert replayed and gauged
    # However few prompts there are, so many replies that what they show is not luck.
    assert len(snapshot.gauge) > 3 * len(gauged)
    assert len(snapshot.anchors) > 3 * len({one.prompt_ids for one in snapshot.anchors})
    assert not replayed & gauged


async def test_one_round_rehearses_nothing(engine: LocalEngine, tmp_path: Path) -> None:
    trained = Trainings()
    parts: dict[str, Any] = {"train": trained, "judge": saying("reject")}
    async with world(engine, tmp_path, asking(1), **parts) as here:
        await rate(here)
        assert (await here.learn()).kind == "finished"
    assert set(trained.of) == {"v0001.staging"}


async def test_without_chosen_replies_there_is_nothing_to_rehearse(
    engine: LocalEngine, tmp_path: Path
) -> None:
    trained = Trainings()
    parts: dict[str, Any] = {"train": trained, "judge": saying("reject")}
    async with world(engine, tmp_path, asking(2, fewest=50), **parts) as here:
        await rate(here)
        assert (await here.learn()).kind == "finished"
    assert set(trained.of) == {"v0001.staging"}
    assert not trained.of["v0001.staging"].chosen


async def test_what_must_not_be_said_is_not_learned_from_a_rehearsal(
    engine: LocalEngine, tmp_path: Path
) -> None:
    settings = asking(2)
    examples = [
        Example(
            number, f"talk {number}", "train", (20 + number, 30),
            (40 if number % 2 else 140, 50 + number, 0), number % 2 > 0, 1.0, ("ann",),
        )
        for number in range(18)
    ]  # fmt: skip
    first = await prepare(engine, settings, engine.info.fingerprint, examples, lambda _: None)
    assert first.snapshot.chosen

    async def heard(at: TrainProgress) -> None: ...

    async def chosen(rule: str | None) -> tuple[BaseReply, ...]:
        lend = partial(lent, engine)
        rehearse = Rehearsals(engine, lend, training_job, settings, lambda _: rule)
        then = await rehearse(first, REHEARSAL, tmp_path / "rehearsal", heard)
        return then.snapshot.chosen

    assert await chosen("a rule") == first.snapshot.chosen
    assert await chosen(None) != first.snapshot.chosen


@pytest.mark.parametrize("cut", ["in training", "by a forgotten word"])
async def test_a_rehearsal_that_is_interrupted_leaves_no_trace(
    cut: str, engine: LocalEngine, tmp_path: Path
) -> None:
    trained = Trainings()
    parts: dict[str, Any] = {"train": trained, "judge": saying("reject")}
    async with world(engine, tmp_path / "cut", asking(2), **parts) as here:
        await rate(here)
        await here.loop.retrain()
        await trained.begun.wait()
        if cut == "by a forgotten word":
            await here.loop.forget([1])
            assert (await here.until("cancelled")).kind == "cancelled"
            assert list((tmp_path / "cut" / "runs").iterdir()) == []
            assert REHEARSAL not in engine.loaded()
            return
        # Otherwise the program ends here, and is started again.
    async with world(engine, tmp_path / "cut", asking(2), **parts) as here:
        await here.until("finished")
    whole = Trainings()
    async with world(engine, tmp_path / "whole", asking(2), **parts | {"train": whole}) as here:
        await rate(here)
        assert (await here.learn()).kind == "finished"
    assert trained.of["v0001.staging"].chosen == whole.of["v0001.staging"].chosen
