"""👀 under a question that has to wait for its turn, taken away when its answer begins.

A courtesy: what the platform refuses is noted for debugging and forgotten. Which question
waits, and how a sign is given and taken away, is for the platform to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

FACE = "👀"
COURTESY = 2.0
"""Seconds that the end of an answer waits at most for the sign to go."""


class Receipt:
    """The sign under one question, from now on."""

    def __init__(
        self, give: Callable[[], Awaitable[object]], take: Callable[[], Awaitable[object]],
        failures: tuple[type[Exception], ...],
    ) -> None:
        """`failures` are how a request of the platform may end."""
        self._give = give
        self._take = take
        self._failures = failures
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._stand())

    def over(self) -> None:
        """Take the sign away, beside everything else: the answer has begun."""
        self._over.set()

    async def close(self) -> None:
        """See that it is taken away, or that the platform does not answer."""
        self._over.set()
        await asyncio.wait([self._task], timeout=COURTESY)
        self._task.cancel()

    async def _stand(self) -> None:
        try:
            await self._give()
            await self._over.wait()
            await self._take()
        except self._failures as error:
            log.debug("the sign of a waiting question: %s", type(error).__name__)
