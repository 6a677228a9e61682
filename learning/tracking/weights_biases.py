"""Curves at Weights & Biases: a run a version.

Whether anything is sent, where to and as whom, is what the package reads from its own
environment (WANDB_MODE, WANDB_API_KEY, WANDB_DIR); nothing of that is known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.errors import ConfigError


class WeightsBiases:
    """Tells one project.

    Raises:
        ConfigError: the package is not installed.
    """

    def __init__(self, project: str) -> None:
        try:
            from wandb import init
        except ImportError as error:
            raise ConfigError(
                "learning.tracking.wandb needs the package wandb: pip install 'rapport-bot[wandb]'"
            ) from error
        self._init = init
        self._project = project
        self._run: Any = None

    def run(self, name: str, begun: datetime, settings: Mapping[str, object]) -> None:
        """Begin the run; an interrupted one goes on, as it has the same id."""
        self.close({})
        self._run = self._init(
            project=self._project, name=name, id=f"{name}-{begun:%Y%m%d%H%M%S}", resume="allow",
            config=dict(settings),
        )

    def point(self, step: int, values: Mapping[str, float]) -> None:
        """Values at a step; of a step that it knows already it says so and keeps the old ones."""
        self._run.log(dict(values), step=step)

    def close(self, metrics: Mapping[str, float]) -> None:
        """The metrics as the run's summary, below ``verdict``."""
        if self._run is not None:
            self._run.summary.update({f"verdict/{name}": at for name, at in metrics.items()})
            self._run.finish()
        self._run = None
