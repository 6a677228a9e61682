"""Learning runs as rows and curves: how each began, how far it came, what the gate said.

Read from the store alone; whether a run may start is the learning half's. Knows no page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from bot.store import Store

NEWEST = 50
"""Runs that are shown."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run."""

    id: int
    trigger: str
    status: str
    stage: str
    started: datetime
    seconds: float
    """How long it took, or has taken so far."""
    adapter: str
    """The version it makes; empty before it has a name."""
    outcome: str
    """``promote``, ``shadow`` or ``reject``; empty before the gate has spoken."""
    sentence: str
    """What the gate said, or else how the run ended."""


@dataclass(frozen=True, slots=True)
class RunCurves:
    """How the loss of a run fell: (step, nats a token)."""

    loss: tuple[tuple[int, float], ...] = ()
    """On replies it learned from."""
    held_out: tuple[tuple[int, float], ...] = ()
    """On replies set aside."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One question that the gate asked."""

    name: str
    passed: bool
    reason: str


async def run_rows(store: Store, now: datetime, limit: int = NEWEST) -> list[RunRow]:
    """The newest runs, newest first: two queries, by key and over the few verdicts."""
    outcomes = await store.outcomes()
    rows = []
    for run in await store.runs(limit):
        said = outcomes.get(run.adapter or "")
        rows.append(RunRow(
            run.id, run.trigger, run.status, run.stage, run.started,
            ((run.finished or now) - run.started).total_seconds(), run.adapter or "",
            said.outcome if said else "", said.sentence if said else run.message,
        ))  # fmt: skip
    return rows


async def run_curves(store: Store, run: int) -> RunCurves:
    """The curves of one run, by key; points that are not numbers are left out."""
    found: dict[str, list[tuple[int, float]]] = {"loss": [], "held_out": []}
    for step, name, value in await store.curve(run):
        if name in found and math.isfinite(value):
            found[name].append((step, value))
    return RunCurves(tuple(found["loss"]), tuple(found["held_out"]))


async def check_rows(store: Store, adapter: str) -> list[CheckRow]:
    """What the gate asked of a version last, what failed first."""
    verdict = await store.verdict(adapter)
    checks = verdict["checks"] if verdict else []
    rows = [
        CheckRow(str(one.get("name", "")), bool(one.get("passed")), str(one.get("reason", "")))
        for one in checks
    ]
    return sorted(rows, key=lambda row: row.passed)
