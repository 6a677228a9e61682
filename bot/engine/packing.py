"""Weights laid out once in the order in which the processor's matrix kernels read them.

A step of a few rows is spent reading weights, and the plain layout is read badly: each output's
weights lie in a short run of their own. oneDNN reorders them into blocks, once, and its kernel
then takes what a short matrix needs. A single row, which is multiplied with a vector's routines, is
best served by long runs, one for each input. The copies stand beside the weights, which training
and whoever else holds the tensors go on using.

It knows weights and nothing of models, requests or adapters. The two operators are those that
PyTorch's own compiler calls when it freezes a model for a CPU; where they are missing or do not
give what they should, weights are used as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bot.engine.free import free_memory

log = logging.getLogger(__name__)

SHARE = 0.25
"""Of the memory that is free, the most that copies may take."""
DTYPES = (torch.float32, torch.bfloat16)

FEW = 16
"""Tokens above which their number is rounded up to the next multiple: oneDNN makes a kernel for
every number that it meets, in milliseconds each, and keeps some hundred megabytes of them."""

Product = Callable[[Tensor], Tensor]
"""``[tokens, in]`` to ``[tokens, out]``."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A product with a weight as it is."""

    weight: Tensor
    """``[out, in]``."""
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Packed:
    """A product with copies of a weight."""

    rows: Tensor
    """Blocks, for several rows."""
    row: Tensor
    """For one, ``[out, in]``: the weight, or a copy of which each column lies in one run."""
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        if x.numel() == x.shape[-1]:
            return functional.linear(x, self.row, self.bias)
        count = x.shape[-2]
        spare = -count % FEW if count > FEW else 0
        if spare:
            x = functional.pad(x, (0, 0, 0, spare))
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.rows, self.bias, "none", [], ""
        )
        return found.narrow(-2, 0, count) if spare else found


@dataclass(frozen=True, slots=True)
class Packing:
    """How many copies of each weight there is room for."""

    copies: int
    """2 for blocks and runs, 1 for blocks alone, 0 where weights stay as they are."""

    @classmethod
    def of(cls, like: Tensor, size: int, most: float | None = None) -> Packing:
        """What suits weights of this kind.

        Args:
            like: one of them.
            size: bytes of all.
            most: bytes that the copies may take; None for a share of the memory that is free.
        """
        if most is None:
            most = SHARE * free_memory(like.device)
        if like.device.type != "cpu" or like.dtype not in DTYPES or size > most or not _works(like):
            return cls(0)
        # Where there is no room for two copies of each, a single row goes by the weight itself.
        return cls(2 if 2 * size <= most else 1)

    def product(self, weight: Tensor, bias: Tensor | None) -> Product:
        """The product with a weight ``[out, in]``."""
        weight = weight.detach()
        if not self.copies:
            return Plain(weight, bias)
        # Not told how many rows will come, it lays out blocks good for few and for hundreds.
        blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        return Packed(blocks, weight.t().contiguous().t() if self.copies == 2 else weight, bias)


@torch.inference_mode()
def _works(weight: Tensor) -> bool:
    """Whether the operators are there and agree with the plain ones."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch's own
        return False
    x = torch.linspace(-1, 1, 3 * weight.shape[1], dtype=weight.dtype).view(3, -1)
    try:
        found = Packing(1).product(weight, None)(x)
    except (AttributeError, RuntimeError) as error:
        log.debug("weights are not packed", exc_info=error)
        return False
    plain = functional.linear(x, weight)
    tolerance = 1e-5 if x.dtype == torch.float32 else 2e-2
    return bool((found - plain).abs().max() <= tolerance * plain.abs().max().clamp(min=1e-6))
