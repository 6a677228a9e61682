"""How pages stay true while they are open: a look every few seconds, and fewer at what is costly.

Knows nothing of what is looked at.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

from nicegui import ui

from bot.dashboard.wording import sentence
from bot.errors import RapportError

SECONDS = 3.0
"""Between two looks at the figures."""
RESTS, STALE = 20, 60.0
"""How long one rests: at least so many times what a costly look took; at most so many seconds."""


async def keep_fresh(
    refresh: Callable[[], Awaitable[None]], seconds: float = SECONDS, *, at_once: bool = True
) -> None:
    """Fill a page, and again every few seconds for as long as it is open.

    Args:
        at_once: whether the page is given out only once it is filled; what may take long fills
            it when it is there.
    """
    note = ui.label("" if at_once else "Looking …").classes("muted").props('role="status"')

    async def look() -> None:
        try:
            await refresh()
        except RapportError as error:
            note.set_text(f"What you see is not fresh: {sentence(error)}")
            note.classes(replace="bad")
        else:
            note.set_text("")

    if at_once:
        await look()
    ui.timer(seconds, look, immediate=not at_once)


class Seldom:
    """When to look again at what is costly to read: after a change, and now and then.

    Looking takes no more than a part of the time, however long once takes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mark: object = None
        self._begun = 0.0
        self._soonest = self._latest = -math.inf

    def due(self, mark: object) -> bool:
        """Whether to look now; `mark` is equal while nothing is known to have changed."""
        now = self._clock()
        if now < self._soonest or (mark == self._mark and now < self._latest):
            return False
        self._mark, self._begun = mark, now
        return True

    def done(self) -> None:
        """Say that one has looked."""
        now = self._clock()
        self._soonest = now + RESTS * (now - self._begun)
        self._latest = now + STALE

    def again(self) -> None:
        """Look at the next opportunity, whatever it costs."""
        self._mark, self._soonest = None, -math.inf
