"""Every version as a row, who served when, and the ways to let another one serve.

Whatever changes who serves is asked again before it is done, with what follows from it.
"""

from __future__ import annotations

from nicegui import ui

from bot.answers import in_short
from bot.dashboard.desk import Desk
from bot.dashboard.figures.versions import Reign, VersionRow, called, reigns, version_rows
from bot.dashboard.parts import Choice, attempt, button, confirmed, panel
from bot.dashboard.runs import WORDS
from bot.dashboard.tables import Column, Sheet
from bot.dashboard.wording import OUTCOMES, moment
from bot.learning_port import LearningStatus
from bot.types import BASE

STANDING = {"champion": "serves", "waiting": "waits for your word", "retired": "served before",
            "rejected": "turned away", "shadow": "not yet told apart", "candidate": "in the making",
            "broken": "damaged"}
"""What a status means."""


class Versions:
    """The versions, in the slot that is open when this is made."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._serving = BASE
        self._rows: dict[str, VersionRow] = {}
        with panel("Versions"):
            self._sheet = Sheet(
                "versions",
                (Column("name", "version"), Column("status", "stands"),
                 Column("made", "made (UTC)"), Column("votes", "votes", "number"),
                 Column("liked", "liked", "share"), Column("interval", "95% between"),
                 Column("against", "compared with"), Column("outcome", "the gate"),
                 Column("sentence", "in words", "long")),
                "No version yet: the base model serves until a run has made one.",
                sort="name",
            )  # fmt: skip
        self._draw_serving()
        with panel("Who served when"):
            self._reigns = Sheet(
                "champions",
                (Column("since", "from (UTC)"), Column("until", "until (UTC)"),
                 Column("name", "version"), Column("reason", "why", "long")),
                "The base model has served from the start.", sort="since",
            )  # fmt: skip

    def _draw_serving(self) -> None:
        with panel("Change who serves", "New replies begin on it at once; those being written are "
                   "finished on the version they began with."):
            with ui.element("div").classes("buttons") as self._asked:
                self._waits = ui.label("").classes("text")
                button("Approve it", "check", self._approve)
                button("Turn it away", "block", self._veto)
            with ui.element("div").classes("buttons"):
                self._choice = Choice("version")
                self._promote = button("Let it serve", "publish", self._ask_promote)
            with ui.element("div").classes("buttons"):
                self._back = button("Back to the version before", "undo", self._ask_back)
                self._base = button("Back to the base model", "restart_alt", self._ask_base)

    async def refresh(self, status: LearningStatus) -> list[VersionRow]:
        """Read the versions and show them; gives them."""
        rows = await version_rows(self._desk.store)
        self._serving = status.serving
        self._rows = {row.name: row for row in rows}
        self._sheet.show([_shown(row) for row in rows])
        self._reigns.show([
            _reign(place, one) for place, one in enumerate(await reigns(self._desk.store))
        ])
        self._offer(rows)
        return rows

    def _offer(self, rows: list[VersionRow]) -> None:
        waiting = next((row.name for row in rows if row.status == "waiting"), "")
        self._asked.set_visibility(bool(waiting))
        self._waits.set_text(f"{waiting} passed the gate and waits for your word.")
        may = {
            row.name: f"{row.name}, {OUTCOMES.get(row.outcome, row.outcome)}"
            for row in rows if row.outcome and row.status not in ("champion", "broken")
        }
        self._choice.offer(may, first=next(iter(may), None))
        self._promote.set_enabled(bool(may))
        self._back.set_enabled(self._serving != BASE)
        self._base.set_enabled(self._serving != BASE)

    def _waiting(self) -> str:
        return next((row.name for row in self._rows.values() if row.status == "waiting"), "")

    async def _approve(self) -> None:
        name = self._waiting()
        if name and await confirmed(
            f"Let {name} serve?", self._rows[name].sentence, f"Let {name} serve"
        ):
            await attempt(self._desk.learning.approve(name))

    async def _veto(self) -> None:
        name = self._waiting()
        if name and await confirmed(
            f"Turn {name} away?", "It never serves, and no channel can try it.", "Turn it away"
        ):
            await attempt(self._desk.learning.veto(name))

    async def _ask_promote(self) -> None:
        row = self._rows.get(self._choice.value)
        if row is None:
            return
        told = OUTCOMES.get(row.outcome, row.outcome)
        if await confirmed(
            f"Let {row.name} serve instead of {called(self._serving)}?",
            f"The gate: {told}. {row.sentence}", f"Let {row.name} serve",
        ):
            await attempt(self._desk.learning.promote(row.name))

    async def _ask_back(self) -> None:
        if await confirmed(
            f"Take {called(self._serving)} back?",
            "The newest version before it that can serve does so again, or else the base model.",
            "Roll back",
        ):
            await attempt(self._desk.learning.rollback())

    async def _ask_base(self) -> None:
        if await confirmed(
            "Let the base model serve?",
            f"{called(self._serving)} is kept, and can be let serve again.",
            "Serve the base model",
        ):
            await attempt(self._desk.learning.rollback(BASE))


def _shown(row: VersionRow) -> dict[str, object]:
    low, high = row.rate.interval
    return {
        "id": row.name, "name": row.name, "status": STANDING.get(row.status, row.status),
        "made": moment(row.made), "votes": row.rate.rated,
        "liked": row.rate.value if row.rate.rated else None,
        "interval": f"{low:.0%} and {high:.0%}" if row.rate.rated else "",
        "against": row.against, "outcome": OUTCOMES.get(row.outcome, row.outcome),
        "sentence": in_short(row.sentence, WORDS),
    }


def _reign(place: int, one: Reign) -> dict[str, object]:
    return {
        "id": place, "since": moment(one.since), "name": called(one.name),
        "until": "now" if one.until is None else moment(one.until),
        "reason": in_short(one.reason, WORDS),
    }
