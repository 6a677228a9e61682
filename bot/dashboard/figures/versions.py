"""Versions as rows: how each stands, how it is liked, and when it served.

Read from the store alone: which version may serve is the learning half's. Knows no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.likerate import LikeRate
from bot.store import Store
from bot.types import BASE

NEWEST = 50
"""Versions and reigns that are shown."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version."""

    name: str
    status: str
    made: datetime
    outcome: str
    """``promote``, ``shadow`` or ``reject``; empty before the gate has spoken."""
    against: str
    """What it was compared with."""
    sentence: str
    rate: LikeRate
    """Of its replies."""


@dataclass(frozen=True, slots=True)
class Reign:
    """A time in which a version served everywhere."""

    name: str
    since: datetime
    until: datetime | None
    """None while it serves."""
    reason: str


async def version_rows(store: Store, limit: int = NEWEST) -> list[VersionRow]:
    """The newest versions, newest first.

    A like rate is a range of one index, and is asked for once for each version.
    """
    outcomes = await store.outcomes()
    rows = []
    for ref in (await store.adapters())[: -limit - 1 : -1]:
        said = outcomes.get(ref.name)
        rows.append(VersionRow(
            ref.name, ref.status, ref.created, said.outcome if said else "",
            said.champion if said else "", ref.verdict,
            LikeRate(*await store.like_rate(ref.name)),
        ))  # fmt: skip
    return rows


async def reigns(store: Store, limit: int = NEWEST) -> list[Reign]:
    """Who served when, newest first; the base before the first champion is not told."""
    return reigns_of(await store.champions())[:limit]


def reigns_of(champions: Sequence[tuple[str, str, datetime]]) -> list[Reign]:
    """The same from (name, reason, since), oldest first as the store gives them."""
    ends = [since for _, _, since in champions[1:]]
    found = [
        Reign(name, since, until, reason)
        for (name, reason, since), until in zip(champions, [*ends, None], strict=False)
    ]
    return found[::-1]


def called(name: str) -> str:
    """How to speak of a version, or of the base."""
    return "the base model" if name == BASE else name
