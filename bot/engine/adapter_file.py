"""Reads a PEFT LoRA checkpoint and checks it against the modules it is meant for.

A folder comes from a training run, or from anyone; it is read as data (safetensors
only) and every tensor is checked before the engine sees it. Whether the adapter belongs
to this very base is for the caller to know; here only names and shapes can tell. Nothing
here touches the model or the engine's thread, so a load does not hold up a reply.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bot.errors import AdapterError

PREFIX = "base_model.model."
"""What PEFT puts before the names of the model's own modules."""

PLAIN: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none", None),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}
"""Settings that must have one of these values; other initialisations change the base."""

ABSENT = (
    "modules_to_save", "rank_pattern", "alpha_pattern", "use_dora", "lora_bias",
    "layer_replication", "target_parameters", "trainable_token_indices", "use_qalora",
    "use_bdlora", "alora_invocation_tokens", "arrow_config", "kasa_config", "velora_config",
    "monteclora_config", "loftq_config",
)  # fmt: skip
"""Settings that must be unset: each makes the adapter more than ``x A B * scale``."""


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """The low-rank pairs of one adapter by module name: ``A [rank, in]``, ``B [out, rank]``."""

    pairs: Mapping[str, tuple[Tensor, Tensor]]
    rank: int
    scale: float


def read_adapter(folder: Path, sites: Mapping[str, tuple[int, int]], rank: int) -> AdapterWeights:
    """Read and check a checkpoint.

    Args:
        folder: holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        sites: (in, out) features of every module that may carry an adapter.
        rank: the largest rank the bank has room for.

    Raises:
        AdapterError: with the reason in one line.
    """
    try:
        return _read(folder, sites, rank)
    except AdapterError as error:
        raise AdapterError(f"adapter {folder}: {error}") from error


def _read(folder: Path, sites: Mapping[str, tuple[int, int]], limit: int) -> AdapterWeights:
    config = _config(folder / "adapter_config.json")
    rank = _check_config(config, limit)
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise AdapterError(f"lora_alpha is {alpha!r}, not a number")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    pairs = _pair(_tensors(folder))
    if not pairs:
        raise AdapterError("it holds no LoRA weights")
    for name, (a, b) in pairs.items():
        _check_pair(name, a, b, sites, rank)
    return AdapterWeights(pairs, rank, scale)


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path.name} cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{path.name} is not an object")
    return config


def _check_config(config: Mapping[str, Any], limit: int) -> int:
    """Refuse what the bank cannot serve exactly; the adapter's rank."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise AdapterError(f"peft_type is {kind!r}; only LORA can be served")
    for key, allowed in PLAIN.items():
        if config.get(key) not in allowed:
            raise AdapterError(f"{key}={config[key]!r} is not supported")
    for key in ABSENT:
        if config.get(key):
            raise AdapterError(f"{key} is not supported")
    rank = config.get("r")
    if not isinstance(rank, int) or rank < 1:
        raise AdapterError(f"r is {rank!r}, not a rank")
    if rank > limit:
        raise AdapterError(f"rank {rank} exceeds engine.adapter_rank = {limit}; raise it")
    return rank


def _tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        raise AdapterError(f"{path.name} is missing (other formats are not read)")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(f"{path.name} is damaged ({error})") from error


def _pair(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Put the two halves of every module together."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, dot, half = key.removesuffix(".weight").rpartition(".")
        if half not in ("lora_A", "lora_B") or not key.endswith(".weight") or not dot:
            raise AdapterError(f"unexpected tensor {key}")
        halves.setdefault(name.removeprefix(PREFIX), {})[half] = tensor
    for name, found in halves.items():
        if len(found) != 2:
            raise AdapterError(f"{name} has {' and '.join(found)} only")
    return {name: (found["lora_A"], found["lora_B"]) for name, found in halves.items()}


def _check_pair(
    name: str, a: Tensor, b: Tensor, sites: Mapping[str, tuple[int, int]], rank: int
) -> None:
    if name not in sites:
        raise AdapterError(f"the model has no linear module {name}; made for another base?")
    inner, outer = sites[name]
    if tuple(a.shape) != (rank, inner) or tuple(b.shape) != (outer, rank):
        raise AdapterError(
            f"{name} has shapes {tuple(a.shape)} and {tuple(b.shape)}, expected "
            f"{(rank, inner)} and {(outer, rank)}; made for another base?"
        )
    for tensor in (a, b):
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise AdapterError(f"{name} holds values that are not finite numbers")
