"""The learning loop: votes -> snapshot -> train -> judge -> swap, one run at a time.

`_learn` is the whole journey on one page. Everything it does is durable before the next
step begins, and every step looks first for what is done already, so a run that was
interrupted simply starts `_learn` again. The loop knows when a run may start, what a
verdict leads to, and what an operator may ask of it; the steps themselves, the disk and
what serves are other modules'.

`recover` once at start, then `run` for as long as the bot lives; everything else is
`bot.learning_port.Learning`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bot.config import Config
from bot.engine.base import Engine
from bot.errors import EngineClosed, LearningError, RapportError
from bot.learning_port import Asked, EventKind, LearningEvent, LearningStatus, Report
from bot.store import Store
from bot.types import BASE, AdapterRef, ChannelKey, Vote
from learning.announcements import Announcements
from learning.approval import Approval
from learning.export import exported
from learning.gate import judge as gate_judge
from learning.registry import Registry
from learning.report import report_of
from learning.schedule import Schedule
from learning.serving import Serving
from learning.steps import Judge, Judged, Steps, Track, Trainer
from learning.trainer import training_job

log = logging.getLogger(__name__)

PAUSED = "learning.paused"
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


class LearningLoop:
    """The learning half of one Rapport.

    Args:
        data: the data folder; frozen data of unfinished runs lies in its ``runs``.
        clock: the time, with a time zone.
        train, judge: what makes and what judges a candidate.

    Raises:
        ConfigError: `learning.schedule` cannot be understood.
    """

    def __init__(
        self, engine: Engine, store: Store, registry: Registry, config: Config, data: Path, *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        train: Trainer = training_job,
        judge: Judge = gate_judge,
    ) -> None:
        self._store = store
        self._config = config.learning
        self._clock = clock
        self._announcements = Announcements(store, clock)
        self._serving = Serving(
            engine, store, registry, self._announcements, config.engine.adapter_slots, clock
        )
        self._approval = Approval(
            store, self._serving, self._announcements, asked=self._config.approval == "admin"
        )
        self._steps = Steps(
            engine, store, registry, self._serving, config, data / "runs", clock, train, judge
        )
        self._schedule = Schedule(config.learning.schedule, self._automatic, clock)
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._asking = asyncio.Lock()
        self._track: Track | None = None
        self._task: asyncio.Task[object] | None = None
        self._giving_up = ""
        self._idle = asyncio.Event()
        self._idle.set()
        self._paused = False
        self._due = ""
        self._tried: datetime | None = None

    async def recover(self) -> None:
        """At start, before anything is served: agree with the disk, take up unfinished runs."""
        await self._serving.recover()
        self._paused = bool(await self._store.get_setting(PAUSED))
        unfinished = await self._store.unfinished_runs()
        await self._steps.sweep({run.adapter for run in unfinished if run.adapter})
        if self._config.enabled:
            self._waiting.extend(
                _Waiting(run.id, run.adapter, int(run.metrics.get("starts", 0)))
                for run in unfinished
            )
        self._wake.set()

    async def run(self) -> None:
        """Carry out runs as they are asked for, until cancelled."""
        self._schedule.start()
        try:
            await self._count_votes()
            while True:
                await self._attempt(await self._next())
        finally:
            self._schedule.stop()

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
        trigger, self._due, self._tried = self._due, "", self._clock()
        try:
            await self._request(trigger)
        except RapportError as error:
            log.info("no run by %s: %s", trigger, error)

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
                "verdict", f"{track.name}: {judged.sentence}", run=track.run, adapter=track.name
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

    # What operators, conversations and pages ask: bot.learning_port.Learning

    def current(self, channel: ChannelKey) -> str:
        """The adapter a new reply in `channel` is to come from; never waits."""
        return self._serving.current(channel)

    def listen(self, callback: Callable[[LearningEvent], None]) -> Callable[[], None]:
        """Call `callback` with each event; returns what ends that."""
        return self._announcements.listen(callback)

    async def on_vote(self, vote: Vote) -> None:
        """Say that a vote has been stored."""
        if vote.value:
            await self._count_votes()

    async def _count_votes(self) -> None:
        if self._schedule.counts_votes and not (self._due or self._waiting):
            await self._schedule.on_votes(await self._votes_since(self._tried))

    async def _votes_since(self, tried: datetime | None = None) -> int:
        times = [run.started for run in await self._store.runs(1)]
        return await self._store.count_votes(max([*times, tried] if tried else times, default=None))

    async def _automatic(self, trigger: str) -> None:
        """Only take note: whoever voted must not wait for what follows."""
        if self._config.enabled and not self._paused:
            self._due = trigger
            self._wake.set()

    async def retrain(self) -> Asked:
        """Ask for a run now; at most one waits behind the one that is on.

        Raises:
            NothingToLearn: too few votes, with the numbers.
            LearningError: paused or switched off.
        """
        if not self._config.enabled:
            raise LearningError("learning is switched off; set learning.enabled in config.toml")
        if self._paused:
            raise LearningError("learning is paused; resume it first")
        return await self._request("command")

    async def _request(self, trigger: str) -> Asked:
        async with self._asking:
            if self._waiting:
                run = self._waiting[-1].id
                return Asked(run, f"Run {run} waits already and will see the newest votes.")
            on = self._track
            if on is None:
                await self._steps.gather()
            settings = self._config.model_dump(include={"seed", "sft", "gate", "min_examples"})
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

    async def status(self) -> LearningStatus:
        """How things stand."""
        verdicts = await self._store.verdicts()
        return LearningStatus(
            serving=self._serving.champion,
            votes_since=await self._votes_since(),
            running=None if self._track is None else self._track.now,
            queued=bool(self._waiting or self._due),
            verdict=str(verdicts[-1]["sentence"]) if verdicts else "",
            next_time=None if self._paused else self._schedule.next_time(),
            paused=self._paused,
            tries={str(channel): name for channel, name in self._serving.tries.items()},
        )

    async def adapters(self) -> list[AdapterRef]:
        """Every version, oldest first."""
        return await self._store.adapters()

    async def report(self, name: str | None = None) -> Report:
        """The newest verdict, or the newest on this version."""
        return await report_of(self._store, name)

    async def approve(self, name: str) -> str:
        """Let a version that waits for approval serve."""
        return await self._approval.approve(name)

    async def veto(self, name: str) -> str:
        """Turn a version away that waits for approval; it never serves."""
        return await self._approval.veto(name)

    async def try_version(self, channel: ChannelKey, name: str | None) -> str:
        """Let one channel talk with a version, or with None follow the others again."""
        await self._serving.try_version(channel, name)
        if name is None:
            return f"This channel follows the others again ({self._serving.champion})."
        return f"This channel talks with {'the base model' if name == BASE else name} now."

    async def rollback(self, to: str | None = None) -> str:
        """Serve the champion before this one again, or the one named, or ``base``."""
        name = await self._serving.rollback(to)
        return f"Rolled back: {'the base model' if name == BASE else name} serves now."

    async def forget(self, exchanges: Collection[int]) -> str:
        """Unlearn exchanges that were deleted; a sentence on what that meant.

        Runs that hold them are given up, and one begins anew without them. Versions that
        were trained on them never serve again.
        """
        stopped = await self._stop_runs(exchanges)
        gone = await self._serving.forget(exchanges)
        if stopped:
            await self._automatic("forgetting")
        told = "No version was trained on that."
        if gone:
            serving = "the base model" if self._serving.champion == BASE else self._serving.champion
            told = f"{', '.join(gone)} learned from that and cannot serve again; {serving} serves."
        if stopped:
            told += f" Given up: {', '.join(f'run {run}' for run in stopped)}."
            told += " Another run begins without it." if self._due else ""
        return told

    async def _stop_runs(self, exchanges: Collection[int]) -> list[int]:
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

    async def export(self, form: str) -> str:
        """All votes of people who consent, as text: csv, or sft, kto or dpo as JSON lines."""
        return (await exported(self._store, self._config, form))[0]

    async def pause(self) -> str:
        """Start no runs until `resume`; the one that is on goes on. Survives a restart."""
        await self._store.set_setting(PAUSED, True)
        self._paused = True
        return "Learning is paused; votes are still counted."

    async def resume(self) -> str:
        """Let runs start again."""
        await self._store.set_setting(PAUSED, False)
        self._paused = False
        self._wake.set()
        await self._count_votes()
        return "Learning goes on."
