"""Versions that were made and judged, with their files or without, for tests of reports."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bot.store import Store
from bot.types import BASE
from learning.registry import Registry
from tests.learning.rated import exchange, vote
from tests.learning.test_registry import manifest, staged

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
SAMPLES = [
    ("Hello | <b>you</b>\nthere", "Hm.", "# Hello!\n\nHow *are* you?"), ("Bye", "No.", "Bye!"),
]  # fmt: skip
CHECKS: list[dict[str, Any]] = [
    {"name": "learned", "passed": False, "value": -math.inf, "limit": 0.0,
     "reason": "It moved +0.100, no certainty at all: not enough to rule out luck."},
    {"name": "moderation", "passed": True, "value": 0.0, "limit": 0.0,
     "reason": "0 of 70 replies break a rule such as the pattern '<a|b>'; none may."},
]
METRICS = {
    "holdout_items": 24.0, "sampled_replies": 12.0, "bleu": 12.345, "champion_bleu": 2.5,
    "chrf": 30.0, "champion_chrf": 20.0, "liked_perplexity": math.inf,
    "champion_liked_perplexity": 9.0, "starts": 1,
}


async def make_version(
    store: Store, registry: Registry, name: str, *, exchanges: tuple[int, ...] = (1, 2),
    outcome: str | None = "reject", champion: str = BASE, status: str = "rejected",
    samples: list[tuple[str, str, str]] = SAMPLES, rank: int = 4, metrics: dict[str, Any] = METRICS,
) -> None:  # fmt: skip
    """A version of a run with a curve, its files, and the verdict if there is an outcome."""
    settings = {"seed": 0, "sft": {"rank": rank, "kl": 0.1}, "gate": {"alpha": 0.1}}
    run = await store.start_run("command", settings)
    curve = [(1, "loss", 3.0), (2, "loss", 2.0), (2, "held_out", math.nan)]
    await store.add_curve_points(run, curve)
    await store.update_run(run, adapter=name, snapshot=f"data of {name}", metrics=metrics)
    await store.add_adapter(name, run, status, "tiny", NOON, {})
    staged(registry, name)
    made = replace(manifest(name), exchanges=exchanges, settings={"rank": rank, "objective": "sft"})
    registry.publish(name, made)
    if outcome is not None:
        await store.add_verdict(name, champion, outcome, f"{name} is so.", CHECKS, NOON, samples)


async def rate(store: Store, *values: int) -> None:
    """Exchanges 1, 2, ... with one vote each; 0 is none."""
    for number, value in enumerate(values, start=1):
        key = await store.add_exchange(exchange(number))
        if value:
            await store.add_vote(vote(key, 1 if value > 0 else -1))
