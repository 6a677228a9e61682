"""Whether a version has fallen ill: it says nothing, repeats itself without end, or fails.

Pure: it is told how replies ended and counts; who gave them, and what follows, is not known
here. Illness needs no votes and no statistics, only care that a single odd reply is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.types import FinishReason
from learning.metrics import repeated_n

WINDOW = 10
"""Replies of the new version that count: the sick ones must come close together."""
BEFORE = 100
"""Replies of the version before that say what is usual."""
REPEATED = 0.5
"""Share of four-token runs said before in a reply that makes it a loop."""


def is_sick(finish: FinishReason, text: str, ids: Sequence[int]) -> bool:
    """Whether a reply is empty, failed in the engine, or went round until the length limit.

    What people cut short says nothing about the version.
    """
    if finish == "error":
        return True
    if finish == "cancelled":
        return False
    return not text.strip() or (finish == "length" and repeated_n([ids]) >= REPEATED)


@dataclass(slots=True)
class Health:
    """The last replies of a version and of the one before it, by whether they were sick."""

    now: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    before: deque[bool] = field(default_factory=lambda: deque(maxlen=BEFORE))

    def ill(self, needed: int) -> bool:
        """Whether `needed` of the last replies are sick, and as many more as used to be.

        So with none in the last hundred replies of the version before, two of ten are
        enough (where `needed` is 2); with one, it takes three.
        """
        return sum(self.now) >= needed + sum(self.before)

    def __str__(self) -> str:
        return (
            f"{sum(self.now)} of its last {len(self.now)} replies were empty, endless or failed, "
            f"against {sum(self.before)} of {len(self.before)} before"
        )
