"""Tells what happens in the learning half: to the store for good, to listeners as it comes.

It knows neither platforms nor pages; they listen. Progress goes to listeners only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from bot.learning_port import EventKind, LearningEvent
from bot.store import Store

log = logging.getLogger(__name__)

Listener = Callable[[LearningEvent], None]


class Announcements:
    """The one place where learning events are made."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._listeners: list[Listener] = []

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Call `callback` with each event from now on; the function returned ends that."""
        self._listeners.append(callback)

        def end() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return end

    async def tell(
        self, kind: EventKind, text: str, *, run: int | None = None, adapter: str = "",
        outcome: str = "",
    ) -> None:
        """Keep an event in the store and the log, then pass it on."""
        time = self._clock()
        log.info("%s", text)
        await self._store.add_event(kind, {"text": text, "run": run, "adapter": adapter}, time)
        self._pass_on(LearningEvent(kind, text, time, run, adapter, outcome=outcome))

    def show(self, text: str, *, run: int, adapter: str, progress: float) -> None:
        """Pass progress on; nothing is kept."""
        event = LearningEvent("progress", text, self._clock(), run, adapter, progress)
        self._pass_on(event)

    def _pass_on(self, event: LearningEvent) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # a listener's mistake must not end a run
                log.exception("a listener failed on a %s event of run %s", event.kind, event.run)
