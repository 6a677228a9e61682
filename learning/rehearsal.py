"""What has been learned so far answers in its turn, and the best of that is learned from.

The best of what the base says are only as good as the base happens to be. So an adapter is
trained on them first, it answers the same prompts, and what the head likes best among its answers
takes the place of what was chosen before (best-of-n distillation, iterated: 2304.06767). The
version itself starts at the base all the same, and learns in one training. The adapter never serves
and is gone when this ends. The head is fitted again, on the same votes and on the scale of these
answers. Siblings do without: they are there to be compared, and it would cost as much for each.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from bot.config import Config
from bot.engine.base import Engine
from learning.freezing import Prepared
from learning.taste.refine import draw_replies
from learning.trained import trained
from learning.training.choice import choose
from learning.training.driven import Trainer
from learning.types import Snapshot, TrainProgress

Lent = Callable[[str, Path], AbstractAsyncContextManager[None]]
"""Has an adapter loaded under a name for a while: `learning.serving.Serving.lent`, for one."""


@dataclass(frozen=True, slots=True)
class Rehearsals:
    """As many as the configuration asks for, with one engine.

    Args:
        forbidden: names the moderation rule that a text breaks.
    """

    engine: Engine
    lent: Lent
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
            await self._learn(prepared.snapshot, folder, heard)
            prepared = await self._answered(prepared, name, folder, number)
            await asyncio.to_thread(shutil.rmtree, folder)
        return prepared

    async def _learn(
        self, snapshot: Snapshot, folder: Path,
        heard: Callable[[TrainProgress], Awaitable[None]],
    ) -> None:
        learning = self.config.learning
        choice = await asyncio.to_thread(choose, snapshot, self.engine.info.end_ids, learning)
        await trained(self.engine, self.train, learning, snapshot, choice, folder, heard)

    async def _answered(
        self, prepared: Prepared, name: str, folder: Path, number: int
    ) -> Prepared:
        learning = self.config.learning
        async with self.lent(name, folder):
            drawn = await draw_replies(
                self.engine, prepared.snapshot.of("train"), learning.taste,
                self.config.sampling.settings(self.engine.template.encode),
                # Not the base's seeds again: the same luck would give nearly the same replies.
                learning.seed + number * 2 * learning.taste.draws * learning.taste.prompts,
                self.forbidden, name,
            )
        taste = await asyncio.to_thread(drawn.chosen)
        if not taste.replies:
            return prepared
        return replace(
            prepared, taste=taste, snapshot=replace(prepared.snapshot, chosen=taste.replies)
        )
