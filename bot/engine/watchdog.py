"""Notices that the engine's thread does not come back, while it does not.

A driver that hangs and a kernel that never ends raise nothing, and every reply waits for them. So a
second thread looks at the time at which the step or slice under way began, which is all that the
engine's thread leaves for it, and logs where that thread stands. It cannot help; who asks for the
engine's health is told, and what is done about it is for others to decide.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds between two looks at the thread."""


class Watchdog:
    """Watches the thread that starts it.

    Args:
        limit: seconds that a step or slice may last; 0 lets it last for ever, unwatched.
        clock: seconds that only grow.
    """

    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self.begun: float | None = None
        """When what is under way began, by the clock; None while there is nothing to do."""
        self._limit = limit
        self._clock = clock
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch the thread that calls."""
        if self._limit:
            watched = threading.get_ident()
            self._thread = threading.Thread(
                target=self._watch, args=(watched,), name="engine watchdog", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def stuck(self) -> float:
        """Seconds for which something has been under way, once that is too long; otherwise 0."""
        begun = self.begun
        lasted = 0.0 if begun is None else self._clock() - begun
        return lasted if 0 < self._limit < lasted else 0.0

    def _watch(self, watched: int) -> None:
        told: float | None = None
        while not self._over.wait(PAUSE):
            begun = self.begun
            if told is not None and begun != told:
                log.warning("the engine goes on after %.0f s", self._clock() - told)
                told = None
            if told is None and (lasted := self.stuck()):
                log.error("the engine has not moved for %.0f s; it is at\n%s", lasted, at(watched))
                told = begun


def at(thread: int) -> str:
    """Where a thread stands, without what it holds."""
    frame = sys._current_frames().get(thread)
    return "".join(traceback.format_stack(frame)) if frame is not None else "its end\n"
