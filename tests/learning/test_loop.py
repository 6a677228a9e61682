from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.config import ScheduleConfig
from bot.engine.base import Job, Resident
from bot.engine.local import LocalEngine
from bot.errors import AdapterError, LearningError, NothingToLearn
from bot.store import Store
from bot.types import BASE
from learning.serving import lineage
from learning.training.trainer import training_job
from learning.types import TrainProgress
from tests.engine.tiny import load, make_model, prompt_ids, reply
from tests.learning.rated import HERE, SLOTS, THERE, Opener, config, saying, vote, world


def stuck(
    snapshot: Any, settings: Any, folder: Path, seed: int, end_ids: Any, **options: Any
) -> Job:
    """A training that goes on until it is cancelled."""

    def job(resident: Resident) -> Iterator[TrainProgress]:
        step = 0
        while True:
            step += 1
            (folder / "half").write_text(str(step))
            yield TrainProgress(step, 10**9, 0, 1.0, None, 1.0, 1.0)

    return job


async def test_a_run_goes_from_votes_to_a_version_that_answers(opened: Opener) -> None:
    async with opened() as here:
        await here.rate(16)
        assert (await here.loop.retrain()).text == "Run 1 starts now."
        verdict = await here.until("verdict")
        assert (verdict.text, verdict.outcome) == ("v0001: promote, as written", "promote")
        assert (await here.until("swapped")).adapter == "v0001"
        await here.until("finished")
        assert here.loop.current(HERE) == await here.store.champion() == "v0001"
        assert await reply(here.engine, prompt_ids(5), here.loop.current(HERE))
        (run,) = await here.store.runs()
        assert (run.status, run.adapter, run.finished is not None) == ("finished", "v0001", True)
        assert run.metrics["loss"] > 0
        assert any(name == "loss" for _, name, _ in await here.store.curve(1))
        manifest = here.registry.manifest("v0001")
        assert (manifest.snapshot, manifest.base) == (run.snapshot, here.engine.info.fingerprint)
        assert list((here.data / "runs").iterdir()) == []
        status = await here.loop.status()
        assert (status.serving, status.votes_since, status.running) == ("v0001", 0, None)
        assert status.verdict == "promote, as written"


async def test_the_real_gate_calls_a_handful_of_votes_a_shadow(
    engine: LocalEngine, tmp_path: Path
) -> None:
    async with world(engine, tmp_path, config()) as here:
        await here.rate(16)
        assert (await here.learn()).kind == "finished"
        assert here.loop.current(HERE) == BASE
        (ref,) = await here.loop.adapters()
        assert ref.status == "shadow"
        assert "Too few votes to judge by" in ref.verdict
        await here.loop.try_version(HERE, "v0001")
        assert (here.loop.current(HERE), here.loop.current(THERE)) == ("v0001", BASE)


async def test_a_rejected_version_neither_serves_nor_stays_loaded_nor_is_tried(
    opened: Opener,
) -> None:
    async with opened("reject") as here:
        await here.rate(16)
        await here.learn()
        assert here.loop.current(HERE) == BASE
        assert "v0001" not in here.engine.loaded()
        with pytest.raises(LearningError, match="v0001 is rejected"):
            await here.loop.try_version(HERE, "v0001")
        with pytest.raises(LearningError, match="never was champion"):
            await here.loop.rollback("v0001")


async def test_too_few_votes_are_refused_with_the_numbers(opened: Opener) -> None:
    async with opened() as here:
        with pytest.raises(NothingToLearn, match="0 liked replies to train on, 4 needed"):
            await here.loop.retrain()
        assert await here.store.runs() == []


async def test_requests_during_a_run_become_one_that_follows_it(opened: Opener) -> None:
    async with opened(train=stuck) as here:
        await here.rate(16)
        await here.loop.retrain()
        await here.until("progress")
        assert (await here.loop.retrain()).text == "Run 2 follows run 1."
        assert "Run 2 waits already" in (await here.loop.retrain()).text
        assert (await here.loop.status()).queued
        assert await here.loop.cancel() == "Run 1 is being cancelled."
        assert (await here.until("cancelled")).run == 1
        assert (await here.until("progress")).run == 2
        await here.loop.cancel()
        await here.until("cancelled")
        assert here.registry.names() == []
        assert list(here.registry.root.iterdir()) == []
        with pytest.raises(LearningError, match="no run is on"):
            await here.loop.cancel()


async def test_a_failing_training_ends_the_run_and_not_the_loop(opened: Opener) -> None:
    tries = []

    def train(*args: Any, **options: Any) -> Job:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("no luck")
        return training_job(*args, **options)

    async with opened(train=train) as here:
        await here.rate(16)
        failed = await here.learn()
        assert (failed.kind, "no luck" in failed.text) == ("failed", True)
        assert (await here.learn()).kind == "finished"
        assert here.loop.current(HERE) == "v0002"


async def test_rolling_back_goes_along_the_line_of_champions(opened: Opener) -> None:
    async with opened() as here:
        await here.rate(16)
        for _ in range(3):
            await here.learn()
        assert here.loop.current(HERE) == "v0003"
        assert len(here.engine.loaded()) <= SLOTS.adapter_slots + 1
        assert await here.loop.rollback() == "Rolled back: v0002 serves now."
        assert await here.loop.rollback() == "Rolled back: v0001 serves now."
        assert await here.loop.rollback("v0003") == "Rolled back: v0003 serves now."
        assert await here.loop.rollback("base") == "Rolled back: the base model serves now."
        with pytest.raises(LearningError, match="nothing to roll back"):
            await here.loop.rollback()
        with pytest.raises(AdapterError, match="not a version name"):
            await here.loop.rollback("../../etc")


def test_a_version_that_was_rolled_back_is_not_gone_back_to() -> None:
    assert lineage(["v0001", "v0002", "v0003", "v0002", "v0004"]) == ["v0001", "v0002", "v0004"]
    assert lineage(["v0001", BASE, "v0002"]) == ["v0002"]


async def test_a_pause_survives_a_restart_and_refuses_runs(opened: Opener) -> None:
    async with opened() as here:
        await here.rate(16)
        await here.loop.pause()
    async with opened() as here:
        assert (await here.loop.status()).paused
        with pytest.raises(LearningError, match="paused"):
            await here.loop.retrain()
        await here.loop.resume()
        assert (await here.learn()).kind == "finished"


async def test_enough_new_votes_start_a_run_by_themselves(opened: Opener) -> None:
    settings = config(schedule=ScheduleConfig(every_votes=16))
    async with opened(settings=settings) as here:
        await here.rate(15)
        await here.loop.on_vote(vote(1))
        assert not (await here.loop.status()).queued
        await here.rate(1, first=16)
        await here.loop.on_vote(vote(16))
        assert (await here.until("finished")).adapter == "v0001"
        assert (await here.store.runs())[0].trigger == "votes"


async def test_a_run_interrupted_while_training_goes_on_under_the_same_name(
    opened: Opener,
) -> None:
    async with opened(train=stuck) as here:
        await here.rate(16)
        await here.loop.retrain()
        await here.until("progress")
        (run,) = await here.store.runs()
    async with opened() as here:
        assert (await here.until("finished")).run == run.id
        (again,) = await here.store.runs()
        assert (again.adapter, again.snapshot) == (run.adapter, run.snapshot)
        assert here.loop.current(HERE) == "v0001"


async def test_a_run_interrupted_while_judging_is_judged_and_not_trained_again(
    opened: Opener,
) -> None:
    async def never(*args: object) -> Any:
        await asyncio.Event().wait()

    async with opened(judge=never) as here:
        await here.rate(16)
        await here.loop.retrain()
        while (await here.until("stage")).text != "run 1: judging v0001":
            pass
        assert here.loop.current(HERE) == BASE
    await opened.restart()
    async with opened(train=stuck) as here:
        assert (await here.until("finished")).adapter == "v0001"
        assert here.loop.current(HERE) == "v0001"


async def test_a_run_that_keeps_ending_the_process_is_given_up(opened: Opener) -> None:
    async with opened(train=stuck) as here:
        await here.rate(16)
        await here.loop.retrain()
        await here.until("progress")
    for _ in range(3):  # orderly ends are not held against it
        async with opened(train=stuck) as here:
            await here.until("progress")
            (run,) = await here.store.runs()
            # What a process that dies here leaves behind.
            assert run.metrics == {"starts": 1}
    async with await Store.open(opened.data) as store:
        await store.update_run(run.id, metrics={"starts": 3})
    async with opened(train=stuck) as here:
        assert "given up after 3" in (await here.until("failed")).text


@pytest.mark.parametrize("damage", ["weights", "manifest", "missing"])
async def test_a_damaged_champion_is_replaced_by_the_one_before(
    opened: Opener, damage: str
) -> None:
    async with opened() as here:
        await here.rate(16)
        await here.learn()
        await here.learn()
        folder = here.registry.path("v0002")
    await opened.restart()
    if damage == "weights":
        (folder / "adapter_model.safetensors").write_bytes(b"half")
    elif damage == "manifest":
        (folder / "manifest.json").unlink()
    else:
        folder.rename(folder.with_name("elsewhere"))
    async with opened() as here:
        assert here.loop.current(HERE) == await here.store.champion() == "v0001"
        assert "v0002" not in here.engine.loaded()
        assert {ref.name: ref.status for ref in await here.loop.adapters()} == {
            "v0001": "champion", "v0002": "broken",
        }  # fmt: skip
        (event,) = await here.store.events("fallback")
        assert "v0001 serves instead" in event.data["text"]


async def test_a_champion_of_a_rank_there_is_no_room_for_is_kept_and_not_served(
    opened: Opener, model: Path
) -> None:
    usual = config()
    small = usual.model_copy(update={
        "engine": SLOTS.model_copy(update={"adapter_rank": 2}),
        "learning": usual.learning.model_copy(update={
            "sft": usual.learning.sft.model_copy(update={"rank": 2}),
        }),
    })  # fmt: skip
    async with opened(settings=small) as here:
        await here.rate(16)
        await here.learn()
    await opened.restart()
    async with opened() as here:
        await here.learn()
        assert here.loop.current(HERE) == "v0002"
    await opened.restart()
    engine = LocalEngine(load(model, small.engine), small.engine, 0.25)
    try:
        async with world(engine, opened.data, small, judge=saying("promote")) as here:
            assert here.loop.current(HERE) == await here.store.champion() == "v0001"
            (event,) = await here.store.events("fallback")
            assert "rank 4 exceeds engine.adapter_rank = 2; raise it" in event.data["text"]
            assert "v0001 serves instead" in event.data["text"]
    finally:
        await engine.close()
    async with opened() as here:
        assert {ref.name: ref.status for ref in await here.loop.adapters()} == {
            "v0001": "champion", "v0002": "retired",
        }  # fmt: skip
        await here.loop.rollback("v0002")
        assert here.loop.current(HERE) == "v0002"


async def test_a_champion_of_another_base_is_kept_and_not_served(
    opened: Opener, tmp_path: Path
) -> None:
    async with opened() as here:
        await here.rate(16)
        await here.learn()
    await opened.restart()
    other = LocalEngine(load(make_model(tmp_path / "other", "gpt2"), SLOTS), SLOTS, 0.25)
    try:
        async with world(other, opened.data, config(), judge=saying("promote")) as here:
            assert here.loop.current(HERE) == BASE
            assert here.registry.names() == ["v0001"]
            assert [ref.status for ref in await here.loop.adapters()] == ["retired"]
            with pytest.raises(AdapterError, match="another base"):
                await here.loop.try_version(HERE, "v0001")
    finally:
        await other.close()


async def test_a_channel_goes_on_trying_its_version_after_a_restart(opened: Opener) -> None:
    async with opened("shadow") as here:
        await here.rate(16)
        await here.learn()
        await here.loop.try_version(HERE, "v0001")
    await opened.restart()
    async with opened() as here:
        assert (here.loop.current(HERE), here.loop.current(THERE)) == ("v0001", BASE)
        await here.loop.try_version(HERE, None)
        assert here.loop.current(HERE) == BASE


async def test_a_listener_that_fails_does_not_end_the_run(opened: Opener) -> None:
    def broken(event: object) -> None:
        raise ValueError("not my day")

    async with opened() as here:
        here.loop.listen(broken)
        await here.rate(16)
        assert (await here.learn()).kind == "finished"


async def test_old_versions_are_pruned_and_the_line_is_kept(opened: Opener) -> None:
    async with opened("promote", "reject", settings=config(keep_versions=1)) as here:
        await here.rate(16)
        for _ in range(3):
            await here.learn()
        assert here.registry.names() == ["v0001", "v0003"]
