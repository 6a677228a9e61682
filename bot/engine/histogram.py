"""How often times fell between fixed bounds: what percentiles are told from, in constant memory.

A histogram is written by one thread, a few times a step, so adding to it takes no lock and makes
nothing; whoever reads takes a copy. It follows Prometheus: a bound belongs to what lies below it.
"""

from __future__ import annotations

from bisect import bisect_left

from bot.engine.base import GAPS, WAITS, Counts


class Histogram:
    """Counts that grow."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count one more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def taken(self) -> Counts:
        """A copy."""
        return Counts(self._bounds, tuple(self._counts), self._sum)


class Meters:
    """The times of many replies."""

    def __init__(self) -> None:
        self.queued = Histogram(WAITS)
        self.first_token = Histogram(WAITS)
        self.token_gap = Histogram(GAPS)
