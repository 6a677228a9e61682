"""Every run as a row, and one of them in full: its curves, its verdict, what the gate asked.

The newest run is shown in full until somebody chooses another.
"""

from __future__ import annotations

from datetime import UTC, datetime

from nicegui import ui

from bot.answers import in_short
from bot.dashboard.charts import curve_options
from bot.dashboard.desk import Desk
from bot.dashboard.figures.runs import CheckRow, RunRow, check_rows, run_curves, run_rows
from bot.dashboard.parts import Chart, Choice, panel
from bot.dashboard.tables import Column, Sheet
from bot.dashboard.wording import OUTCOMES, TRIGGERS, moment
from bot.learning_port import LearningStatus

WORDS = 140
"""Characters of a verdict in a row; below the table it stands in full."""


class Runs:
    """The runs, in the slot that is open when this is made."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rows: dict[int, RunRow] = {}
        self._on = 0
        self._drawn: object = None
        with panel("Runs"):
            self._sheet = Sheet(
                "runs",
                (Column("id", "run", "number"), Column("started", "started (UTC)"),
                 Column("trigger", "why"), Column("seconds", "took", "seconds"),
                 Column("status", "status"), Column("adapter", "version"),
                 Column("outcome", "the gate"), Column("sentence", "in words", "long")),
                "No run yet: once there are a few 👍 and 👎, press “Learn from the votes now”.",
                sort="id",
            )  # fmt: skip
        with panel("One run") as self._detail:
            self._choice = Choice("run", self._draw)
            self._sentence = ui.label("").classes("text")
            self._no_curve = ui.label("").classes("muted")
            self._chart = Chart("Loss of the run by step: learned from, and set aside")
            with ui.expansion("What the gate asked").classes("asked") as self._asked:
                self._checks = ui.element("ul").classes("checks").props('aria-label="Checks"')

    async def refresh(self, status: LearningStatus) -> None:
        """Read the runs and show them."""
        rows = await run_rows(self._desk.store, datetime.now(UTC))
        self._rows = {row.id: row for row in rows}
        self._on = status.running.run if status.running is not None else 0
        self._sheet.show([
            {"id": row.id, "started": moment(row.started),
             "trigger": TRIGGERS.get(row.trigger, row.trigger), "seconds": round(row.seconds),
             "status": row.status, "adapter": row.adapter,
             "outcome": OUTCOMES.get(row.outcome, row.outcome),
             "sentence": in_short(row.sentence, WORDS)}
            for row in rows
        ])  # fmt: skip
        self._detail.set_visibility(bool(rows))
        if rows:
            self._choice.offer({row.id: _title(row) for row in rows}, rows[0].id, follow=True)
            await self._draw()

    async def _draw(self) -> None:
        row = self._rows.get(self._choice.value)
        if row is None:
            return
        self._sentence.set_text(row.sentence)
        curves = await run_curves(self._desk.store, row.id)
        self._chart.set_visibility(bool(curves.loss))
        self._no_curve.set_text(_without_curve(on=row.id == self._on) if not curves.loss else "")
        if curves.loss:
            self._chart.draw(curve_options(row.id, curves))
        checks = await check_rows(self._desk.store, row.adapter)
        if (row.id, checks) != self._drawn:
            self._drawn = (row.id, checks)
            failed = sum(not check.passed for check in checks)
            self._asked.set_text(f"What the gate asked: {len(checks)} checks, {failed} failed")
            self._asked.set_visibility(bool(checks))
            self._draw_checks(checks)

    def _draw_checks(self, checks: list[CheckRow]) -> None:
        self._checks.clear()
        with self._checks:
            for check in checks:
                with ui.element("li"):
                    ui.label("✓" if check.passed else "✗").classes(
                        "good" if check.passed else "bad"
                    ).props(f'aria-label="{"passed" if check.passed else "failed"}" role="img"')
                    ui.label(check.name)
                    ui.label(check.reason).classes("text reason")


def _without_curve(*, on: bool) -> str:
    if on:
        return "There is no curve yet: its training has not begun."
    return "There is no curve: the run ended before its training began."


def _title(row: RunRow) -> str:
    told = OUTCOMES.get(row.outcome, row.status)
    return f"run {row.id}: {row.adapter or 'no version'}, {told}"
