"""From the engine's thread to the event loops: one hop a step, whatever is in it.

A mailbox belongs to one consumer on one event loop. The thread collects what a step has
for all of them and hands it over in a single call per loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)


class Mailbox(Generic[T]):
    """What one consumer waits for."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.on_lost = on_lost
        """Called on the engine's thread when the loop is gone and nobody reads any more."""
        self._queue: asyncio.Queue[T] = asyncio.Queue()

    def put(self, item: T) -> None:
        """Deliver, on the consumer's loop."""
        self._queue.put_nowait(item)

    async def get(self) -> T:
        """The next item."""
        return await self._queue.get()


class Outgoing:
    """What the current step has to deliver; used on the engine's thread only."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}
        self._boxes: dict[asyncio.AbstractEventLoop, list[Callable[[], None]]] = {}

    def add(self, box: Mailbox[T], item: T) -> None:
        """Have an item delivered with the next flush."""
        self._calls.setdefault(box.loop, []).append(lambda: box.put(item))
        self._boxes.setdefault(box.loop, []).append(box.on_lost)

    def flush(self) -> None:
        """Hand everything over."""
        calls, self._calls = self._calls, {}
        boxes, self._boxes = self._boxes, {}
        for loop, batch in calls.items():
            try:
                loop.call_soon_threadsafe(_deliver, batch)
            except RuntimeError:
                log.warning("an event loop closed while %d deliveries were due", len(batch))
                for lost in boxes[loop]:
                    lost()


def _deliver(batch: list[Callable[[], None]]) -> None:
    for call in batch:
        call()
