"""What has been learned so far answers in its turn, and the best of that is learned from.

The best of what the base says are only as good as the base happens to be. So an adapter is
trained on them first, it answers the same prompts, and what the head likes best among its answers
takes the place of what was chosen before (best-of-n distillation, iterated: 2304.06767). The
version itself starts at the base all the same, and learns in one training. The adapter never serves
and is gone when this ends; votes, prompts and the head's fit are as they were, and siblings
do without: they are there to be compared, and that would cost as much again for each.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bot.config import Config
from bot.engine.base import Engine
from learning.freezing import Prepared
from learning.taste.refine import draw_replies
from learning.training.choice import choose, passes
from learning.training.driven import Trainer, carried_out
from learning.types import TrainProgress
from learning.votes.dataset import digest


class Lender(Protocol):
    """Slots of the engine; `learning.serving.Serving` for one."""

    async def lend(self, name: str, folder: Path) -> None:
        """Load what is no version, until `release`."""

    async def release(self, name: str) -> None:
        """Unload it."""


@dataclass(frozen=True, slots=True)
class Rehearsals:
    """As many as the configuration asks for, with one engine.

    Args:
        forbidden: names the moderation rule that a text breaks.
    """

    engine: Engine
    slots: Lender
    train: Trainer
    config: Config
    forbidden: Callable[[str], str | None]

    async def __call__(
        self, prepared: Prepared, name: str, folder: Path,
        heard: Callable[[TrainProgress], Awaitable[None]],
    ) -> Prepared:
        """What to learn from after `learning.taste.rounds`; as it was where nothing was chosen.

        Args:
            name: what the engine calls the adapter meanwhile.
            folder: where it lies meanwhile. A training that was interrupted goes on there.
            heard: told of the training.
        """
        for number in range(1, self.config.learning.taste.rounds):
            if not prepared.taste.replies:
                break
            await self._trained(prepared, folder, heard)
            prepared = await self._answered(prepared, name, folder, number)
            await asyncio.to_thread(shutil.rmtree, folder)
        return prepared

    async def _trained(
        self, prepared: Prepared, folder: Path, heard: Callable[[TrainProgress], Awaitable[None]]
    ) -> None:
        learning, ends = self.config.learning, self.engine.info.end_ids
        choice = await asyncio.to_thread(choose, prepared.snapshot, ends, learning)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        job = self.train(
            prepared.snapshot, passes(choice, learning), folder, learning.seed, ends,
            digest=await asyncio.to_thread(digest, prepared.snapshot), choice=choice,
        )
        await carried_out(self.engine, job, heard)

    async def _answered(
        self, prepared: Prepared, name: str, folder: Path, number: int
    ) -> Prepared:
        learning = self.config.learning
        await self.slots.lend(name, folder)
        try:
            drawn = await draw_replies(
                self.engine, prepared.snapshot.of("train"), learning.taste,
                self.config.sampling.settings(),
                # Not the base's seeds again: the same luck would give nearly the same replies.
                learning.seed + number * 2 * learning.taste.draws * learning.taste.prompts,
                self.forbidden, name,
            )
        finally:
            await self.slots.release(name)
        taste = await asyncio.to_thread(drawn.chosen)
        if not taste.replies:
            return prepared
        return replace(
            prepared, taste=taste, snapshot=replace(prepared.snapshot, chosen=taste.replies)
        )
