"""How much of what was rated was liked, and how sure that is.

Pure arithmetic on votes; it knows no replies, raters or versions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""The two-sided 95 % point of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class LikeRate:
    """Likes among ratings."""

    likes: int
    rated: int

    @property
    def value(self) -> float:
        """Likes / ratings; 0.0 when nothing was rated."""
        return self.likes / self.rated if self.rated else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval at 95 % (Wilson 1927); (0, 1) when nothing was rated."""
        return wilson(self.likes, self.rated)


def like_rate(votes: Iterable[int | None]) -> LikeRate:
    """Count +1 and -1; no vote does not count."""
    cast = [vote for vote in votes if vote is not None]
    return LikeRate(sum(vote > 0 for vote in cast), len(cast))


def wilson(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval of a proportion: right near 0 and 1, where p ± z·se is not."""
    if not trials:
        return 0.0, 1.0
    share = successes / trials
    spread = z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
