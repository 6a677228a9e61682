"""The learning half of one Rapport, put together: what operators and conversations ask of it.

The loop knows when a run may start and what may be asked; how a run goes is `learning.runs`',
which version answers `learning.serving`'s, whether it goes on doing so `learning.watch.watcher`'s,
when a run is due `learning.schedule`'s.

`recover` once at start, then `run` for as long as the bot lives; everything else is
`bot.learning_port.Learning`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from bot.config import Config
from bot.engine.base import Engine
from bot.errors import LearningError
from bot.learning_port import (
    Asked,
    LearningEvent,
    LearningStatus,
    RaterTrust,
    Report,
    ReviewItem,
    SideBySide,
)
from bot.store import Store
from bot.types import BASE, AdapterRef, ChannelKey, FinishReason, Vote
from learning.announcements import Announcements
from learning.approval import Approval
from learning.gate.judge import judge as gate_judge
from learning.registry import Registry
from learning.reports.compared import side_by_side
from learning.reports.summary import report_of
from learning.runs import Runs
from learning.schedule import Schedule
from learning.serving import Serving
from learning.steps import Judge, Steps
from learning.tracking.follower import Follower
from learning.tracking.tracker import trackers_of
from learning.training.driven import Trainer
from learning.training.trainer import training_job
from learning.votes.export import exported
from learning.votes.raters import counting, raters_of
from learning.votes.review import ReviewQueue
from learning.watch.watcher import Watcher

PAUSED = "learning.paused"


class LearningLoop:
    """The learning half of one Rapport.

    Args:
        data: the data folder; frozen data of unfinished runs lies in its ``runs``.
        clock: the time, with a time zone.
        train, judge: what makes and what judges a candidate.

    Raises:
        ConfigError: `learning.schedule` cannot be understood, or a package that
            `learning.tracking` needs is missing.
    """

    def __init__(
        self, engine: Engine, store: Store, registry: Registry, config: Config, data: Path, *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        train: Trainer = training_job,
        judge: Judge = gate_judge,
    ) -> None:
        self._store = store
        self._registry = registry
        self._config = config.learning
        self._clock = clock
        self._announcements = Announcements(store, clock)
        watch = self._config.watch
        self._serving = Serving(
            engine, store, registry, self._announcements, config.engine.adapter_slots, clock,
            share=watch.share if watch.enabled else 0.0,
        )
        self._follower = Follower(
            store, self._announcements, trackers_of(self._config.tracking)
        )
        self._watcher = Watcher(store, self._serving, self._announcements, watch, clock)
        self._approval = Approval(
            store, self._serving, self._announcements, asked=self._config.approval == "admin"
        )
        steps = Steps(
            engine, store, registry, self._serving, config, data / "runs", clock, train, judge
        )
        self._runs = Runs(
            store, steps, self._serving, self._approval, self._announcements, self._config, clock
        )
        self._look = steps.look
        self._queue = ReviewQueue(store, steps.look, clock)
        self._schedule = Schedule(config.learning.schedule, self._automatic, clock)

    async def recover(self) -> None:
        """At start, before anything is served: agree with the disk, take up unfinished runs."""
        await self._serving.recover()
        await self._watcher.recover()
        self._runs.paused = bool(await self._store.get_setting(PAUSED))
        await self._runs.recover()

    async def run(self) -> None:
        """Carry out runs as they are asked for and watch what serves, until cancelled."""
        self._schedule.start()
        try:
            await self._count_votes()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watcher.run(), name="watch")
                tasks.create_task(self._follower.run(), name="tracking")
                await self._runs.carry_out()
        finally:
            self._schedule.stop()

    @asynccontextmanager
    async def holding(self, names: Collection[str]) -> AsyncIterator[None]:
        """Have versions loaded for as long as the context lasts, whether or not they serve.

        Raises:
            AdapterError: unknown, damaged, or made for another base.
            LearningError: no slot is free.
        """
        held: list[str] = []
        try:
            for name in names:
                if name != BASE:
                    await self._serving.hold(name)
                    held.append(name)
            yield
        finally:
            for name in held:
                await self._serving.release(name)

    # What operators, conversations and pages ask: bot.learning_port.Learning

    def current(self, channel: ChannelKey) -> str:
        """The adapter a new reply in `channel` is to come from; never waits."""
        return self._serving.current(channel)

    def listen(self, callback: Callable[[LearningEvent], None]) -> Callable[[], None]:
        """Call `callback` with each event; returns what ends that."""
        return self._announcements.listen(callback)

    async def on_vote(self, vote: Vote) -> None:
        """Say that a vote has been stored."""
        self._watcher.voted(vote.exchange_id)
        if vote.value:
            await self._count_votes()

    def on_reply(
        self, adapter: str, finish: FinishReason, text: str, ids: Sequence[int]
    ) -> None:
        """Say how a reply of a version has ended; never waits."""
        self._watcher.replied(adapter, finish, text, ids)

    async def _count_votes(self) -> None:
        if self._schedule.counts_votes and not self._runs.queued:
            await self._schedule.on_votes(await self._votes_since(self._runs.tried))

    async def _votes_since(self, tried: datetime | None = None) -> int:
        times = [run.started for run in await self._store.runs(1)]
        return await self._store.count_votes(max([*times, tried] if tried else times, default=None))

    async def _automatic(self, trigger: str) -> None:
        """Only take note: whoever voted must not wait for what follows."""
        if self._config.enabled and not self._runs.paused:
            self._runs.due(trigger)

    async def retrain(self) -> Asked:
        """Ask for a run now; at most one waits behind the one that is on.

        Raises:
            NothingToLearn: too few votes, with the numbers.
            LearningError: paused or switched off.
        """
        if not self._config.enabled:
            raise LearningError("learning is switched off; set learning.enabled in config.toml")
        if self._runs.paused:
            raise LearningError("learning is paused; resume it first")
        return await self._runs.request("command")

    async def cancel(self) -> str:
        """Give up the run that is on, or else the one that waits."""
        return await self._runs.cancel()

    async def status(self) -> LearningStatus:
        """How things stand."""
        return LearningStatus(
            serving=self._serving.champion,
            votes_since=await self._votes_since(),
            running=None if self._runs.on is None else self._runs.on.now,
            queued=self._runs.queued,
            verdict=await self._store.last_sentence(),
            next_time=None if self._runs.paused else self._schedule.next_time(),
            paused=self._runs.paused,
            tries={str(channel): name for channel, name in self._serving.tries.items()},
            watched=await self._watcher.sentence(),
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

    async def promote(self, name: str) -> str:
        """Let a judged version serve on an operator's word, whatever the gate said."""
        return await self._approval.promote(name)

    async def difference(self, one: str, other: str) -> SideBySide:
        """Two versions side by side."""
        return await side_by_side(self._store, self._registry, one, other)

    async def raters(self) -> list[RaterTrust]:
        """Everybody whose votes hold, those with the most first, and who is banned."""
        return raters_of((await self._look()).votes, await self._store.banned())

    async def ban(self, rater: str, by: str) -> str:
        """Let somebody's votes count no more, past and future ones."""
        gone = await self._store.ban(rater, by, self._clock())
        return (
            f"{rater} is banned: {counting(gone)} not counted any more, nor is any that follows. "
            "The next run learns without them."
        )

    async def unban(self, rater: str, by: str) -> str:
        """Let a banned person's votes count again."""
        back = await self._store.unban(rater, by, self._clock())
        return f"{rater} is banned no more: {counting(back)} counted again."

    async def veto(self, name: str) -> str:
        """Turn a version away that waits for approval; it never serves."""
        return await self._approval.veto(name)

    async def review(self) -> list[ReviewItem]:
        """Liked replies that wait for an operator's word, oldest first."""
        return await self._queue.items()

    async def decide(self, exchange_id: int, keep: bool, by: str) -> str:
        """Say whether a reply may be learned from; a sentence on what follows."""
        return await self._queue.decide(exchange_id, keep, by)

    async def try_version(self, channel: ChannelKey, name: str | None) -> str:
        """Let one channel talk with a version, or with None follow the others again."""
        await self._serving.try_version(channel, name)
        if name is None:
            return f"This channel follows the others again ({self._serving.current(channel)})."
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
        stopped = await self._runs.stop_holding(exchanges)
        gone = await self._serving.forget(exchanges)
        self._watcher.forget()
        if stopped:
            await self._automatic("forgetting")
        told = "No version was trained on that."
        if gone:
            serving = "the base model" if self._serving.champion == BASE else self._serving.champion
            told = f"{', '.join(gone)} learned from that and cannot serve again; {serving} serves."
        if stopped:
            told += f" Given up: {', '.join(f'run {run}' for run in stopped)}."
            told += " Another run begins without it." if self._runs.queued else ""
        return told

    async def export(self, form: str) -> str:
        """All votes of people who consent, as text: csv, or sft, kto or dpo as JSON lines."""
        return (await exported(self._store, self._config, form))[0]

    async def pause(self) -> str:
        """Start no runs until `resume`; the one that is on goes on. Survives a restart."""
        await self._store.set_setting(PAUSED, True)
        self._runs.paused = True
        return "Learning is paused; votes are still counted."

    async def resume(self) -> str:
        """Let runs start again."""
        await self._store.set_setting(PAUSED, False)
        self._runs.paused = False
        await self._count_votes()
        return "Learning goes on."
