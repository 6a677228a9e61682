"""Weights laid out once in the order in which the processor's matrix kernels read them.

A step of a few rows is spent reading weights, and the plain layout is read badly: each output's
weights lie in a short run of their own. oneDNN reorders them into blocks, once, and its kernel
then takes what a short matrix needs. A single row, which is multiplied with a vector's routines, is
best served by long runs, one for each input. The copies stand beside the weights, which training
and whoever else holds the tensors go on using; so a model is packed that only serves.

It knows a tree of modules and nothing of requests, adapters or training. The two operators are
those that PyTorch's own compiler calls when it freezes a model for a CPU; where they are missing
or do not give what they should, the modules stay as they are.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

log = logging.getLogger(__name__)

SHARE = 0.25
"""Of the memory that is free, the most that copies may take."""
DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Packed:
    """A Linear's forward pass on copies of its weight."""

    rows: Tensor
    """Blocks, for several rows."""
    row: Tensor
    """For one, ``[out, in]``: the weight, or a copy of which each column lies in one run."""
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        if x.numel() == x.shape[-1]:
            return functional.linear(x, self.row, self.bias)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.rows, self.bias, "none", [], ""
        )
        return found


def pack(model: nn.Module, most: float | None = None) -> int:
    """Let the Linear modules of a model on the CPU use packed weights; bytes of the copies.

    The modules must not be trained or copied afterwards. 0 where nothing was packed.

    Args:
        most: bytes that the copies may take; None for a share of the memory that is free.
    """
    linears = [
        one for one in model.modules()
        if type(one) is nn.Linear and one.weight.device.type == "cpu" and one.weight.dtype in DTYPES
    ]
    size = sum(one.weight.nbytes for one in linears)
    if most is None:
        most = SHARE * float(psutil.virtual_memory().available)
    if not linears or size > most or not _works(linears[0]):
        return 0
    # Where there is no room for two copies of each, a single row goes by the weight itself.
    both = 2 * size <= most
    for one in linears:
        one.forward = _packed(one, both=both)  # type: ignore[method-assign, assignment]  # as nn.Module finds it
    return 2 * size if both else size


def _packed(module: nn.Linear, *, both: bool) -> Packed:
    weight = module.weight.detach()
    # Not told how many rows will come, it lays out blocks that are good for few and for hundreds.
    blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return Packed(blocks, weight.t().contiguous().t() if both else weight, module.bias)


@torch.inference_mode()
def _works(module: nn.Linear) -> bool:
    """Whether the operators are there and agree with the plain ones."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch's own
        return False
    x = torch.linspace(-1, 1, 3 * module.in_features, dtype=module.weight.dtype)
    x = x.view(1, 3, module.in_features)
    try:
        found = _packed(module, both=False)(x)
    except (AttributeError, RuntimeError) as error:
        log.debug("weights are not packed", exc_info=error)
        return False
    plain = functional.linear(x, module.weight, module.bias)
    tolerance = 1e-5 if x.dtype == torch.float32 else 2e-2
    return bool((found - plain).abs().max() <= tolerance * plain.abs().max().clamp(min=1e-6))
