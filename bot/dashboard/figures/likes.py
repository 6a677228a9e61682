"""How replies are liked: over time, by version, and by where the votes came from.

Made from the newest votes, so that it costs the same however many there have been. Like rates
come with their 95 % intervals, because a few votes prove nothing. Knows no page.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from bot.likerate import LikeRate
from bot.store import Cast, Store

NEWEST = 2000
"""Votes that are looked at."""
POINTS = 20
"""Points that votes of less than a day are cut into, all versions together."""
LEAST = 5
"""Votes that such a point is made of at least, where a version has as many."""

Placed = tuple[int, Cast]
"""A vote that holds, with its place among them."""


@dataclass(frozen=True, slots=True)
class LikePoint:
    """Votes that belong together, on one version."""

    time: datetime
    """Their mean."""
    place: float
    """Their mean place among all the votes that hold, from 1."""
    rate: LikeRate


@dataclass(frozen=True, slots=True)
class LikeCurve:
    """One version's like rate as time goes on."""

    adapter: str
    points: tuple[LikePoint, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """Another version began to serve."""

    name: str
    time: datetime
    place: float
    """Between which votes, as `LikePoint.place` counts."""


@dataclass(frozen=True, slots=True)
class Share:
    """Votes by where they came from."""

    name: str
    rate: LikeRate


@dataclass(frozen=True, slots=True)
class Likes:
    """What the newest votes come to."""

    votes: int
    """How many of those that were looked at hold."""
    limited: bool
    """Whether there are older ones that were not looked at."""
    by_day: bool
    """Whether a point is a day; else it is a number of votes."""
    curves: tuple[LikeCurve, ...]
    """In the order in which the versions were first voted on."""
    changes: tuple[Change, ...]
    """Since the first of these votes."""
    sources: tuple[Share, ...]
    """Most votes first, as are `places`."""
    places: tuple[Share, ...]
    """Platform and server."""


async def likes(store: Store, limit: int = NEWEST) -> Likes:
    """What the newest votes come to: one query that reads `limit` votes by their keys."""
    casts = await store.newest_votes(limit)
    champions = await store.champions()
    return await asyncio.to_thread(likes_of, casts, champions, limited=len(casts) >= limit)


def likes_of(
    casts: Sequence[Cast], champions: Sequence[tuple[str, str, datetime]] = (), *,
    limited: bool = False,
) -> Likes:
    """The same from values.

    Args:
        casts: in the order they came.
        champions: who served, as (name, reason, since).
    """
    held = list(enumerate(holding(casts), start=1))
    by_day = bool(held) and held[-1][1].time - held[0][1].time >= timedelta(days=1)
    size = max(LEAST, -(-len(held) // POINTS))
    by_adapter: defaultdict[str, list[Placed]] = defaultdict(list)
    for place, cast in held:
        by_adapter[cast.adapter].append((place, cast))
    curves = tuple(
        LikeCurve(adapter, tuple(map(_point, _days(given) if by_day else _groups(given, size))))
        for adapter, given in by_adapter.items()
    )
    return Likes(
        len(held), limited, by_day, curves, _changes(held, champions),
        _shares(held, lambda cast: cast.source),
        _shares(held, lambda cast: f"{cast.platform}/{cast.guild}"),
    )


def holding(casts: Iterable[Cast]) -> list[Cast]:
    """The last vote of each rater on each exchange, unless withdrawn; by time."""
    last = {(cast.exchange_id, cast.rater): cast for cast in casts}
    return sorted((cast for cast in last.values() if cast.value), key=lambda cast: cast.time)


def _days(given: Iterable[Placed]) -> Iterable[list[Placed]]:
    days: defaultdict[date, list[Placed]] = defaultdict(list)
    for place, cast in given:
        days[cast.time.date()].append((place, cast))
    return days.values()


def _groups(given: Sequence[Placed], size: int) -> Iterable[Sequence[Placed]]:
    """As many of one size as fit; what is left over belongs to the last."""
    number = max(1, len(given) // size)
    for group in range(number):
        end = len(given) if group == number - 1 else (group + 1) * size
        yield given[group * size : end]


def _point(given: Sequence[Placed]) -> LikePoint:
    first = given[0][1].time
    mean = sum((cast.time - first for _, cast in given), timedelta()) / len(given)
    return LikePoint(
        first + mean, sum(place for place, _ in given) / len(given),
        LikeRate(sum(cast.value > 0 for _, cast in given), len(given)),
    )


def _changes(
    held: Sequence[Placed], champions: Sequence[tuple[str, str, datetime]]
) -> tuple[Change, ...]:
    return tuple(
        Change(name, since, 0.5 + sum(cast.time < since for _, cast in held))
        for name, _, since in champions if held and since >= held[0][1].time
    )


def _shares(held: Iterable[Placed], name: Callable[[Cast], str]) -> tuple[Share, ...]:
    given: Counter[str] = Counter()
    liked: Counter[str] = Counter()
    for _, cast in held:
        given[name(cast)] += 1
        liked[name(cast)] += cast.value > 0
    return tuple(Share(key, LikeRate(liked[key], number)) for key, number in given.most_common())

