"""Tables: those that sort, turn pages and can be saved, and plain ones that do not change.

A table changes in place, and only where its rows have changed, so that sorting and scroll position
stay where they are. Every cell is text, never markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nicegui import ui

from bot.dashboard.figures.sheet import as_csv
from bot.dashboard.parts import button
from bot.dashboard.wording import NOTHING

Kind = Literal["text", "long", "number", "share", "seconds"]
Row = Mapping[str, object]
_FORMATS: Mapping[Kind, str] = {
    "share": f"value => value === null ? '{NOTHING}' : Math.round(100 * value) + '%'",
    "seconds": f"value => value === null ? '{NOTHING}' : value < 100 ? value + ' s' "
               ": Math.round(value / 60) + ' min'",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    label: str
    kind: Kind = "text"


class Sheet:
    """A table that sorts, turns pages, scrolls within its panel, and can be saved.

    Args:
        name: of the file it is saved as, without its ending.
        empty: what to do so that there is something to show.
        sort: the column it is sorted by at first, the greatest on top.
    """

    def __init__(
        self, name: str, columns: Sequence[Column], empty: str, sort: str = "", page: int = 8
    ) -> None:
        self._name = name
        self._columns = columns
        self._shown: list[dict[str, object]] | None = None
        self._empty = ui.label(empty).classes("muted empty-note")
        paging = {"rowsPerPage": page, "sortBy": sort or None, "descending": True}
        self._table = ui.table(
            rows=[], columns=[_column(one) for one in columns], pagination=paging
        ).classes("sheet").props("flat dense wrap-cells binary-state-sort")
        self._save = button(f"Save {name}.csv", "download", self._download).props(
            "flat dense", remove="outline"
        )
        for part in (self._empty, self._table, self._save):
            part.set_visibility(False)

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows; each has an ``id``."""
        found = [dict(row) for row in rows]
        if found == self._shown:
            return
        self._shown = found
        self._table.rows = found
        self._table.set_visibility(bool(found))
        self._save.set_visibility(bool(found))
        self._empty.set_visibility(not found)

    def _download(self) -> None:
        rows = [[row.get(one.name) for one in self._columns] for row in self._shown or ()]
        text = as_csv([one.label for one in self._columns], rows)
        ui.download.content(text.encode(), f"{self._name}.csv", "text/csv")


def plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table that does not change; columns without headings have none."""
    with ui.element("div").classes("scroll"), ui.element("table").classes("plain"):
        if title:
            with ui.element("caption"):
                ui.label(title)
        if any(columns):
            with ui.element("thead"), ui.element("tr"):
                for column in columns:
                    with ui.element("th").props('scope="col"'):
                        ui.label(column)
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for cell in row:
                        with ui.element("td"):
                            ui.label(cell).classes("cell")


def _column(one: Column) -> dict[str, Any]:
    words = one.kind in ("text", "long")
    return {
        "name": one.name, "label": one.label, "field": one.name, "sortable": True,
        "align": "left" if words else "right",
        "classes": "cell-long" if one.kind == "long" else "cell-short",
        **({":format": _FORMATS[one.kind]} if one.kind in _FORMATS else {}),
    }
