"""What pages are built of: tiles, panels, charts, choices, and questions before something is done.

Each changes in place, and only where what it shows has changed, so that focus and scroll position
stay where they are. Everything is written as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nicegui import ui

from bot.dashboard.charts import Options
from bot.dashboard.wording import NOTHING, sentence
from bot.errors import RapportError


class Tile:
    """A number with its name, and a line that explains it."""

    def __init__(self, title: str) -> None:
        with ui.element("div").classes("tile").props(f'role="group" aria-label="{title}"'):
            ui.label(title).classes("tile-title")
            self._value = ui.label(NOTHING).classes("tile-value")
            self._note = ui.label("").classes("muted")

    def show(self, value: str, note: str = "") -> None:
        """Tell what there is now."""
        self._value.set_text(value)
        self._note.set_text(note)


@contextmanager
def panel(title: str, note: str = "") -> Iterator[ui.element]:
    """A part of a page with a heading."""
    with ui.element("section").classes("panel").props(f'aria-label="{title}"') as found:
        heading(title)
        if note:
            ui.label(note).classes("muted")
        yield found


def heading(title: str) -> None:
    """The heading of a part, for screen readers too."""
    with ui.element("h2").classes("panel-title"):
        ui.label(title)


class Chart:
    """A chart with words for those who do not see it."""

    def __init__(self, label: str) -> None:
        self._shown: Options = {}
        self._label = label
        self._box = ui.element("div").classes("chart-box")
        self._chart: ui.echart | None = None

    def draw(self, options: Options, height: int = 0) -> None:
        """Draw this, if it is not what is there; `height` in pixels, else the stylesheet's."""
        if options == self._shown:
            return
        series = [one.get("name") for one in self._shown.get("series", ())]
        self._shown = options
        if self._chart is None or series != [one.get("name") for one in options["series"]]:
            # ECharts merges what it is told into what it has: other series need a new chart.
            self._box.clear()
            with self._box:
                self._chart = ui.echart(options).classes("chart").props(
                    f'role="img" aria-label="{self._label}"'
                )
        else:
            self._chart.options.clear()
            self._chart.options.update(options)
            self._chart.update()
        if height:
            self._chart.style(f"height: {height}px")

    def set_visibility(self, visible: bool) -> None:
        """Show it, or do not."""
        self._box.set_visibility(visible)


class Choice:
    """One of several that change while the page is open."""

    def __init__(
        self, label: str, chosen: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._offered: dict[Any, str] | None = None
        self._first: object = None
        self._select = ui.select(
            {}, label=label, on_change=None if chosen is None else lambda: chosen()
        ).props("outlined dense options-dense").classes("field")

    def offer(
        self, options: Mapping[Any, str], first: object = None, *, follow: bool = False
    ) -> None:
        """Offer these; what is chosen stays, unless it is gone or nothing was: then `first`.

        With `follow`, who has not chosen anything but the first sees the next first as well.
        """
        found = dict(options)
        if found == self._offered:
            return
        now = self._select.value
        stays = now in found and not (follow and now == self._first)
        self._offered, self._first = found, first
        kept = now if stays else first
        self._select.set_options(found, value=kept if kept in found else None)
        self._select.set_enabled(bool(found))

    @property
    def value(self) -> Any:
        """What is chosen; None where nothing is."""
        return self._select.value


def button(text: str, icon: str, act: Callable[[], object]) -> ui.button:
    """Something that can be done; coroutines are awaited."""
    # Without a colour of Quasar's, which would be too dark on dark pages.
    made = ui.button(text, icon=icon or None, on_click=act, color=None)
    return made.props("no-caps outline").classes("act")


async def confirmed(question: str, consequence: str, yes: str) -> bool:
    """Whether somebody who asked for it still wants it, knowing what follows."""
    with ui.dialog() as dialog, ui.card().classes("question").props(
        f'role="alertdialog" aria-label="{question}"'
    ):
        ui.label(question).classes("title")
        ui.label(consequence)
        with ui.element("div").classes("buttons"):
            ui.button(yes, on_click=lambda: dialog.submit(True)).props("no-caps unelevated")
            button("Leave it", "", lambda: dialog.submit(False)).props("flat", remove="outline")
    answer = await dialog
    dialog.delete()
    return bool(answer)


async def attempt(act: Awaitable[str]) -> bool:
    """Do something and tell what came of it; False where it was refused."""
    try:
        told = await act
    except RapportError as error:
        ui.notify(sentence(error), type="warning", multi_line=True)
        return False
    ui.notify(sentence(told), type="positive", multi_line=True)
    return True
