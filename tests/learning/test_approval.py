"""With learning.approval = "admin" nothing serves before an operator has said so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.app import prune_adapters
from bot.engine.base import Job, Resident
from bot.errors import LearningError
from bot.types import BASE
from learning.awaited import train_once
from learning.simulation.plan import config_for
from learning.types import TrainResult, Verdict
from tests.engine.tiny import make_adapter
from tests.learning.rated import HERE, THERE, Opener, World, config, saying

ADMIN = config(approval="admin")
SAMPLES = (("Hello", "Hm.", "Hello!"),)


@pytest.fixture(scope="module")
def checkpoint(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(model, tmp_path_factory.mktemp("adapter"), seed=1)


Trainer = Callable[..., Job]


@pytest.fixture
def ready(checkpoint: Path) -> Trainer:
    """A training that comes to an adapter made before, because training takes long."""

    def train(
        snapshot: Any, settings: Any, folder: Path, seed: int, end_ids: Any, **options: Any
    ) -> Job:
        def job(resident: Resident) -> Iterator[TrainResult]:
            shutil.copytree(checkpoint, folder, dirs_exist_ok=True)
            yield TrainResult(1, 1, 1.0, None, 1, 1.0)

        return job

    return train


async def statuses(here: World) -> dict[str, str]:
    return {ref.name: ref.status for ref in await here.loop.adapters()}


async def test_a_version_that_passed_waits_through_a_restart_until_it_is_approved(
    opened: Opener,
) -> None:
    async with opened(settings=ADMIN) as here:
        await here.rate(16)
        await here.loop.retrain()
        await here.until("verdict")
        assert (await here.loop.report("v0001")).state == "waiting"
        assert (await here.until("waiting")).adapter == "v0001"
        told = await here.until("finished")
        assert told.text == "run 1 finished: v0001 waits for approval: /learn approve v1"
        assert (here.loop.current(HERE), here.engine.loaded()) == (BASE, ())
    async with opened(settings=ADMIN) as here:
        assert (here.loop.current(HERE), here.engine.loaded()) == (BASE, ())
        await here.loop.try_version(HERE, "v0001")
        assert (here.loop.current(HERE), here.loop.current(THERE)) == ("v0001", BASE)
        assert await here.loop.approve("v0001") == "Approved: v0001 serves now."
        assert (await here.until("approved")).adapter == "v0001"
        assert (await here.until("swapped")).text == "v0001 serves now"
        assert here.loop.current(THERE) == await here.store.champion() == "v0001"
        assert (await here.loop.report()).state == "serving"
        with pytest.raises(LearningError, match="v0001 is champion: only"):
            await here.loop.approve("v0001")


async def test_a_version_that_waits_is_kept_until_a_newer_one_waits(
    opened: Opener, ready: Trainer
) -> None:
    settings = config(approval="admin", keep_versions=1)
    judge = saying("promote", "reject", "promote")
    async with opened(settings=settings, train=ready, judge=judge) as here:
        await here.rate(16)
        await here.learn()
        await here.learn()
        assert here.registry.names() == ["v0001", "v0002"]
        await here.loop.retrain()
        told = (await here.until("waiting")).text
        assert told.endswith("/learn approve v3; v0001 no longer waits")
        await here.until("finished")
        assert await statuses(here) == {
            "v0001": "retired", "v0002": "rejected", "v0003": "waiting",
        }  # fmt: skip
        assert here.registry.names() == ["v0003"]
        for name, why in (("v0001", "is retired"), ("v0009", "no version v0009"),
                          (BASE, "no version base")):  # fmt: skip
            with pytest.raises(LearningError, match=why):
                await here.loop.approve(name)


async def test_pruning_by_hand_leaves_the_version_that_waits(
    opened: Opener, ready: Trainer
) -> None:
    judge = saying("promote", "reject")
    async with opened(settings=ADMIN, train=ready, judge=judge) as here:
        await here.rate(16)
        for _ in range(3):
            await here.learn()
    assert await prune_adapters(ADMIN, opened.data, 1) == ["v0002"]


async def test_a_version_turned_away_is_tried_no_longer_and_never_serves(
    opened: Opener, ready: Trainer
) -> None:
    async with opened(settings=ADMIN, train=ready) as here:
        await here.rate(16)
        outcome = await train_once(here.loop, here.store)
        assert outcome.reason.endswith(" v0001 waits for approval: /learn approve v1")
        await here.loop.try_version(HERE, "v0001")
        assert await here.loop.veto("v0001") == (
            "v0001 is turned away; the base model goes on serving."
        )
        assert (await here.until("vetoed")).adapter == "v0001"
        assert (here.loop.current(HERE), here.engine.loaded()) == (BASE, ())
        assert await here.store.channel_adapters() == {}
        assert (await here.loop.report()).state == "turned away"
        for refused in (here.loop.approve, here.loop.veto):
            with pytest.raises(LearningError, match="v0001 is rejected"):
                await refused("v0001")


def test_simulated_people_approve_of_nothing() -> None:
    assert config_for(ADMIN).learning.approval == "auto"


async def test_a_verdict_against_another_champion_is_no_ground_to_serve(
    opened: Opener, ready: Trainer
) -> None:
    async with opened(train=ready) as here:
        await here.rate(16)
        await here.learn()
    async with opened(settings=ADMIN, train=ready) as here:
        await here.learn()
        await here.loop.rollback("base")
        with pytest.raises(
            LearningError, match="judged against v0001, but the base model serves now.*retrain"
        ):
            await here.loop.approve("v0002")
        assert here.loop.current(HERE) == BASE
        assert (await statuses(here))["v0002"] == "waiting"
        await here.loop.rollback("v0001")
        await here.loop.approve("v0002")
        assert here.loop.current(HERE) == "v0002"


async def test_a_run_resumed_after_its_verdict_is_judged_again_if_the_champion_changed(
    opened: Opener, ready: Trainer
) -> None:
    async with opened(train=ready) as here:
        await here.rate(16)
        await here.learn()
    async with opened(settings=ADMIN, train=ready) as here:
        await here.loop.retrain()
        while (await here.until("stage")).text != "run 2: v0002 is judged":
            pass
    async with opened(settings=ADMIN, serve=False) as here:
        await here.loop.rollback("base")
    async with opened(settings=ADMIN) as here:
        assert (await here.until("waiting")).adapter == "v0002"
        assert (await here.until("finished")).run == 2
        verdicts = [(one["adapter"], one["champion"]) for one in await here.store.verdicts()]
        assert verdicts == [("v0001", BASE), ("v0002", "v0001"), ("v0002", BASE)]
        await here.loop.approve("v0002")
        assert here.loop.current(HERE) == "v0002"


async def test_forgetting_words_wipes_the_replies_of_versions_that_learned_from_them(
    opened: Opener, ready: Trainer
) -> None:
    scripted = saying("promote")

    async def judge(*args: Any) -> Verdict:
        return replace(await scripted(*args), samples=SAMPLES)

    async with opened(settings=ADMIN, train=ready, judge=judge) as here:
        await here.rate(16)
        await here.learn()
        await here.rate(8, first=17)
        await here.learn()
        before = [await here.loop.report(name) for name in ("v0001", "v0002")]
        assert [report.samples for report in before] == [SAMPLES, SAMPLES]
        assert await here.loop.forget([]) == "No version was trained on that."
        await here.loop.forget([17])
        after = [await here.loop.report(name) for name in ("v0001", "v0002")]
        assert [report.samples for report in after] == [SAMPLES, ()]
        assert after[1].checks == before[1].checks
        assert after[1].sentence == before[1].sentence
        with pytest.raises(LearningError, match="v0002 is retired"):
            await here.loop.approve("v0002")
        # Once its files are gone nobody can tell what a version learned from.
        here.registry.remove("v0001")
        await here.loop.forget([10**6])
        assert (await here.loop.report("v0001")).samples == ()
