"""A room's lines, drawn: words, the version that said them, thumbs, and why.

One `Lines` belongs to one open page. It draws a line once and then changes only what changed,
a few times a second at most, however fast tokens come. What people and models say is text, never
markup.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from nicegui import ui

from bot.errors import RapportError
from bot.types import VoteValue
from bot.web.rooms import Line, Room

SOONEST, LATEST = 0.05, 0.2
"""Seconds between two drawings of what changes: not the same for all pages, or many of them would
be drawn at one moment and hold everything else up."""
SHOWN, ASIDES = 120, 10
"""Lines of a room that a page draws, and answers to commands that stay."""
THUMBS: tuple[tuple[VoteValue, str, str], ...] = (
    (1, "thumb_up", "Good reply"), (-1, "thumb_down", "Bad reply")
)


@dataclass(slots=True)
class _Drawn:
    """The elements of a line that change; few, because every page has its own of each."""

    box: ui.element
    text: ui.label
    badge: ui.label | None = None
    note: ui.label | None = None
    thumbs: dict[VoteValue, ui.button] = field(default_factory=dict)
    rival: _Rival | None = None


@dataclass(slots=True)
class _Rival:
    """Another answer, and the choice."""

    box: ui.element
    text: ui.label
    badge: ui.label
    choice: ui.element


class Lines:
    """What stands in a room, in the slot that is open when this is made."""

    def __init__(
        self, person: Callable[[], str], why: Callable[[Line], Awaitable[None]]
    ) -> None:
        """`person` says who looks at it now; `why` shows what a reply was made of."""
        self._person = person
        self._why = why
        self._room: Room | None = None
        self._drawn: dict[Line, _Drawn] = {}
        self._dirty: set[Line] = set()
        self._asides: list[ui.element] = []
        self._empty: ui.label | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._box = ui.element("div").classes("lines").props(
            'role="log" aria-label="Conversation" aria-live="polite"'
        )

    def show(self, room: Room) -> None:
        """Draw a room in place of the one before."""
        self._room = room
        self._box.clear()
        self._drawn.clear()
        self._dirty.clear()
        self._asides.clear()
        self._empty = None
        if not room.lines:
            with self._box:
                self._empty = ui.label(
                    f"Nothing has been said in #{room.name} yet. Say hello below."
                ).classes("muted empty")
        for line in room.lines[-SHOWN:]:
            self._draw(line)

    def change(self, line: Line | None) -> None:
        """Draw what changed, soon."""
        if line is None:
            if self._room is not None:
                self.show(self._room)
            return
        self._dirty.add(line)
        if self._timer is None:
            seconds = random.uniform(SOONEST, LATEST)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._flush)

    def redraw_votes(self) -> None:
        """Draw the thumbs anew: another person looks at them."""
        for line, drawn in self._drawn.items():
            self._draw_votes(line, drawn)

    def say(self, draw: Callable[[], None]) -> None:
        """Show something to this page alone, below everything that was said."""
        with self._box, ui.element("div").classes("line aside") as aside:
            draw()
        self._asides.append(aside)
        if len(self._asides) > ASIDES:
            self._asides.pop(0).delete()

    def _flush(self) -> None:
        self._timer = None
        dirty, self._dirty = self._dirty, set()
        if self._room is None or self._box.is_deleted:
            return
        for line in [one for one in self._room.lines if one in dirty]:
            if line in self._drawn:
                self._fill(line, self._drawn[line])
            else:
                self._draw(line)
        for line in list(self._drawn)[:-SHOWN]:
            self._drawn.pop(line).box.delete()

    def _draw(self, line: Line) -> None:
        if self._empty is not None:
            self._empty.delete()
            self._empty = None
        with self._box, ui.element("article").classes(f"line {line.who}") as box:
            ui.label("Rapport" if line.who == "bot" else line.author).classes("author")
            badge = None
            if line.who == "bot":
                badge = ui.label().classes("badge").props('title="The version that speaks"')
            drawn = _Drawn(box, ui.label().classes("text"), badge)
        self._drawn[line] = drawn
        self._fill(line, drawn)

    def _draw_tools(self, line: Line, drawn: _Drawn) -> None:
        with drawn.box, ui.element("div").classes("tools"):
            for value, icon, title in THUMBS:
                async def vote(value: VoteValue = value) -> None:
                    await self._vote(line, value)

                drawn.thumbs[value] = _tool(icon, title, vote)
            _tool("psychology_alt", "Why this reply?", lambda: self._why(line))
            if line.channel is None:
                _tool("refresh", "Another answer", lambda: self._again(line))

    async def _vote(self, line: Line, value: VoteValue) -> None:
        if self._room is None:
            return
        try:
            await self._room.vote(line, self._person(), value)
        except RapportError as error:
            ui.notify(str(error), type="negative")

    def _fill(self, line: Line, drawn: _Drawn) -> None:
        drawn.text.set_text(line.text or ("" if line.ended else "…"))
        if drawn.badge is not None:
            drawn.badge.set_text(line.author)
        if line.note and drawn.note is None:
            with drawn.box:
                drawn.note = ui.label().classes("muted")
        if drawn.note is not None:
            drawn.note.set_text(line.note)
        busy = "false" if line.ended else "true"
        if drawn.box.props.get("aria-busy") != busy:
            drawn.box.props["aria-busy"] = busy
        if line.exchange is not None and not drawn.thumbs:
            self._draw_tools(line, drawn)
        self._draw_votes(line, drawn)
        self._draw_rival(line, drawn)

    def _draw_rival(self, line: Line, drawn: _Drawn) -> None:
        """Another answer below the first, for as long as there are two."""
        rival = line.rival
        if rival is None:
            if drawn.rival is not None:
                drawn.rival.box.delete()
                drawn.rival = None
            return
        if drawn.rival is None:
            with drawn.box, ui.element("div").classes("rival") as box:
                ui.label("Or").classes("author")
                badge, text = ui.label().classes("badge"), ui.label().classes("text")
                with ui.element("div").classes("tools") as choice:
                    for title, other in (("The first is better", False), ("This is better", True)):
                        ui.button(title, on_click=partial(self._choose, line, other=other)).props(
                            "outline dense no-caps size=sm")
            drawn.rival = _Rival(box, text, badge, choice)
        drawn.rival.badge.set_text(rival.author)
        drawn.rival.text.set_text(rival.text or "…")
        drawn.rival.choice.set_visibility(rival.exchange is not None)

    async def _choose(self, line: Line, *, other: bool) -> None:
        if self._room is None:
            return
        try:
            await self._room.choose(line, self._person(), other=other)
        except RapportError as error:
            ui.notify(str(error), type="negative")

    async def _again(self, line: Line) -> None:
        if self._room is not None:
            self._room.again(line)

    def _draw_votes(self, line: Line, drawn: _Drawn) -> None:
        mine = line.votes.get(self._person(), 0)
        for value, button in drawn.thumbs.items():
            number = sum(one == value for one in line.votes.values())
            button.set_text(str(number) if number else "")
            button.classes("mine") if mine == value else button.classes(remove="mine")
            button.props["aria-pressed"] = "true" if mine == value else "false"


def _tool(icon: str, title: str, act: Callable[[], Awaitable[None]]) -> ui.button:
    return ui.button(icon=icon, on_click=act).props(
        f'flat dense size=sm color=inherit no-caps aria-label="{title}" title="{title}"'
    )
