"""Follows the learning runs by their events and hands what the store has of them to trackers.

The curves are in the store already; that is the only path out of a run, so nothing in training
knows that it is followed. A tracker that fails is left alone until the next run: curves are a
convenience, and no run ends for want of them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from bot.ended import ended
from bot.errors import StoreError
from bot.learning_port import LearningEvent
from bot.store import Run, Store
from learning.announcements import Announcements
from learning.tracking.tracker import Tracker

log = logging.getLogger(__name__)

ENDS = ("finished", "failed", "cancelled")


class Follower:
    """Hands on what happens in runs; without trackers it does nothing."""

    def __init__(
        self, store: Store, announcements: Announcements, trackers: Sequence[Tracker]
    ) -> None:
        self._store = store
        self._all = tuple(trackers)
        self._well: list[Tracker] = []
        self._events: asyncio.Queue[LearningEvent] = asyncio.Queue()
        self._run: int | None = None
        self._step = 0
        self._told: set[tuple[int, str]] = set()
        if self._all:
            announcements.listen(self._events.put_nowait)

    async def run(self) -> None:
        """Follow until cancelled; what has happened until then is handed on first."""
        try:
            while True:
                following = asyncio.create_task(self._follow(await self._events.get()))
                try:
                    await asyncio.shield(following)
                except asyncio.CancelledError:
                    await ended(following)  # in the midst of an event, it ends that one first
                    raise
        finally:
            while not self._events.empty():
                await self._follow(self._events.get_nowait())
            await self._each(lambda tracker: tracker.close({}))

    async def _follow(self, event: LearningEvent) -> None:
        if event.run is None or event.kind == "queued":
            return
        try:
            run = await self._store.run(event.run)
            if run is None:
                return
            await self._catch_up(run)
            if event.kind in ENDS:
                await self._end(run)
        except StoreError as error:
            log.warning("what happens in run %s cannot be followed: %s", event.run, error)

    async def _catch_up(self, run: Run) -> None:
        """Hand on the points that are new in the store; the first begin the run."""
        since = self._step if self._run == run.id else 0
        new: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for step, name, value in await self._store.curve(run.id, since):
            if self._run != run.id or (step, name) not in self._told:
                new[step][name] = value
        if not new:
            return
        await self._begin(run)
        for step, values in new.items():
            self._step = step
            await self._each(partial(_point, step, values))
        self._told = {one for one in self._told if one[0] == self._step} | {
            (self._step, name) for name in new[self._step]
        }

    async def _begin(self, run: Run) -> None:
        if self._run == run.id:
            return
        self._run, self._step, self._told = run.id, 0, set()
        self._well = list(self._all)
        name = run.adapter or f"run {run.id}"
        await self._each(lambda tracker: tracker.run(name, run.started, run.settings))

    async def _end(self, run: Run) -> None:
        metrics = {
            name: float(value) for name, value in run.metrics.items()
            if name != "starts" and isinstance(value, int | float) and math.isfinite(value)
        }
        if metrics:
            await self._begin(run)
        if self._run == run.id:
            await self._each(lambda tracker: tracker.close(metrics))
            self._run = None

    async def _each(self, tell: Callable[[Tracker], None]) -> None:
        for tracker in tuple(self._well):
            try:
                await asyncio.to_thread(tell, tracker)
            except Exception:  # somebody else's package, disk or network
                log.exception("run %s is not tracked any further", self._run)
                self._well.remove(tracker)


def _point(step: int, values: Mapping[str, float], tracker: Tracker) -> None:
    tracker.point(step, values)
