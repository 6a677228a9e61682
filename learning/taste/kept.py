"""The preference model of a version as a file beside its adapter.

Safetensors: the direction and the offset of a head, for features as `learning.taste.features`
makes them. It is hashed, pruned and forgotten with the version. Everything here blocks: call it
in a thread.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from bot.errors import AdapterError
from learning.durable import write_file
from learning.taste.head import Head

HEAD_FILE = "taste.safetensors"


def write_head(folder: Path, head: Head) -> None:
    """Put a head into a folder, made where it is missing, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "direction": head.direction.astype(np.float32),
        "offset": np.asarray([head.offset], dtype=np.float32),
    }
    write_file(folder / HEAD_FILE, save(parts))


def copy_head(source: Path, target: Path) -> None:
    """Put the head of one folder into another, if there is one."""
    if (source / HEAD_FILE).exists():
        write_file(target / HEAD_FILE, (source / HEAD_FILE).read_bytes())


def read_head(folder: Path, dimensions: int) -> Head | None:
    """The head in a folder, if there is one.

    Args:
        dimensions: of the features it is meant for.

    Raises:
        AdapterError: it cannot be read, or is not for this model.
    """
    path = folder / HEAD_FILE
    if not path.exists():
        return None
    try:
        parts = load_file(path)
        direction, offset = parts["direction"], parts["offset"]
    except (OSError, SafetensorError, KeyError) as error:
        raise AdapterError(f"{path} is no preference head: {error}") from error
    whole = np.isfinite(direction).all() and np.isfinite(offset).all()
    if direction.shape != (dimensions,) or offset.shape != (1,) or not whole:
        raise AdapterError(
            f"{path} is no preference head for this model: {dimensions} finite numbers are needed"
        )
    return Head(direction, float(offset[0]))
