"""What went wrong lately, as the journal and the runs have it.

A failed run that the journal tells of is told once. Knows no page.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot.store import Event, Store

KINDS = ("failed", "fallback", "rolled_back", "drift")
"""The events that somebody should look at."""
NEWEST = 20
"""Troubles that are shown."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong."""

    time: datetime
    kind: str
    text: str
    run: int | None = None


async def troubles(store: Store, limit: int = NEWEST) -> list[Trouble]:
    """What went wrong, newest first; every kind is a range of one index."""
    found = [
        _trouble(event) for kind in KINDS for event in await store.events(kind, limit=limit)
    ]
    told = {one.run for one in found if one.kind == "failed"}
    found += [
        Trouble(run.finished or run.started, "failed", f"run {run.id}: {run.message}", run.id)
        for run in await store.runs(limit)
        if run.status == "failed" and run.id not in told
    ]
    return sorted(found, key=lambda one: one.time, reverse=True)[:limit]


def _trouble(event: Event) -> Trouble:
    run = event.data.get("run")
    return Trouble(
        event.time, event.kind, str(event.data.get("text", "")),
        run if isinstance(run, int) else None,
    )
