"""The siblings of a version: each is trained without one fold of the votes, and judged by it.

They are trained before their version is published, lie in its folder and go with it; they never
serve. Sibling k of a candidate is compared with sibling k of the champion. Fold k holds the same
conversations for ever, so neither has learned from them, and both have learned from the same
share of what their versions have. What they say stands beside what the two versions say about
the hold-out (`learning.gate.folds`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bot.config import Config
from bot.engine.base import Engine
from bot.types import BASE
from learning.gate.scores import Side, side_of, spoken, voted_on
from learning.gate.voted import Voted
from learning.registry import Registry, sibling_in
from learning.serving import Serving
from learning.taste.features import dimensions
from learning.taste.head import Head
from learning.taste.kept import read_head
from learning.trained import trained
from learning.training.adapter import CONFIG_FILE
from learning.training.choice import choose
from learning.training.driven import Trainer
from learning.types import Example, Manifest, Snapshot, TrainProgress

Heard = Callable[[int, TrainProgress], Awaitable[None]]
"""Told how far the training of a sibling has come, and the number of that one, from 1."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who speaks for a version where a fold is judged by."""

    version: str
    number: int
    """Of its sibling; 0 for the version itself, which is loaded."""
    seen: frozenset[int]
    """The exchanges it has learned from: on them it is no measure."""


def peer(manifest: Manifest | None, number: int) -> Peer:
    """The sibling of this number; the version itself where it has none.

    Args:
        manifest: of the version; None for the base, which has learned from nobody.
    """
    if manifest is None:
        return Peer(BASE, 0, frozenset())
    seen = frozenset(manifest.exchanges)
    fold = manifest.folds[number - 1] if number <= len(manifest.folds) else ()
    return Peer(manifest.name, number if fold else 0, seen.difference(fold))


class Siblings:
    """Trains and asks siblings, one after the other."""

    def __init__(
        self, engine: Engine, serving: Serving, registry: Registry, config: Config, train: Trainer
    ) -> None:
        self._engine = engine
        self._serving = serving
        self._registry = registry
        self._config = config
        self._train = train

    async def train(self, folder: Path, snapshot: Snapshot, heard: Heard) -> None:
        """Have a sibling for each fold in the folder a version is made in.

        Those that were finished before an interruption are not trained again.
        """
        for number, fold in enumerate(snapshot.folds, 1):
            place = sibling_in(folder, number)
            if fold.exchanges and not await asyncio.to_thread((place / CONFIG_FILE).exists):
                part, learning = snapshot.without(fold), self._config.learning
                choice = await asyncio.to_thread(
                    choose, part, self._engine.info.end_ids, learning
                )
                await trained(
                    self._engine, self._train, learning, part, choice, place,
                    partial(heard, number),
                )

    async def votes(
        self, snapshot: Snapshot, candidate: str, champion: str
    ) -> tuple[Voted, ...]:
        """The votes in the folds, each as two see it that have not learned from it."""
        learning = self._config.learning
        sampling = self._config.sampling.settings(self._engine.template.encode)
        ours, theirs = [await self._manifest(name) for name in (candidate, champion)]
        talks: dict[str, np.ndarray] = {}

        async def talk(name: str) -> np.ndarray:
            # A champion without siblings speaks for itself, and in every fold the same.
            if name not in talks:
                talks[name] = await spoken(
                    self._engine, snapshot, name, sampling, learning.seed, learning.gate.replies
                )
            return talks[name]

        async def side(of: Peer, examples: Sequence[Example]) -> Side:
            async with self._lent(of) as name:
                head = await self.head(of.version, of.number)
                return await side_of(self._engine, examples, name, await talk(name), head)

        found: list[Voted] = []
        for number, fold in enumerate(snapshot.folds, 1):
            mine, his = peer(ours, number), peer(theirs, number)
            seen = mine.seen | his.seen
            judging = [
                one for one in snapshot.within(fold)
                if one.voted and seen.isdisjoint((one.exchange_id, *one.folded))
            ]
            if judging:
                found += await voted_on(
                    self._engine, snapshot, judging, await side(mine, judging),
                    await side(his, judging), await talk(BASE), learning.gate.rater_clusters,
                )
        return tuple(found)

    async def head(self, version: str, number: int = 0) -> Head | None:
        """What a version, or its sibling of a number, chooses among replies by.

        None for the base, where that was not learned, and where one reply is drawn.
        """
        if version == BASE or self._config.sampling.best_of == 1:
            return None
        folder = self._registry.path(version)
        place = sibling_in(folder, number) if number else folder
        return await asyncio.to_thread(read_head, place, dimensions(self._engine.info.hidden))

    async def _manifest(self, name: str) -> Manifest | None:
        return None if name == BASE else await asyncio.to_thread(self._registry.manifest, name)

    @asynccontextmanager
    async def _lent(self, one: Peer) -> AsyncIterator[str]:
        """What the engine calls it; a sibling has a slot for as long as the context lasts.

        One at a time: there may be a single slot beside the champion's.
        """
        if not one.number:
            yield one.version
            return
        folder = await asyncio.to_thread(self._registry.verify, one.version, self._serving.base)
        place = sibling_in(folder, one.number)
        name = f"{one.version}/{place.name}"
        async with self._serving.lent(name, place):
            yield name
