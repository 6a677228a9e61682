"""The keys of ``[learning.watch]``: how a version is watched after its promotion.

Only keys and what people read about them. What is decided, and how, is
`learning.watch.comparison` and `learning.watch.health`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bot.config.sections import Positive, Section, Share


class WatchConfig(Section):
    """How a version is watched after its promotion, and when it is rolled back by itself."""

    enabled: bool = True
    """Whether a new version is watched, and rolled back when it is clearly liked less or falls
    ill."""
    share: Share = 0.15
    """The share of channels that stay on the version before while a new one is watched (0 to 1);
    the terminal never does."""
    votes: Positive = 300
    """Votes on the new version after which it is watched no longer."""
    days: Positive = 14
    """Days after which it is watched no longer, however few votes there are."""
    error: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """How often a version that is liked as much as the one before may be rolled back by chance, in
    the whole time it is watched."""
    sick: Positive = 2
    """Replies among its last ten that are empty, endless, out of time or failed and take a version
    back at once, where the version before had none in its last hundred; each that it had makes it
    one more."""
