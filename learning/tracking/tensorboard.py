"""Curves as TensorBoard's files: a folder a run.

What an interrupted run had written is superseded when the run is begun again: TensorBoard
leaves out the older points from the first new one on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.errors import ConfigError


class TensorBoard:
    """Writes to folders within one folder.

    Args:
        asked: by what option or key, for the error.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, asked: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                f"{asked} needs the package tensorboard: pip install 'rapport-bot[tensorboard]'"
            ) from error
        self._open = SummaryWriter
        self._folder = folder
        self._name = ""
        self._step = 0
        self._writer: Any = None

    def run(self, name: str, begun: datetime, settings: Mapping[str, object]) -> None:
        """Points that follow are this run's."""
        self.close({})
        self._name, self._step = name, 0

    def point(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar a name; a number that is none is one too."""
        self._write(step, values)
        self._step = step

    def close(self, metrics: Mapping[str, float]) -> None:
        """The metrics as scalars at the last step, below ``verdict``."""
        if self._name:
            self._write(self._step, {f"verdict/{name}": at for name, at in metrics.items()})
        if self._writer is not None:
            self._writer.close()
        self._name, self._writer = "", None

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is None and values:
            self._writer = self._open(str(self._folder / self._name), purge_step=step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if values:
            self._writer.flush()
