"""Siblings in a real run: trained, asked, thrown away, and taken up again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bot.config import GateConfig
from bot.engine.local import LocalEngine
from bot.types import BASE
from learning.gate.judge import judge
from tests.learning.rated import config, world


def folded(folds: int) -> Any:
    return config(gate=GateConfig(folds=folds, replies=4, canaries=2, reported_prompts=0))


async def judged(engine: LocalEngine, data: Path, folds: int) -> dict[str, float]:
    """The figures of a verdict on 24 votes."""
    async with world(engine, data, folded(folds)) as here:
        await here.rate(24)
        assert (await here.learn()).kind == "finished"
        (run,) = await here.store.runs()
        assert set(engine.loaded()) <= {BASE}
        assert list((data / "runs").iterdir()) == []
        return dict(run.metrics)


async def test_siblings_let_nearly_every_vote_judge_and_leave_nothing_behind(
    engine: LocalEngine, tmp_path: Path
) -> None:
    alone = await judged(engine, tmp_path / "alone", 0)
    together = await judged(engine, tmp_path / "together", 3)
    assert alone["judged_items"] == alone["holdout_items"]
    assert together["holdout_items"] == alone["holdout_items"]
    assert together["judged_items"] > 2 * alone["judged_items"]
    assert together["judged_items"] <= 24


async def test_siblings_that_were_trained_before_an_interruption_are_not_trained_again(
    engine: LocalEngine, tmp_path: Path
) -> None:
    reached = asyncio.Event()

    async def never(*args: object) -> Any:
        reached.set()
        await asyncio.Event().wait()

    async with world(engine, tmp_path, folded(3), judge=never) as here:
        await here.rate(24)
        await here.loop.retrain()
        files = [
            tmp_path / "runs" / "v0001" / f"sibling-{number}" / "adapter_config.json"
            for number in (1, 2, 3)
        ]
        await reached.wait()
        before = [file.stat().st_mtime_ns for file in files]
    after: list[int] = []

    async def look(*args: Any) -> Any:
        after.extend(file.stat().st_mtime_ns for file in files)
        return await judge(*args)

    for name in engine.loaded():
        if name != BASE:
            await engine.unload(name)
    async with world(engine, tmp_path, folded(3), judge=look) as here:
        await here.until("finished")
    assert after == before
