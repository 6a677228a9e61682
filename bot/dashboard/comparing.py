"""Two versions side by side: settings, data, verdicts, figures, and replies to the same prompts.

What they differ in is worked out by the learning half, when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from bot.dashboard.desk import Desk
from bot.dashboard.figures.versions import VersionRow
from bot.dashboard.parts import Choice, button, panel
from bot.dashboard.tables import plain_table
from bot.dashboard.wording import sentence
from bot.errors import RapportError


class Comparing:
    """The comparison, in the slot that is open when this is made."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        with panel("Two versions side by side"):
            with ui.element("div").classes("buttons"):
                self._one, self._other = Choice("one"), Choice("other")
                self._compare = button("Compare", "compare_arrows", self._draw)
            self._note = ui.label("").classes("muted")
            self._found = ui.element("div").classes("compared").props('aria-live="polite"')

    def offer(self, rows: Sequence[VersionRow]) -> None:
        """Offer these versions, the two newest at first."""
        names = {row.name: row.name for row in rows}
        newest = list(names)
        self._one.offer(names, first=newest[1] if len(newest) > 1 else None)
        self._other.offer(names, first=newest[0] if newest else None)
        self._compare.set_enabled(len(names) > 1)
        self._note.set_text("" if len(names) > 1 else "It takes two versions: learn once more.")

    async def _draw(self) -> None:
        one, other = self._one.value, self._other.value
        if one is None or other is None or one == other:
            ui.notify("Choose two different versions.")
            return
        try:
            found = await self._desk.learning.difference(one, other)
        except RapportError as error:
            ui.notify(sentence(error), type="warning")
            return
        self._found.clear()
        with self._found:
            for note in found.notes:
                ui.label(note).classes("muted")
            for section in found.sections:
                plain_table(section.title, section.columns, section.rows)
