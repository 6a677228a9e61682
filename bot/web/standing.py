"""How learning stands, looked at once for all pages that show it.

Every open page asks once a second; the store and the learning half are asked only when the last
answer is older than that. Knows no page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from bot.dashboard.figures.runs import RunCurves, run_curves
from bot.learning_port import Learning, LearningStatus
from bot.store import Store

SECONDS = 1.0
"""For how long an answer is good."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stood a moment ago."""

    status: LearningStatus
    likes: int
    """Replies of the serving version that people like."""
    rated: int
    """Its replies that people rated."""
    curves: RunCurves
    """How the loss of the run that is on has fallen so far."""


class Standings:
    """Looks when somebody asks, and not more often than it helps."""

    def __init__(
        self, learning: Learning, store: Store, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._learning = learning
        self._store = store
        self._clock = clock
        self._looked = 0.0
        self._task: asyncio.Task[Standing] | None = None

    async def now(self, *, anew: bool = False) -> Standing:
        """How things stand; with `anew` not as they stood before.

        Raises:
            StoreError: the store cannot be read.
        """
        over = self._task is None or self._task.done()
        if over and (anew or self._task is None or self._clock() - self._looked >= SECONDS):
            self._looked = self._clock()
            self._task = asyncio.create_task(self._look())
        assert self._task is not None
        return await asyncio.shield(self._task)

    async def _look(self) -> Standing:
        status = await self._learning.status()
        likes, rated = await self._store.like_rate(status.serving)
        on = status.running
        curves = await run_curves(self._store, on.run) if on is not None else RunCurves()
        return Standing(status, likes, rated, curves)
