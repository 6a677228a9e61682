"""The siblings of a candidate: each is trained without a fold of the votes, and judged by it.

They live in the folder of the run and in the engine while it scores, and never serve: no
registry, manifest or store knows them. What they say about their folds stands beside what the
candidate says about the hold-out (`learning.gate.folds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from bot.config import Config
from bot.engine.base import Engine
from learning.gate.checks import Voted
from learning.gate.scores import Talk, spoken, voted_on
from learning.serving import Serving
from learning.taste.features import Said
from learning.training.adapter import CONFIG_FILE
from learning.training.choice import choose, passes
from learning.training.driven import Trainer, carried_out
from learning.types import Snapshot, TrainProgress
from learning.votes.dataset import digest

Heard = Callable[[int, TrainProgress], Awaitable[None]]
"""Told how far the training of a sibling has come, and the number of that one, from 1."""


class Siblings:
    """Trains and asks siblings, one after the other."""

    def __init__(self, engine: Engine, serving: Serving, config: Config, train: Trainer) -> None:
        self._engine = engine
        self._serving = serving
        self._config = config
        self._train = train

    async def votes(
        self, folder: Path, snapshot: Snapshot, champion: str,
        known: frozenset[int], heard: Heard,
    ) -> tuple[Voted, ...]:
        """Every vote in a fold that the champion has not learned from, as its sibling sees it.

        Args:
            folder: of the run; siblings that were trained before an interruption lie there.
            champion: the version it is compared with.
            known: exchanges that the champion has learned from.
        """
        learning, sampling = self._config.learning, self._config.sampling.settings()

        async def says(adapter: str) -> list[Said]:
            return await spoken(
                self._engine, snapshot, adapter, sampling, learning.seed, learning.gate.replies
            )

        theirs: list[Said] = []
        found: list[Voted] = []
        for number, fold in enumerate(snapshot.folds, 1):
            examples = [one for one in snapshot.within(fold) if one.exchange_id not in known]
            if not any(one.voted for one in examples):
                continue
            place = folder / f"sibling-{number}"
            await self._trained(place, snapshot.without(fold), number, heard)
            name = f"{folder.name}/{place.name}"
            await self._serving.lend(name, place)
            try:
                theirs = theirs or await says(champion)
                found += await voted_on(
                    self._engine, snapshot, examples, name, champion,
                    Talk(await says(name), theirs), learning.gate.rater_clusters,
                )
            finally:
                await self._serving.release(name)
        return tuple(found)

    async def _trained(
        self, place: Path, snapshot: Snapshot, number: int, heard: Heard
    ) -> None:
        if await asyncio.to_thread((place / CONFIG_FILE).exists):
            return
        learning, ends = self._config.learning, self._engine.info.end_ids
        choice = await asyncio.to_thread(choose, snapshot, ends, learning)
        await asyncio.to_thread(place.mkdir, parents=True, exist_ok=True)
        job = self._train(
            snapshot, passes(choice, learning), place, learning.seed, ends,
            digest=await asyncio.to_thread(digest, snapshot), choice=choice,
        )
        await carried_out(self._engine, job, lambda at: heard(number, at))
