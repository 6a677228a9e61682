"""Curves of learning runs that go to other programs as well."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from bot.config import LearningConfig, TrackingConfig
from bot.engine.local import LocalEngine
from bot.errors import ConfigError
from bot.store import Store
from learning.announcements import Announcements
from learning.tracking.follower import Follower
from learning.tracking.tracker import trackers_of
from tests.engine.tiny import load, make_model
from tests.learning.rated import SLOTS, START, config, saying, world


@dataclass
class Noted:
    """A tracker that takes note of what it is told."""

    told: list[object] = field(default_factory=list)
    fails: bool = False
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def run(self, name: str, begun: datetime, settings: Mapping[str, object]) -> None:
        self.told.append((name, settings))

    def point(self, step: int, values: Mapping[str, float]) -> None:
        if self.fails:
            raise OSError("the network is down")
        self.told.append((step, dict(values)))

    def close(self, metrics: Mapping[str, float]) -> None:
        self.told.append(dict(metrics))
        self.loop.call_soon_threadsafe(self.closed.set)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "data") as opened:
        yield opened


async def follow(store: Store, *trackers: Noted) -> tuple[Announcements, asyncio.Task[None]]:
    announcements = Announcements(store, lambda: START)
    follower = Follower(store, announcements, trackers)
    return announcements, asyncio.create_task(follower.run())


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_every_point_is_handed_on_once_in_the_order_of_the_steps(store: Store) -> None:
    noted = Noted()
    announcements, task = await follow(store, noted)
    run = await store.start_run("command", {"seed": 3})
    await store.update_run(run, adapter="v0001")
    await announcements.tell("queued", "", run=run)
    await store.add_curve_points(run, [(1, "loss", 3.0), (2, "loss", 2.0), (2, "speed", 9.0)])
    await announcements.tell("stage", "", run=run)
    await store.add_curve_points(run, [(2, "held_out", math.nan), (3, "loss", 1.0)])
    announcements.show("", run=run, adapter="v0001", progress=0.5)
    await store.update_run(run, metrics={"starts": 1, "auc": 0.7, "bleu": math.inf, "by": "sft"})
    await announcements.tell("finished", "", run=run)
    await noted.closed.wait()
    assert noted.told[0] == ("v0001", {"seed": 3})
    steps = [one for one in noted.told[1:-1] if isinstance(one, tuple)]
    assert [step for step, _ in steps] == sorted(step for step, _ in steps)
    points = [(step, name) for step, values in steps for name in values]
    assert sorted(points) == [
        (1, "loss"), (2, "held_out"), (2, "loss"), (2, "speed"), (3, "loss"),
    ]  # fmt: skip
    assert noted.told[-1] == {"auc": 0.7}
    await ended(task)


async def test_what_happened_before_the_end_is_handed_on_first(store: Store) -> None:
    noted = Noted()
    announcements, task = await follow(store, noted)
    await asyncio.sleep(0)
    run = await store.start_run("command", {})
    await store.add_curve_points(run, [(1, "loss", 3.0)])
    announcements.show("", run=run, adapter="", progress=0.5)
    await ended(task)
    assert noted.told[1:] == [(1, {"loss": 3.0}), {}]


async def test_an_event_that_is_being_handed_on_at_the_end_is_not_lost(store: Store) -> None:
    reached, go_on = threading.Event(), threading.Event()

    class Slow(Noted):
        def point(self, step: int, values: Mapping[str, float]) -> None:
            reached.set()
            go_on.wait()
            super().point(step, values)

    noted = Slow()
    announcements, task = await follow(store, noted)
    run = await store.start_run("command", {})
    await store.update_run(run, adapter="v0001", metrics={"auc": 0.7})
    await store.add_curve_points(run, [(1, "loss", 3.0)])
    await announcements.tell("finished", "", run=run)
    await asyncio.to_thread(reached.wait)
    for _ in range(2):  # somebody who is in a hurry tells it twice
        task.cancel()
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([task])
    assert noted.told[1:] == [(1, {"loss": 3.0}), {"auc": 0.7}, {}]


async def test_a_tracker_that_fails_is_left_alone_until_the_next_run(store: Store) -> None:
    broken, well = Noted(fails=True), Noted()
    announcements, task = await follow(store, broken, well)
    for number in range(2):
        run = await store.start_run("command", {})
        await store.update_run(run, adapter=f"v000{number}", metrics={"auc": 0.5})
        await store.add_curve_points(run, [(1, "loss", 3.0)])
        await announcements.tell("finished", "", run=run)
        await well.closed.wait()
        well.closed.clear()
    assert [one[0] for one in broken.told if isinstance(one, tuple)] == ["v0000", "v0001"]
    assert {} not in broken.told and {"auc": 0.5} not in broken.told
    assert well.told.count({"auc": 0.5}) == 2
    await ended(task)


@pytest.mark.parametrize(
    ("given", "package", "says"),
    [
        ({"tensorboard": "curves"}, "tensorboard", "learning.tracking.tensorboard needs"),
        ({"wandb": "bot"}, "wandb", "learning.tracking.wandb needs"),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(
    given: dict[str, str], package: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{says}.*pip install 'rapport-bot\[{package}\]'"):
        trackers_of(TrackingConfig(**given))


def test_nothing_is_imported_that_is_not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    assert trackers_of(LearningConfig().tracking) == ()


# TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {
        name: [(one.step, one.value) for one in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def test_a_run_that_was_interrupted_has_each_point_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (board,) = trackers_of(TrackingConfig(tensorboard=str(tmp_path)))
    for last in (2, 3):
        board.run("v0001", START, {})
        for step in range(1, last + 1):
            board.point(step, {"loss": 4.0 - step, "held_out": math.nan})
        board.close({"auc": 0.5} if last == 3 else {})
    found = scalars(tmp_path / "v0001")
    assert found["loss"] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert found["verdict/auc"] == [(3, 0.5)]


async def test_tensorboard_reads_what_a_learning_run_was(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    curves = tmp_path / "curves"
    engine = LocalEngine(load(make_model(tmp_path / "model"), SLOTS), SLOTS, 0.25)
    settings = config(tracking=TrackingConfig(tensorboard=str(curves)))
    async with world(engine, tmp_path / "data", settings, judge=saying("promote")) as here:
        await here.rate(16)
        assert (await here.learn()).kind == "finished"
        kept = await here.store.curve(1)
        (run,) = await here.store.runs()
    await engine.close()
    found = scalars(curves / "v0001")
    points = [(step, name, value) for name in found for step, value in found[name]
              if "/" not in name]
    assert {name for _, name, _ in points} >= {"loss", "tokens_per_second", "learning_rate"}
    assert [(step, name) for step, name, _ in sorted(points)] == [
        (step, name) for step, name, _ in kept
    ]
    assert [value for *_, value in sorted(points)] == pytest.approx(
        [value for *_, value in kept], rel=1e-5
    )
    verdicts = {name.removeprefix("verdict/") for name in found if "/" in name}
    assert verdicts == {name for name in run.metrics if name != "starts"}
