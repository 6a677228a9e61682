"""The runs: which one is next, the whole journey of one, and how each ends.

`_learn` is that journey on one page: votes -> snapshot -> train -> judge -> swap. Everything it
does is durable before the next step begins, and every step looks first for what is done
already, so a run that was interrupted simply starts `_learn` again. One run is on at a time.
The steps themselves, the disk and what serves are other modules'; why a run is asked for,
and by whom, is not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from bot.config import LearningConfig
from bot.errors import EngineClosed, LearningError, RapportError
from bot.learning_port import Asked, EventKind
from bot.store import Store
from learning.announcements import Announcements
from learning.approval import Approval
from learning.serving import Serving
from learning.steps import Judged, Steps, Track

log = logging.getLogger(__name__)

CANCELLED = "cancelled by an operator"
FORGOTTEN = "someone's words in it were deleted"
STARTS = 3
"""A run that was interrupted so often is given up: it may be what ends the process."""


@dataclass(slots=True)
class _Waiting:
    """A run that is in the store and has not ended."""

    id: int
    name: str | None = None
    starts: int = 0


class Runs:
    """Carries out one run after another.

    Args:
        steps: what a run consists of.
        approval: what becomes of a verdict.
    """

    def __init__(
        self, store: Store, steps: Steps, serving: Serving, approval: Approval,
        announcements: Announcements, config: LearningConfig, clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._steps = steps
        self._serving = serving
        self._approval = approval
        self._announcements = announcements
        self._config = config
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._asking = asyncio.Lock()
        self._track: Track | None = None
        self._task: asyncio.Task[object] | None = None
        self._giving_up = ""
        self._idle = asyncio.Event()
        self._idle.set()
        self._due = ""
        self._paused = False
        self.tried: datetime | None = None
        """When a run was last due by itself, whether or not there was enough to learn from."""

    @property
    def on(self) -> Track | None:
        """The run that is on."""
        return self._track

    @property
    def queued(self) -> bool:
        """Whether another one follows."""
        return bool(self._waiting or self._due)

    @property
    def paused(self) -> bool:
        """Whether no run is to begin; the one that is on goes on."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        self._wake.set()

    async def recover(self) -> None:
        """At start: take up what did not end, throw away what no run needs."""
        unfinished = await self._store.unfinished_runs()
        await self._steps.sweep({run.adapter for run in unfinished if run.adapter})
        if self._config.enabled:
            self._waiting.extend(
                _Waiting(run.id, run.adapter, int(run.metrics.get("starts", 0)))
                for run in unfinished
            )
        self._wake.set()

    def due(self, trigger: str) -> None:
        """Begin a run soon; only a note is taken, nobody waits."""
        self._due = trigger
        self._wake.set()

    async def carry_out(self) -> None:
        """Carry out runs as they are asked for, until cancelled."""
        while True:
            await self._attempt(await self._next())

    async def _next(self) -> _Waiting:
        while True:
            if not self._paused and self._waiting:
                return self._waiting.popleft()
            if not self._paused and self._due:
                await self._start_due()
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _start_due(self) -> None:
        trigger, self._due, self.tried = self._due, "", self._clock()
        try:
            await self.request(trigger)
        except RapportError as error:
            log.info("no run by %s: %s", trigger, error)

    async def request(self, trigger: str) -> Asked:
        """Ask for a run; at most one waits behind the one that is on.

        Raises:
            NothingToLearn: too few votes, with the numbers.
        """
        async with self._asking:
            if self._waiting:
                run = self._waiting[-1].id
                return Asked(run, f"Run {run} waits already and will see the newest votes.")
            on = self._track
            if on is None:
                await self._steps.gather()
            settings = self._config.model_dump(include={
                "seed", "objective", "sft", "taste", "preference", "gate", "min_examples",
            })
            run = await self._store.start_run(trigger, settings)
            await self._store.update_run(run, status="queued", stage="queued")
            self._waiting.append(_Waiting(run))
            self._wake.set()
            text = f"Run {run} starts now." if on is None else f"Run {run} follows run {on.run}."
            await self._announcements.tell("queued", text, run=run)
            return Asked(run, text)

    async def cancel(self) -> str:
        """Give up the run that is on, or else the one that waits."""
        if self._track is not None and self._task is not None:
            if self._track.now.stage == "publishing":
                raise LearningError(f"{self._track.name} is judged already; roll back instead")
            if not self._giving_up:
                self._giving_up = CANCELLED
                self._task.cancel()
            return f"Run {self._track.run} is being cancelled."
        if not self._waiting:
            raise LearningError("no run is on")
        waiting = self._waiting.pop()
        await self._end(waiting.id, waiting.name, "cancelled", CANCELLED)
        return f"Run {waiting.id} is cancelled."

    async def stop_holding(self, exchanges: Collection[int]) -> list[int]:
        """End the runs whose data has any of these exchanges, and wait for that."""
        held = await self._steps.holding(exchanges)
        stopped = [waiting for waiting in self._waiting if waiting.name in held]
        for waiting in stopped:
            self._waiting.remove(waiting)
            await self._end(waiting.id, waiting.name, "cancelled", FORGOTTEN)
        runs = [waiting.id for waiting in stopped]
        track = self._track
        # Before its data is frozen nobody can tell what a run has gathered.
        if track is not None and (track.name in held or track.now.stage == "preparing"):
            if self._task is not None and track.now.stage != "publishing":
                self._giving_up = self._giving_up or FORGOTTEN
                self._task.cancel()
                runs.append(track.run)
            await self._idle.wait()
        return runs

    async def _learn(self, track: Track) -> Judged:
        """One run, from votes to a version that serves or a reason why not."""
        snapshot = await self._steps.freeze(track)
        await self._steps.train(track, snapshot)
        while True:
            judged = await self._steps.judge(track, snapshot)
            await track.enter("publishing", "published", f"run {track.run}: {track.name} is judged")
            # Before anybody hears of it: whoever does may approve at once.
            status = await self._approval.settle(track.name, judged.outcome)
            await self._announcements.tell(
                "verdict", f"{track.name}: {judged.sentence}", run=track.run, adapter=track.name,
                outcome=judged.outcome,
            )
            if status == "waiting":
                return replace(judged, sentence=await self._approval.ask(track.name, track.run))
            if status != "candidate":
                return judged
            if await self._serving.promote(track.name, judged.sentence, over=judged.champion):
                await self._announcements.tell(
                    "swapped", f"{track.name} serves now", run=track.run, adapter=track.name
                )
                return judged

    async def _attempt(self, waiting: _Waiting) -> None:
        """Carry out one run; whatever goes wrong ends the run, never the loop."""
        self._giving_up = ""
        self._idle.clear()
        try:
            name = waiting.name or await self._store.next_version()
            track = self._track = Track(self._store, self._announcements, waiting.id, name)
            self._task = asyncio.current_task()
            status, message = await self._outcome(track, waiting.starts)
            self._task = None
            await track.flush()
            await self._end(waiting.id, name, status, message)
        except (EngineClosed, asyncio.CancelledError) as stop:
            # An orderly end is no sign that it is the run that ends processes.
            await self._store.update_run(waiting.id, metrics={"starts": waiting.starts})
            log.info("run %s stops with the bot; it goes on after the next start", waiting.id)
            if isinstance(stop, asyncio.CancelledError):
                raise
        except Exception:  # the job border: it stays unfinished, and the next start takes it up
            log.exception("run %s could not be ended", waiting.id)
        finally:
            self._track = self._task = None
            self._idle.set()

    async def _outcome(self, track: Track, starts: int) -> tuple[EventKind, str]:
        try:
            if starts >= STARTS:
                raise LearningError(f"given up after {STARTS} interrupted starts")
            await self._store.update_run(
                track.run, status="training", adapter=track.name, metrics={"starts": starts + 1}
            )
            judged = await self._learn(track)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._giving_up or task is None or task.uncancel() > 0:
                raise
            return "cancelled", self._giving_up
        except EngineClosed:
            raise
        except RapportError as error:
            return "failed", str(error)
        except Exception as error:  # the job border
            log.exception("run %s failed", track.run)
            return "failed", f"unexpected {type(error).__name__}: {error}"
        return "finished", judged.sentence

    async def _end(self, run: int, name: str | None, status: EventKind, message: str) -> None:
        """Close a run in the store, then throw away what only it needed."""
        if name in {ref.name for ref in await self._store.adapters() if ref.status == "candidate"}:
            await self._store.set_adapter_status(str(name), "rejected")
        await self._store.update_run(
            run, status=status, stage=status, message=message, finished=self._clock()
        )
        try:
            if name is not None:
                await self._serving.release(name)
                await self._steps.clear(name)
            await self._steps.prune(self._config.keep_versions)
        except (RapportError, OSError) as error:
            log.warning("run %s left something behind, until the next start: %s", run, error)
        if self._track is not None and self._track.run == run:
            self._track = None
        await self._announcements.tell(
            status, f"run {run} {status}: {message}", run=run, adapter=name or ""
        )
