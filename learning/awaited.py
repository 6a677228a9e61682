"""One learning run, asked for and waited for.

Knows the learning half by its events and the store by its verdicts; nothing of why a run
is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bot.errors import LearningError, NothingToLearn
from bot.learning_port import Learning, LearningEvent
from bot.store import Store

_LAST = ("finished", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    verdict: str | None
    """``promote``, ``shadow`` or ``reject``; None when there was nothing to judge."""
    reason: str
    """One sentence of the gate, or why there was no run."""


async def train_once(
    learning: Learning, store: Store, progress: Callable[[float], None]
) -> Outcome:
    """Ask for a run and wait until it has ended; `progress` hears its shares from 0 to 1.

    Too few votes are an outcome, not an error.

    Raises:
        LearningError: the run failed or was cancelled.
    """
    ended: asyncio.Future[LearningEvent] = asyncio.get_running_loop().create_future()

    def hear(event: LearningEvent) -> None:
        if event.kind == "progress":
            progress(event.progress)
        elif event.kind in _LAST and not ended.done():
            ended.set_result(event)

    before = len(await store.verdicts())
    unlisten = learning.listen(hear)
    try:
        await learning.retrain()
        last = await ended
    except NothingToLearn as error:
        return Outcome(None, str(error))
    finally:
        unlisten()
    if last.kind != "finished":
        raise LearningError(f"the learning run {last.kind}: {last.text}")
    new = (await store.verdicts())[before:]
    return Outcome(new[-1]["outcome"], new[-1]["sentence"]) if new else Outcome(None, last.text)
