"""The page about liked replies that wait for an operator's word before they are learned from.

What waits is worked out by the learning half from all votes and words, so it is asked for only
after somebody voted or decided, and now and then.
"""

from __future__ import annotations

from functools import partial

from nicegui import ui

from bot.dashboard.bans import ask_ban
from bot.dashboard.desk import Desk
from bot.dashboard.fresh import Seldom, keep_fresh
from bot.dashboard.parts import attempt, button, panel
from bot.dashboard.wording import moment
from bot.learning_port import ReviewItem

SHOWN = 20
"""Replies that are shown at a time."""
WHY = (
    "A reply with a link, an address, a mention or a long number that nobody else has said, and "
    "that one person alone likes, is not learned from before you have looked at it."
)


async def review(desk: Desk) -> None:
    """Fill the page and keep it true while it is open."""
    await keep_fresh(_Review(desk).refresh, at_once=False)


class _Review:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._seldom = Seldom()
        self._drawn: dict[ReviewItem, ui.element] = {}
        with panel("Replies that wait for your word", WHY):
            self._count = ui.label("").props('role="status"')
            self._box = ui.element("div")

    async def refresh(self) -> None:
        """Read what waits, if that can have changed, and show it."""
        if not self._seldom.due(await self._desk.store.mark()):
            return
        items = await self._desk.learning.review()
        self._seldom.done()
        self._count.set_text(_count(len(items)))
        shown = items[:SHOWN]
        for gone in [item for item in self._drawn if item not in shown]:
            self._drawn.pop(gone).delete()
        with self._box:
            for item in shown:
                if item not in self._drawn:
                    self._drawn[item] = self._draw(item)

    def _draw(self, item: ReviewItem) -> ui.element:
        number = item.exchange_id
        with ui.element("article").classes("waiting").props(f'aria-label="Reply {number}"') as box:
            ui.label(
                f"Reply {number}, {moment(item.time)} UTC, rated by {', '.join(item.raters)}"
            ).classes("muted")
            ui.label(item.question).classes("said")
            ui.label(item.reply).classes("said reply")
            with ui.element("div").classes("marks"):
                ui.label("New in it:").classes("muted")
                for mark in item.novel:
                    ui.label(mark).classes("novel")
            with ui.element("div").classes("buttons"):
                button("Keep", "check", partial(self._decide, number, keep=True)).props(
                    f'aria-label="Keep reply {number}"').tooltip("It may be learned from")
                button("Drop", "block", partial(self._decide, number, keep=False)).props(
                    f'aria-label="Drop reply {number}"').tooltip("It is never learned from")
                for rater in item.raters:
                    button(f"Ban {rater}", "person_off", partial(self._ban, rater)).tooltip(
                        "None of this person's votes count any more")
        return box

    async def _decide(self, number: int, *, keep: bool) -> None:
        await attempt(self._desk.learning.decide(number, keep, self._desk.operator))
        await self._anew()

    async def _ban(self, rater: str) -> None:
        if await ask_ban(self._desk, rater):
            await self._anew()

    async def _anew(self) -> None:
        self._seldom.again()
        await self.refresh()


def _count(number: int) -> str:
    if not number:
        return "Nothing waits for you. What you should look at appears here by itself."
    waits = "1 reply waits" if number == 1 else f"{number} replies wait"
    return f"{waits}." if number <= SHOWN else f"{waits}; here are the {SHOWN} oldest."
