"""Waiting for a task to its end, however often one is told to stop meanwhile.

For what must let go of the store before that is closed. It knows nothing of what tasks do.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def ended(task: asyncio.Task[object]) -> None:
    """Return once a task has ended, however it did; to stop then is for the caller."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # else asyncio complains that nobody asked
