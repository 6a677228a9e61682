"""A training job, carried out by the engine beside the conversations and waited for.

It knows what a job yields, and nothing of what is trained or what becomes of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from bot.config import SftConfig
from bot.engine.base import Engine, Job
from bot.errors import LearningError
from learning.training.supervision import Choice
from learning.types import Snapshot, TrainProgress, TrainResult


class Trainer(Protocol):
    """`learning.training.trainer.training_job`."""

    def __call__(
        self, snapshot: Snapshot, settings: SftConfig, folder: Path, seed: int,
        end_ids: tuple[int, ...], *, digest: str, choice: Choice,
    ) -> Job:
        """A job that leaves an adapter in `folder` and yields a TrainResult last."""


async def carried_out(
    engine: Engine, job: Job, step: Callable[[TrainProgress], Awaitable[None]]
) -> TrainResult:
    """The result of a `learning.training.trainer.training_job`; `step` hears of its progress.

    Raises:
        LearningError: what the job raises, or it ended without a result.
    """
    async with aclosing(engine.run(job)) as slices:
        async for item in slices:
            if isinstance(item, TrainProgress):
                await step(item)
            elif isinstance(item, TrainResult):
                return item
    raise LearningError("the training ended without a result")
