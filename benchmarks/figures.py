"""What many times come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """A quantile of sorted values; 0.0 of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def milliseconds(seconds: Iterable[float], share: float) -> float:
    """A quantile of times in any order, in milliseconds with one decimal."""
    return round(1e3 * quantile(sorted(seconds), share), 1)
