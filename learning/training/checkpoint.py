"""Where a training run stands, in one file that is whole or absent.

Tensors and counters share a safetensors file (the counters are JSON in its header), so
one rename makes both new and nothing is ever unpickled. This module knows neither model
nor objective: it is given tensors by name and a plain state, and gives them back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from learning.durable import write_file

FOLDER = "checkpoint"
FILE = "state.safetensors"


@dataclass(slots=True)
class State:
    """Every counter of a run; with the tensors, all that it needs to go on."""

    identity: str
    """What the run is a function of; another identity is another run."""
    epoch: int = 0
    position: int = 0
    """Optimiser steps taken in this epoch."""
    step: int = 0
    pieces: int = 0
    """Examples of a micro-batch that fit in memory; 0 for all of them."""
    sparing: bool = False
    """Whether what is kept for the way back has to be as little as can be."""
    loss: float = 0.0
    held_out: float | None = None
    best: float | None = None
    stale: int = 0
    """Epochs since the best one."""
    finished: bool = False
    tokens: int = 0
    seconds: float = 0.0


def write_checkpoint(folder: Path, state: State, tensors: Mapping[str, Tensor]) -> None:
    """Replace the run's checkpoint; on the disk when this returns."""
    where = folder / FOLDER
    where.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_file(where / FILE, save(plain, {"state": json.dumps(asdict(state))}))


def read_checkpoint(folder: Path, identity: str) -> tuple[State, dict[str, Tensor]] | None:
    """The checkpoint of the run with this identity; None when there is none, or it is damaged."""
    path = folder / FOLDER / FILE
    try:
        with safe_open(path, framework="pt") as file:
            state = State(**json.loads((file.metadata() or {})["state"]))
            if state.identity != identity:
                return None
            return state, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def drop_checkpoint(folder: Path) -> None:
    """Remove the run's checkpoint, if there is one."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
