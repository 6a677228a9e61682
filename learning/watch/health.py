"""Whether a version has fallen ill: it says nothing, goes on without end, or fails.

Pure: it is told how the replies of versions ended and counts; what follows is not known here.
Illness needs no votes and no statistics, only care that a single odd reply is none.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from bot.types import FinishReason
from learning.metrics import repeated_n

WINDOW = 10
"""Replies of the new version that count: the sick ones must come close together."""
BEFORE = 100
"""Replies of the version before that say what is usual."""
REPEATED = 0.5
"""Share of four-token runs said before in a reply that makes it a loop."""


def is_sick(finish: FinishReason, text: str, ids: Sequence[int]) -> bool:
    """Whether a reply is empty, failed in the engine, was cut by its deadline, or went round until
    the length limit.

    What people cut short says nothing about the version, nor does what never began.
    """
    if finish in ("error", "timeout"):
        return True
    if finish in ("cancelled", "expired"):
        return False
    return not text.strip() or (finish == "length" and repeated_n([ids]) >= REPEATED)


class Health:
    """The last replies of each version, by whether they were sick."""

    def __init__(self) -> None:
        self._sick: defaultdict[str, deque[bool]] = defaultdict(lambda: deque(maxlen=BEFORE))

    def note(self, version: str, sick: bool) -> None:
        """Remember one more reply."""
        self._sick[version].append(sick)

    def ill(self, version: str, before: str, needed: int) -> bool:
        """Whether `needed` of the last replies are sick, and as many more as used to be.

        So with none in the last hundred replies of the version before, two of ten are
        enough (where `needed` is 2); with one, it takes three.
        """
        return sum(self._lately(version)) >= needed + sum(self._sick[before])

    def sentence(self, version: str, before: str) -> str:
        """The numbers."""
        now, usual = self._lately(version), self._sick[before]
        return (
            f"{sum(now)} of its last {len(now)} replies were empty, endless, out of time or "
            f"failed, against {sum(usual)} of {len(usual)} before"
        )

    def _lately(self, version: str) -> list[bool]:
        return list(self._sick[version])[-WINDOW:]
