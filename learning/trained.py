"""An adapter from a snapshot, trained beside the conversations: the one way for all of a run's.

A version, its siblings and its rehearsals differ in what they learn from and where they lie. What
becomes of them, and which losses are minimised, is for whoever asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from bot.config import LearningConfig
from bot.engine.base import Engine
from learning.training.choice import passes
from learning.training.driven import Trainer, carried_out
from learning.training.supervision import Choice
from learning.types import Snapshot, TrainProgress, TrainResult
from learning.votes.dataset import digest


async def trained(
    engine: Engine, train: Trainer, settings: LearningConfig, snapshot: Snapshot, choice: Choice,
    folder: Path, heard: Callable[[TrainProgress], Awaitable[None]],
) -> TrainResult:
    """Leave an adapter in `folder`, which is made where it is missing.

    What an interruption has left there of the same training goes on.

    Args:
        choice: of the losses (`learning.training.choice`).
        heard: told how far it has come.

    Raises:
        LearningError: nothing could be learned.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    job = train(
        snapshot, passes(choice, settings), folder, settings.seed, engine.info.end_ids,
        digest=await asyncio.to_thread(digest, snapshot), choice=choice,
    )
    return await carried_out(engine, job, heard)
