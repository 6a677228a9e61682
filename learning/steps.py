"""The steps of one run: gather, freeze, train, judge. Each does nothing that is done already.

That is what makes a run resumable: what a step leaves behind (frozen data, a published
version, a verdict) is looked for first. The steps know the store, the disk and the engine;
which run is next, and what a verdict leads to, is the loop's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bot.config import Config, GateConfig
from bot.engine.base import Engine
from bot.errors import LearningError
from bot.learning_port import RunningStage
from bot.moderation import Moderation
from bot.store import Store
from bot.types import Sampling
from learning.announcements import Announcements
from learning.freezing import prepare
from learning.gate.voted import Voted
from learning.registry import Registry, sibling_in
from learning.rehearsal import Rehearsals
from learning.serving import Serving
from learning.siblings import Siblings
from learning.taste.head import Head
from learning.taste.kept import copy_head, write_head
from learning.trained import trained
from learning.training.choice import choose, passes
from learning.training.driven import Trainer
from learning.training.supervision import Choice
from learning.types import (
    Example,
    Manifest,
    Snapshot,
    TrainProgress,
    TrainResult,
    Verdict,
)
from learning.votes import dataset
from learning.votes.gathering import Gathered, gather, keep_split, waits

POINTS = 20
"""Optimiser steps whose curve points are written together."""


class Judge(Protocol):
    """`learning.gate.judge`."""

    async def __call__(
        self, engine: Engine, snapshot: Snapshot, candidate: str, champion: str,
        config: GateConfig, gates_before: int, sampling: Sampling, persona: str, seed: int,
        forbidden: Callable[[str], str | None], besides: Sequence[Voted],
        heads: Sequence[Head | None],
    ) -> Verdict:
        """Candidate against champion, both loaded."""


@dataclass(slots=True)
class Track:
    """How far a run has come, in memory and in the store."""

    store: Store
    announcements: Announcements
    run: int
    name: str
    now: RunningStage = dataclasses.field(init=False)
    _points: list[tuple[int, str, float]] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = RunningStage(self.run, self.name, "preparing", 0.0)

    async def enter(self, stage: str, status: str, text: str) -> None:
        """Begin a stage."""
        await self.flush()
        self.now = RunningStage(self.run, self.name, stage, 0.0)
        await self.store.update_run(
            self.run, status=status, stage=stage, progress=0.0, adapter=self.name
        )
        await self.announcements.tell("stage", text, run=self.run, adapter=self.name)

    async def step(self, at: TrainProgress) -> None:
        """Take note of a micro-batch; curve points once an optimiser step or a measurement."""
        new = at.step != self.now.step or at.held_out is not None
        self.now = dataclasses.replace(
            self.now, progress=at.step / max(1, at.steps), eta_seconds=at.eta_seconds,
            step=at.step, steps=at.steps, loss=at.loss,
            held_out=self.now.held_out if at.held_out is None else at.held_out,
        )
        if not new:
            return
        self._points.append((at.step, "loss", at.loss))
        self._points.append((at.step, "tokens_per_second", at.tokens_per_second))
        if at.learning_rate is not None:
            self._points.append((at.step, "learning_rate", at.learning_rate))
        if at.held_out is not None:
            self._points.append((at.step, "held_out", at.held_out))
        text = f"{self.name}: step {at.step} of {at.steps}, loss {at.loss:.3f}"
        if at.held_out is not None:
            text += f", held out {at.held_out:.3f}"
        self.announcements.show(
            text, run=self.run, adapter=self.name, progress=self.now.progress
        )
        if len(self._points) >= 3 * POINTS:
            await self.flush()

    async def sibling(self, number: int, at: TrainProgress) -> None:
        """Take note of how far the training of a sibling has come; it has no curve."""
        self._show(f"sibling {number}", at)

    async def rehearsal(self, at: TrainProgress) -> None:
        """Take note of how far a rehearsal has come; it has no curve."""
        self._show("rehearsal", at)

    def _show(self, what: str, at: TrainProgress) -> None:
        self.now = dataclasses.replace(
            self.now, progress=at.step / max(1, at.steps), eta_seconds=at.eta_seconds
        )
        text = f"{self.name}: {what}, step {at.step} of {at.steps}"
        self.announcements.show(
            text, run=self.run, adapter=self.name, progress=self.now.progress
        )

    async def flush(self) -> None:
        """Write what has gathered."""
        points, self._points = self._points, []
        if points:
            await self.store.add_curve_points(self.run, points)
            await self.store.update_run(self.run, progress=self.now.progress)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is left of a verdict once it is in the store."""

    outcome: str
    champion: str
    sentence: str


class Steps:
    """The steps, over one engine, store and data folder.

    Args:
        runs: where the frozen data of unfinished runs lies, one folder a version.
    """

    def __init__(
        self, engine: Engine, store: Store, registry: Registry, serving: Serving,
        config: Config, runs: Path, clock: Callable[[], datetime], train: Trainer, judge: Judge,
    ) -> None:
        self._engine = engine
        self._store = store
        self._registry = registry
        self._serving = serving
        self._config = config
        self._runs = runs
        self._clock = clock
        self._train = train
        self._judge = judge
        self._siblings = Siblings(engine, serving, registry, config, train)
        self._moderation = Moderation(config.moderation)
        self._rehearse = Rehearsals(engine, serving.lent, train, config, self._moderation.found)

    async def look(self) -> Gathered:
        """Every rated reply and what becomes of it, whether or not there is enough for a run."""
        return await gather(self._store, self._config, self._moderation, self._serving.base)

    async def gather(self) -> Gathered:
        """What may be learned from now.

        Raises:
            NothingToLearn: too little, or from too few people; the message has the numbers.
        """
        found = await self.look()
        settings = self._config.learning
        dataset.require_enough(found.examples, settings.min_examples, found.besides)
        dataset.require_raters(found.examples, found.weights, settings.votes.min_raters)
        return found

    async def freeze(self, track: Track) -> Snapshot:
        """The run's data: as frozen before, or gathered, answered by the base and frozen now."""
        folder = self._runs / track.name
        if await asyncio.to_thread((folder / dataset.SNAPSHOT_FILE).exists):
            snapshot = await asyncio.to_thread(dataset.read_snapshot, folder)
            if snapshot.base != self._serving.base:
                raise LearningError("the base model was changed during the run; start another")
            return snapshot
        if await asyncio.to_thread(self._registry.settled, track.name):
            raise LearningError(f"the data {track.name} was trained on is gone; start another run")
        await track.enter("preparing", "training", f"run {track.run}: preparing {track.name}")
        gathered = await self.gather()
        await keep_split(self._store, gathered)
        if number := len(gathered.waiting):
            await track.announcements.tell("review", waits(number), run=track.run)
        prepared = await prepare(
            self._engine, self._config, self._serving.base, gathered.examples,
            self._moderation.found,
        )
        if against := len(prepared.contrary):
            people = "one person go" if against == 1 else f"{against} people go"
            text = (
                f"run {track.run}: the votes of {people} against what all others like, and are "
                "left out"
            )
            await track.announcements.tell("stage", text, run=track.run, adapter=track.name)
        rehearsal = f"{track.name}/rehearsal"
        prepared = await self._rehearse(prepared, rehearsal, folder / "rehearsal", track.rehearsal)
        snapshot = prepared.snapshot
        if prepared.taste.replies:
            text = (
                f"run {track.run}: what was liked is told from what was not "
                f"{prepared.taste.auc:.0%} of the time; {len(prepared.taste.replies)} drawn "
                "replies are learned from as well"
            )
            await track.announcements.tell("stage", text, run=track.run, adapter=track.name)
        for place, head in zip(
            self._places(folder, snapshot), (prepared.taste.head, *prepared.outside), strict=True
        ):
            if head is not None:
                await asyncio.to_thread(write_head, place, head)
        await asyncio.to_thread(dataset.write_snapshot, folder, snapshot)
        found = await asyncio.to_thread(dataset.digest, snapshot)
        await self._store.update_run(track.run, snapshot=found)
        return snapshot

    async def train(self, track: Track, snapshot: Snapshot) -> Manifest:
        """A published version made from the base and the snapshot, with its siblings."""
        if not await asyncio.to_thread(self._registry.settled, track.name):
            choice = await asyncio.to_thread(
                choose, snapshot, self._engine.info.end_ids, self._config.learning
            )
            text = f"run {track.run}: training {track.name} by {choice.name} ({choice.reason})"
            await track.enter("training", "training", text)
            folder = await asyncio.to_thread(self._registry.stage, track.name)
            # Before the version itself: once that is trained it is published.
            await self._siblings.train(folder, snapshot, track.sibling)
            result = await trained(
                self._engine, self._train, self._config.learning, snapshot, choice, folder,
                track.step,
            )
            await track.flush()
            frozen = self._places(self._runs / track.name, snapshot)
            for source, place in zip(frozen, self._places(folder, snapshot), strict=True):
                await asyncio.to_thread(copy_head, source, place)
            manifest = await asyncio.to_thread(self._manifest, track, snapshot, result, choice)
            await asyncio.to_thread(self._registry.publish, track.name, manifest)
        manifest = await asyncio.to_thread(self._registry.manifest, track.name)
        if track.name not in {ref.name for ref in await self._store.adapters()}:
            await self._store.add_adapter(
                track.name, track.run, "candidate", manifest.base, manifest.created,
                dict(manifest.metrics),
            )
        return manifest

    def _manifest(
        self, track: Track, snapshot: Snapshot, result: TrainResult, choice: Choice
    ) -> Manifest:
        learning = self._config.learning
        # Where replies are compared, its learning rate is the one that was taken.
        compared = choice.settings.model_dump() if choice.compares else {}
        seen = [one for one in snapshot.examples if one.part != "holdout"]
        metrics = {
            name: float(value)
            for name, value in dataclasses.asdict(result).items() if value is not None
        }
        return Manifest(
            name=track.name,
            base=snapshot.base,
            snapshot=dataset.digest(snapshot),
            created=self._clock(),
            seed=learning.seed,
            settings={"objective": choice.name} | passes(choice, learning).model_dump() | compared,
            metrics=metrics,
            files={},
            exchanges=_ids(seen),
            folds=tuple(_ids(snapshot.within(fold)) for fold in snapshot.folds),
        )

    async def judge(self, track: Track, snapshot: Snapshot) -> Judged:
        """The verdict on the version against the champion; durable before it is known."""
        found = await self._store.verdict(track.name)
        if found is not None and (
            found["outcome"] != "promote"
            or found["champion"] == self._serving.champion
            or await self._serving.promoted(track.name)
        ):
            return Judged(found["outcome"], found["champion"], found["sentence"])
        await track.enter("judging", "judging", f"run {track.run}: judging {track.name}")
        # Judged again, over another champion, it would take the slot a sibling needs.
        await self._serving.release(track.name)
        champion = self._serving.champion
        besides = await self._siblings.votes(snapshot, track.name, champion)
        await self._serving.hold(track.name)
        learning = self._config.learning
        sampling = self._config.sampling.settings(self._engine.template.encode)
        earlier = await self._store.verdicts(self._serving.base)
        verdict = await self._judge(
            self._engine, snapshot, track.name, champion, learning.gate,
            sum(one["outcome"] != "shadow" for one in earlier), sampling,
            self._config.conversation.persona, learning.seed, self._moderation.found,
            besides, [await self._siblings.head(name) for name in (track.name, champion)],
        )
        await self._store.add_verdict(
            track.name, verdict.champion, verdict.outcome, verdict.sentence,
            [dataclasses.asdict(check) for check in verdict.checks], self._clock(),
            verdict.samples,
        )
        manifest = await asyncio.to_thread(self._registry.manifest, track.name)
        metrics = {**manifest.metrics, **verdict.metrics}
        await self._store.update_run(track.run, metrics=metrics)
        return Judged(verdict.outcome, verdict.champion, verdict.sentence)

    def _places(self, folder: Path, snapshot: Snapshot) -> list[Path]:
        """Where in a folder the head of a version lies, and those of its siblings."""
        numbers = range(1, len(snapshot.folds) + 1)
        return [folder, *(sibling_in(folder, number) for number in numbers)]

    async def clear(self, name: str) -> None:
        """Throw away what a run needed only for itself: people's words do not lie around."""
        await asyncio.to_thread(self._registry.discard, name)
        await asyncio.to_thread(shutil.rmtree, self._runs / name, ignore_errors=True)

    async def holding(self, exchanges: Collection[int]) -> set[str]:
        """The versions in the making whose frozen data has any of these exchanges."""
        return await asyncio.to_thread(dataset.folders_with, self._runs, exchanges)

    async def prune(self, keep: int) -> None:
        """Remove old versions that nothing needs."""
        await asyncio.to_thread(self._registry.prune, keep, await self._serving.kept())

    async def sweep(self, resumed: set[str]) -> None:
        """At start: throw away what runs left behind that do not go on."""
        await asyncio.to_thread(self._registry.sweep, resumed)
        with suppress(FileNotFoundError):
            for folder in await asyncio.to_thread(lambda: list(self._runs.iterdir())):
                if folder.name not in resumed:
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _ids(examples: Iterable[Example]) -> tuple[int, ...]:
    """Of examples, those folded into them included."""
    return tuple(sorted({key for one in examples for key in (one.exchange_id, *one.folded)}))
