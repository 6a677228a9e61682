"""Siblings in real runs: trained, kept with their version, asked, and taken up again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bot.config import Config, GateConfig, SamplingConfig, TasteConfig
from bot.engine.base import Job, Score, ScoreItem
from bot.engine.local import LocalEngine
from bot.types import BASE
from learning.gate.voted import Voted
from learning.registry import sibling_in
from learning.siblings import Peer, Siblings, peer
from learning.taste.features import dimensions
from learning.taste.head import Head
from learning.taste.kept import read_head
from learning.training.trainer import training_job
from learning.types import Manifest, Snapshot, Verdict
from tests.learning.rated import START, World, config, exchange, saying, vote, world


def folded(folds: int) -> Config:
    """Settings with which runs are cut into folds, and the tiny model talks briefly."""
    made = config(
        gate=GateConfig(folds=folds, replies=4, anchors=4, canaries=2, reported_prompts=0)
    )
    return made.model_copy(update={"sampling": SamplingConfig(max_tokens=16)})


def one_reply(settings: Config) -> Config:
    """The settings of a bot that does not choose among replies."""
    sampling = settings.sampling.model_copy(update={"best_of": 1})
    return settings.model_copy(update={"sampling": sampling})


class Overheard:
    """An engine, and which replies it was asked about, by the name of who saw them."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self.about: defaultdict[str, set[tuple[int, ...]]] = defaultdict(set)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def score(self, items: Sequence[ScoreItem]) -> list[Score]:
        for item in items:
            self.about[item.adapter].add(tuple(item.reply_ids))
        return await self._engine.score(items)


class Heard:
    """A gate that lets everything pass, and what it was given."""

    def __init__(self) -> None:
        self.snapshot = Snapshot("", (), (), ())
        self.besides: tuple[Voted, ...] = ()
        self.heads: Sequence[Head | None] = ()

    async def __call__(self, *args: Any) -> Verdict:
        self.snapshot, self.besides, self.heads = args[1], args[10], args[11]
        verdict: Verdict = await saying("promote")(*args)
        return verdict

    def voted(self) -> int:
        """How many votes a run was given to train on."""
        return sum(one.voted for one in self.snapshot.of("train"))

    def replies(self, exchanges: frozenset[int]) -> set[tuple[int, ...]]:
        """To exchanges."""
        every = self.snapshot.examples
        return {one.reply_ids for one in every if one.exchange_id in exchanges}


async def learn(here: World, votes: int, first: int = 1) -> Manifest:
    """One more version, from so many votes more."""
    await here.rate(votes, first)
    event = await here.learn()
    assert event.kind == "finished", event.text
    return here.registry.manifest(event.adapter)


async def test_siblings_let_nearly_every_vote_judge_and_leave_nothing_loaded(
    engine: LocalEngine, tmp_path: Path
) -> None:
    async with world(engine, tmp_path, folded(3)) as here:
        await learn(here, 24)
        (run,) = await here.store.runs()
        assert 2 * run.metrics["holdout_items"] < run.metrics["judged_items"] <= 24
        assert set(engine.loaded()) <= {BASE}
        assert list((tmp_path / "runs").iterdir()) == []
        assert [one.name for one in (tmp_path / "adapters").iterdir()] == ["v0001"]


async def test_a_version_keeps_its_siblings_each_trained_without_its_fold(
    engine: LocalEngine, tmp_path: Path
) -> None:
    shown: dict[str, frozenset[int]] = {}

    def train(snapshot: Snapshot, settings: Any, folder: Path, *rest: Any, **options: Any) -> Job:
        shown[folder.name] = frozenset(
            one.exchange_id for one in snapshot.examples if one.part != "holdout"
        )
        return training_job(snapshot, settings, folder, *rest, **options)

    async with world(engine, tmp_path, folded(3), train=train, judge=saying("promote")) as here:
        manifest = await learn(here, 24)
        folder = here.registry.verify("v0001", manifest.base)
        siblings = {f"sibling-{number}" for number in (1, 2, 3)}
        assert {one.name for one in folder.iterdir() if one.is_dir()} == siblings
        assert {Path(file).parent.name for file in manifest.files} == {"", *siblings}
        assert all(manifest.folds)
        for number, fold in enumerate(manifest.folds, 1):
            assert shown[f"sibling-{number}"] == frozenset(manifest.exchanges) - frozenset(fold)
        assert shown["v0001.staging"] == frozenset(manifest.exchanges)
        assert set(engine.loaded()) - {BASE} == {"v0001"}


@pytest.mark.parametrize("folds", [3, 4])
async def test_siblings_are_compared_with_the_champions_on_what_neither_has_learned_from(
    engine: LocalEngine, tmp_path: Path, folds: int
) -> None:
    overheard, gate = Overheard(engine), Heard()
    every: Any = overheard
    async with world(every, tmp_path, folded(3), judge=gate) as here:
        champion = await learn(here, 24)
        assert len(gate.besides) == gate.voted()
    overheard.about.clear()
    async with world(every, tmp_path, folded(folds), judge=gate) as here:
        candidate = await learn(here, 6, first=25)
        assert set(engine.loaded()) <= {BASE, "v0001", "v0002"}
    asked = set(overheard.about)
    for number in (1, 2, 3):
        assert {f"v0001/sibling-{number}", f"v0002/sibling-{number}"} <= asked
        seen = peer(champion, number).seen | peer(candidate, number).seen
        told = overheard.about[f"v0001/sibling-{number}"]
        assert told == overheard.about[f"v0002/sibling-{number}"]
        assert told & gate.replies(frozenset(champion.exchanges))
        assert not told & gate.replies(seen)
    if folds == 3:
        # Cut as before, every vote judges, and the champion itself is never asked.
        assert len(gate.besides) == gate.voted()
        assert "v0001" not in asked
    else:
        assert len(gate.besides) < gate.voted()


async def test_a_champion_without_siblings_speaks_for_itself_on_new_votes(
    engine: LocalEngine, tmp_path: Path
) -> None:
    overheard, gate = Overheard(engine), Heard()
    every: Any = overheard
    async with world(every, tmp_path, folded(0), judge=gate) as here:
        champion = await learn(here, 24)
        assert (champion.folds, gate.besides) == ((), ())
    async with world(every, tmp_path, folded(3), judge=gate) as here:
        candidate = await learn(here, 12, first=25)
    known = gate.replies(frozenset(champion.exchanges))
    fresh = [
        one for one in gate.snapshot.of("train")
        if not {one.exchange_id, *one.folded} & {*champion.exchanges}
    ]
    assert len(gate.besides) == len(fresh) > 0
    assert overheard.about["v0001"] == {one.reply_ids for one in fresh}
    assert not overheard.about["v0001"] & known
    assert not any(name.startswith("v0001/") for name in overheard.about)
    assert all(candidate.folds)


def test_who_speaks_for_a_version_has_not_seen_the_fold_or_is_the_version() -> None:
    one = Manifest(
        "v0007", "tiny", "", START, 0, {}, {}, {}, (1, 2, 3, 4, 5), folds=((1, 2), (), (3,))
    )
    assert peer(one, 1) == Peer("v0007", 1, frozenset({3, 4, 5}))
    assert peer(one, 3) == Peer("v0007", 3, frozenset({1, 2, 4, 5}))
    for number in (2, 4):
        assert peer(one, number) == Peer("v0007", 0, frozenset({1, 2, 3, 4, 5}))
    assert peer(None, 1) == Peer(BASE, 0, frozenset())


async def test_siblings_that_were_trained_before_an_interruption_are_not_trained_again(
    engine: LocalEngine, tmp_path: Path
) -> None:
    reached = asyncio.Event()

    def train(snapshot: Snapshot, settings: Any, folder: Path, *rest: Any, **options: Any) -> Job:
        job = training_job(snapshot, settings, folder, *rest, **options)

        def waits(resident: Any) -> Any:
            for item in job(resident):
                if folder.name == "v0001.staging":
                    asked.call_soon_threadsafe(reached.set)
                yield item

        return waits

    asked = asyncio.get_running_loop()
    files = [f"sibling-{number}/adapter_config.json" for number in (1, 2, 3)]
    async with world(engine, tmp_path, folded(3), train=train) as here:
        await here.rate(24)
        await here.loop.retrain()
        await reached.wait()
        # The loop is ended while the version itself is in training.
    before = [(tmp_path / "adapters" / "v0001.staging" / file).stat().st_mtime_ns for file in files]
    async with world(engine, tmp_path, folded(3), judge=saying("reject")) as here:
        await here.until("finished")
        folder = here.registry.path("v0001")
    assert [(folder / file).stat().st_mtime_ns for file in files] == before


async def test_a_version_that_learned_forgotten_words_leaves_no_sibling_behind(
    engine: LocalEngine, tmp_path: Path
) -> None:
    async with world(engine, tmp_path, folded(3), judge=saying("promote")) as here:
        manifest = await learn(here, 24)
        assert "v0001 learned from that" in await here.loop.forget(manifest.folds[0][:1])
        assert list((tmp_path / "adapters").rglob("*")) == []
        assert set(engine.loaded()) <= {BASE}


async def test_a_version_and_each_sibling_have_heads_and_the_gate_asks_them(
    engine: LocalEngine, tmp_path: Path
) -> None:
    made = folded(3)
    learning = made.learning.model_copy(
        update={"objective": "taste", "taste": TasteConfig(draws=2, min_per_class=2)}
    )
    gate = Heard()
    settings = made.model_copy(update={"learning": learning})
    async with world(engine, tmp_path, settings, judge=gate) as here:
        for index in range(1, 37):
            liked = index % 2 > 0
            words = (40 if liked else 140, 50 + index, 0)
            given = exchange(index, base=engine.info.fingerprint, reply_ids=words)
            key = await here.store.add_exchange(given)
            await here.store.add_vote(vote(key, 1 if liked else -1, time=datetime.now(UTC)))
        assert (await here.learn()).kind == "finished"
        manifest = here.registry.manifest("v0001")
        assert all((one.ours is None, one.theirs) == (False, None) for one in gate.besides)
        assert (await here.learn()).kind == "finished"
        assert gate.heads[0] is not None and gate.heads[1] is not None
        assert all(None not in (one.ours, one.theirs) for one in gate.besides)
        folder = here.registry.verify("v0001", manifest.base)
        serving: Any = None  # reading a head loads nothing
        siblings = Siblings(engine, serving, here.registry, settings, training_job)
        for number in range(4):
            asked = await siblings.head("v0001", number)
            place = sibling_in(folder, number) if number else folder
            kept = read_head(place, dimensions(engine.info.hidden))
            assert asked and kept and np.array_equal(asked.direction, kept.direction)
        assert await siblings.head(BASE) is None
        assert gate.besides and settings.sampling.best_of > 1
    async with world(engine, tmp_path, one_reply(settings), judge=gate) as here:
        assert (await here.learn()).kind == "finished"
        assert list(gate.heads) == [None, None]
        assert all((one.ours, one.theirs) == (None, None) for one in gate.besides)
    places = ["", *(f"sibling-{number}/" for number in (1, 2, 3))]
    files = [f"{place}taste.safetensors" for place in places]
    assert {one for one in manifest.files if one.endswith("taste.safetensors")} == set(files)
    # Each from other votes, so each another.
    assert len({(folder / file).read_bytes() for file in files}) == len(files)
