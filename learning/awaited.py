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
    """What the gate said and whether it waits for approval, or why there was no run."""


async def train_once(
    learning: Learning, store: Store, progress: Callable[[float, str], object] = lambda *_: None
) -> Outcome:
    """Ask for a run and wait until it has ended.

    `progress` hears the share of it that is done, from 0 to 1, and what is going on. Where a
    run that was interrupted goes on, that one is waited for instead of a new one. Too few votes
    are an outcome, not an error.

    Raises:
        LearningError: the run failed or was cancelled.
    """
    ended: asyncio.Queue[LearningEvent] = asyncio.Queue()
    asked: int | None = None
    waits: dict[str, str] = {}

    def hear(event: LearningEvent) -> None:
        nonlocal asked
        if event.kind in ("stage", "progress"):
            progress(event.progress, event.text)
        elif event.kind == "queued":
            asked = event.run
        elif event.kind == "waiting":
            waits[event.adapter] = f" {event.text}"
        elif event.kind in _LAST:
            ended.put_nowait(event)

    unlisten = learning.listen(hear)
    try:
        if not await _taken_up(learning, store):
            await learning.retrain()
        last = await ended.get()
        while asked is not None and last.run != asked:  # one that was on before
            last = await ended.get()
    except NothingToLearn as error:
        return Outcome(None, str(error))
    finally:
        unlisten()
    if last.kind != "finished":
        raise LearningError(f"the learning run {last.kind}: {last.text}")
    found = await store.verdict(last.adapter)
    if found is None:
        return Outcome(None, last.text)
    return Outcome(found["outcome"], found["sentence"] + waits.get(last.adapter, ""))


async def _taken_up(learning: Learning, store: Store) -> bool:
    """Whether a run that an earlier process began goes on in this one."""
    unfinished = await store.unfinished_runs()
    status = await learning.status()
    on = status.running is not None or status.queued
    return bool(unfinished) and on and not status.paused
