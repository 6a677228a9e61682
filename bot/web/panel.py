"""Learning beside the chat: votes go in, a version comes out, and one sees it happen.

What a run does, the verdict and who serves come through `bot.learning_port.Learning`; here it is
only asked for and drawn. The panel looks once a second while its page is open, and hears notices
as they come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from bot.dashboard.charts import curve_options
from bot.dashboard.parts import Chart, attempt
from bot.dashboard.wording import sentence, votes
from bot.errors import RapportError
from bot.learning_port import Crowd, Learning
from bot.lessons import report_answer
from bot.platforms.base import Notice
from bot.web.blocks import draw_answer
from bot.web.standing import SECONDS, Standing, Standings

NOTICES = 6
"""Notices that stay in sight."""
CURVE = 210
"""Pixels of the height of the curve."""
VOTES = (60, 120, 200)
STAGES = {
    "preparing": "Preparing: the base model answers what people rated",
    "training": "Training on what people liked",
    "judging": "Judging: the new version against the one that serves",
    "publishing": "Publishing",
}


class Panel:
    """The panel of one page, in the slot that is open when `build` is called."""

    def __init__(
        self, learning: Learning, standings: Standings, crowd: Crowd | None,
        hear: Callable[[Callable[[Notice], None]], Callable[[], None]],
    ) -> None:
        """`hear` has a function told of notices, and returns what ends that."""
        self._learning = learning
        self._standings = standings
        self._crowd = crowd
        self._hear = hear
        self._verdict = ""

    async def build(self) -> ui.element:
        """Draw it and keep it true until the browser leaves."""
        with ui.element("aside").classes("panel-side").props('aria-label="Learning"') as side:
            self._draw_state()
            self._draw_run()
            self._draw_verdict()
            if self._crowd is not None:
                self._draw_crowd(self._crowd)
            ui.label("What happened").classes("heading")
            self._log = ui.element("div").classes("notices").props('role="status"')
        ui.context.client.on_delete(self._hear(self._notice))
        await self._look()
        ui.timer(SECONDS, self._look)
        return side

    def _draw_state(self) -> None:
        ui.label("Learning").classes("heading")
        with ui.element("div").classes("state"):
            self._serving = ui.label().classes("title")
            self._liked = ui.label().classes("muted")
            self._votes = ui.label().classes("muted")
        with ui.element("div").classes("buttons"):
            self._retrain = ui.button("Retrain", icon="school", on_click=self._ask_run).props(
                "no-caps unelevated")
            self._cancel = ui.button(
                "Give up", on_click=lambda: self._do(self._learning.cancel())
            ).props("no-caps flat")
            self._back = ui.button(
                "Roll back", icon="undo", on_click=lambda: self._do(self._learning.rollback())
            ).props("no-caps flat")

    def _draw_run(self) -> None:
        with ui.element("div") as self._progress:
            self._stage = ui.label().classes("muted")
            self._bar = ui.linear_progress(0.0, show_value=False, size="8px").props(
                'rounded aria-label="Progress of the run"')
        self._chart = Chart("Loss of the run by step: learned from, and set aside")
        self._chart.set_visibility(False)

    def _draw_verdict(self) -> None:
        with ui.element("div") as self._judged:
            ui.label("The last verdict").classes("heading")
            self._outcome = ui.label().classes("text author")
            self._reasons = ui.label().classes("text muted")
            self._details = ui.button(
                "Checks, and replies before and after", icon="table_rows",
                on_click=self._show_report,
            ).props("flat dense no-caps")
        self._judged.set_visibility(False)

    def _draw_crowd(self, crowd: Crowd) -> None:
        ui.label("No time to vote?").classes("heading")
        ui.label("Let simulated people talk with the bot and rate it by a taste.").classes("muted")
        tastes = crowd.tastes()
        with ui.element("div").classes("buttons"):
            self._taste = ui.select(tastes, value=next(iter(tastes))).props(
                'outlined dense options-dense aria-label="Their taste"').classes("grow")
            self._number = ui.select({n: f"{n} votes" for n in VOTES}, value=VOTES[0]).props(
                'outlined dense options-dense aria-label="How many votes"')
        self._play = ui.button(
            "Let them vote", icon="groups", on_click=lambda: self._let_vote(crowd)
        ).props("no-caps outline").classes("wide")
        self._leave = ui.button("Send them away", on_click=crowd.close).props(
            "no-caps flat").classes("wide")
        self._trouble = ui.label().classes("bad").props('role="status"')
        self._played = ui.linear_progress(0.0, show_value=False, size="8px").props(
            'rounded aria-label="Votes so far"')
        self._played.set_visibility(False)

    async def _look(self, *, anew: bool = False) -> None:
        """See how things stand, and draw what changed."""
        try:
            standing = await self._standings.now(anew=anew)
        except RapportError as error:
            self._votes.set_text(f"What you see is no longer fresh: {error}")
            return
        status, likes, rated = standing.status, standing.likes, standing.rated
        self._serving.set_text(
            "The base model answers" if status.serving == "base" else f"{status.serving} answers"
        )
        self._liked.set_text(
            f"{likes} of {rated} rated replies liked ({likes / rated:.0%})" if rated
            else "None of its replies has been rated yet"
        )
        self._votes.set_text(f"{votes(status.votes_since)} since the last run")
        self._back.set_visibility(status.serving != "base" and status.running is None)
        self._show_run(standing)
        if status.verdict != self._verdict:
            self._verdict = status.verdict
            outcome, _, reasons = status.verdict.partition(". ")
            self._outcome.set_text(outcome + ("." if reasons else ""))
            self._reasons.set_text(reasons)
            self._judged.set_visibility(bool(status.verdict))
        if self._crowd is not None:
            self._show_crowd(self._crowd)

    def _show_run(self, standing: Standing) -> None:
        running, curves = standing.status.running, standing.curves
        self._retrain.set_enabled(running is None)
        self._cancel.set_visibility(running is not None)
        self._progress.set_visibility(running is not None)
        if running is None:
            return
        left = "" if running.eta_seconds is None else f", about {running.eta_seconds:.0f} s left"
        self._stage.set_text(f"{STAGES.get(running.stage, running.stage)}{left}")
        self._bar.set_value(round(running.progress, 3))
        self._chart.set_visibility(bool(curves.loss))
        if curves.loss:
            self._chart.draw(curve_options(running.run, curves), CURVE)

    def _show_crowd(self, crowd: Crowd) -> None:
        done, total = crowd.progress
        self._played.set_visibility(total > 0)
        self._leave.set_visibility(total > 0)
        self._play.set_visibility(total == 0)
        self._played.set_value(done / total if total else 0.0)
        self._trouble.set_text(crowd.trouble)

    async def _ask_run(self) -> None:
        async def ask() -> str:
            return (await self._learning.retrain()).text

        await self._do(ask())

    async def _do(self, act: Awaitable[str]) -> None:
        await attempt(act)
        await self._look(anew=True)

    async def _show_report(self) -> None:
        self._details.props("loading")  # its picture is drawn anew
        try:
            report = await self._learning.report()
        except RapportError as error:
            ui.notify(sentence(error), type="warning")
            return
        finally:
            self._details.props(remove="loading")
        with ui.dialog(value=True) as dialog, ui.card().classes("why"):
            draw_answer(report_answer(report))
            ui.button("Close", on_click=dialog.close).props("flat no-caps")
        dialog.on("hide", dialog.delete)

    async def _let_vote(self, crowd: Crowd) -> None:
        try:
            await crowd.start(self._taste.value, self._number.value)
        except RapportError as error:
            ui.notify(sentence(error), type="warning")
        await self._look()

    def _notice(self, notice: Notice) -> None:
        if notice.kind == "progress":
            return
        with self._log:
            ui.label(notice.text).classes(f"notice {notice.kind}")
        while len(self._log.default_slot.children) > NOTICES:
            self._log.remove(0)
