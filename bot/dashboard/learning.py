"""The page about learning: the run that is on, all runs, all versions, and who serves.

Its parts are `bot.dashboard.runs`, `bot.dashboard.versions` and `bot.dashboard.comparing`; here
they are put together, and runs are asked for.
"""

from __future__ import annotations

from nicegui import ui

from bot.dashboard.comparing import Comparing
from bot.dashboard.desk import Desk
from bot.dashboard.figures.versions import called
from bot.dashboard.fresh import keep_fresh
from bot.dashboard.parts import attempt, button, confirmed, panel
from bot.dashboard.runs import Runs
from bot.dashboard.versions import Versions
from bot.dashboard.wording import lasting, votes
from bot.learning_port import LearningStatus, RunningStage


async def learning(desk: Desk) -> None:
    """Fill the page and keep it true while it is open."""
    now, runs, versions = _Now(desk), Runs(desk), Versions(desk)
    comparing = Comparing(desk)

    async def refresh() -> None:
        status = await desk.learning.status()
        now.show(status)
        await runs.refresh(status)
        comparing.offer(await versions.refresh(status))

    await keep_fresh(refresh)


class _Now:
    """What learning does at the moment, and what can be asked of it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with panel("Now"):
            self._line = ui.label("").classes("title")
            self._bar = ui.linear_progress(0.0, show_value=False, size="8px").props(
                'rounded aria-label="Progress of this stage"'
            ).classes("bar-line")
            self._note = ui.label("").classes("muted").props('role="status"')
            with ui.element("div").classes("buttons"):
                self._learn = button("Learn from the votes now", "school", self._retrain)
                self._cancel = button("Give up this run", "cancel", self._give_up)
                self._pause = button("Pause learning", "pause", self._hold)
                self._resume = button("Go on learning", "play_arrow", self._go_on)

    def show(self, status: LearningStatus) -> None:
        """Tell how things stand."""
        running = status.running
        self._line.set_text(_headline(status))
        self._bar.set_visibility(running is not None)
        self._bar.set_value(0.0 if running is None else round(running.progress, 3))
        self._note.set_text(_detail(status))
        self._learn.set_enabled(self._desk.config.learning.enabled and not status.paused)
        self._cancel.set_visibility(running is not None or status.queued)
        self._pause.set_visibility(not status.paused)
        self._resume.set_visibility(status.paused)

    async def _retrain(self) -> None:
        async def ask() -> str:
            return (await self._desk.learning.retrain()).text

        await attempt(ask())

    async def _give_up(self) -> None:
        if await confirmed(
            "Give up this run?", "What it has trained so far is lost. No vote is.", "Give it up"
        ):
            await attempt(self._desk.learning.cancel())

    async def _hold(self) -> None:
        await attempt(self._desk.learning.pause())

    async def _go_on(self) -> None:
        await attempt(self._desk.learning.resume())


def _headline(status: LearningStatus) -> str:
    if status.running is not None:
        run = status.running
        return f"Run {run.run}: {run.stage} {run.adapter}".rstrip()
    state = "Learning is paused" if status.paused else "No run is on"
    return f"{state}; {called(status.serving)} serves"


def _detail(status: LearningStatus) -> str:
    if status.running is None:
        waiting = "Another run begins in a moment. " if status.queued else ""
        return f"{waiting}{votes(status.votes_since)} since the last run. {status.watched}".strip()
    return _progress(status.running) + (" Another run follows." if status.queued else "")


def _progress(run: RunningStage) -> str:
    told = [f"{run.progress:.0%} of this stage"]
    if run.steps:
        told.append(f"step {run.step} of {run.steps}")
    if run.loss is not None:
        told.append(f"loss {run.loss:.3f}")
    if run.held_out is not None:
        told.append(f"held out {run.held_out:.3f}")
    if run.eta_seconds is not None and run.eta_seconds >= 1:
        told.append(f"about {lasting(run.eta_seconds)} left")
    return f"{', '.join(told)}."
