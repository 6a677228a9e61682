"""What a program that draws curves is told: that a run begins, its points, and what it came to.

A tracker is told numbers and settings, never words. Its packages are optional: each is imported
when a tracker of its kind is made, and not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bot.config import TrackingConfig


class Tracker(Protocol):
    """One such program. Calls may wait for a disk or a network: never for the event loop."""

    def run(self, name: str, begun: datetime, settings: Mapping[str, object]) -> None:
        """Begin a run, or one that was interrupted again; all its points follow."""

    def point(self, step: int, values: Mapping[str, float]) -> None:
        """What was measured at a step; steps never fall."""

    def close(self, metrics: Mapping[str, float]) -> None:
        """End the run, with what it came to, if anything; without a run nothing happens."""


def trackers_of(config: TrackingConfig) -> tuple[Tracker, ...]:
    """Those that are configured.

    Raises:
        ConfigError: a package is missing; the message says which to install.
    """
    found: list[Tracker] = []
    if config.tensorboard:
        from learning.tracking.tensorboard import TensorBoard

        found.append(TensorBoard(Path(config.tensorboard), "learning.tracking.tensorboard"))
    if config.wandb:
        from learning.tracking.weights_biases import WeightsBiases

        found.append(WeightsBiases(config.wandb))
    return tuple(found)
