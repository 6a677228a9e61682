"""Weights laid out once in the order in which the processor's matrix kernels read them.

A step of a few rows is spent reading weights, and the plain layout is read badly: each output's
weights lie in a short run of their own. So there is a copy in another order beside the weights,
which training and whoever else holds the tensors go on using. Where registers are wide it is
panels of 16 outputs, for compiled code (`bot.engine.kernels`). Elsewhere oneDNN makes blocks of its
own, and one to three rows go by the weights as they are, in compiled code if there is any.

It knows weights and nothing of models, requests or adapters. oneDNN's two operators are those that
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
from bot.engine.kernels import Kernels

log = logging.getLogger(__name__)

SHARE = 0.25
"""Of the memory that is free, the most that packed copies may take."""
DTYPES = (torch.float32, torch.bfloat16)

FEWEST = 3
"""Tokens up to which compiled code is faster than oneDNN."""
FEW = 16
"""Tokens above which their number is rounded up to the next multiple: oneDNN makes a kernel for
every number that it meets, in milliseconds each, and keeps some hundred megabytes of them."""

Product = Callable[[Tensor], Tensor]
"""``[..., in]`` to ``[..., out]``."""


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
class Few:
    """A product with a weight as it is, in compiled code."""

    weight: Tensor
    """``[out, in]``."""
    bias: Tensor | None
    kernels: Kernels

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        found = self.kernels.multiply(x.reshape(-1, x.shape[-1]), self.weight)
        if self.bias is not None:
            found.add_(self.bias)
        return found.view(*x.shape[:-1], -1)


@dataclass(frozen=True, slots=True)
class Panels:
    """A product with a copy of a weight in panels, in compiled code."""

    panels: Tensor
    outer: int
    bias: Tensor | None
    kernels: Kernels

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        flat = x.reshape(-1, x.shape[-1])
        found = self.kernels.multiply_panels(flat, self.panels, self.outer)
        if self.bias is not None:
            found.add_(self.bias)
        return found.view(*x.shape[:-1], -1)


@dataclass(frozen=True, slots=True)
class Packed:
    """A product with a weight and a copy of it in blocks."""

    blocks: Tensor
    bias: Tensor | None
    few: Product
    """The same for a few tokens, at most `fewest`."""
    fewest: int

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        if x.numel() <= self.fewest * x.shape[-1]:
            return self.few(x)
        count = x.shape[-2]
        spare = -count % FEW if count > FEW else 0
        if spare:
            x = functional.pad(x, (0, 0, 0, spare))
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.blocks, self.bias, "none", [], ""
        )
        return found.narrow(-2, 0, count) if spare else found


@dataclass(frozen=True, slots=True)
class Packing:
    """What is made of weights."""

    packed: bool
    """Whether there is room for packed copies, and they are of use."""
    kernels: Kernels | None = None

    @classmethod
    def of(
        cls, like: Tensor, size: int, kernels: Kernels | None = None, most: float | None = None
    ) -> Packing:
        """What suits weights of this kind.

        Args:
            like: one of them.
            size: bytes of all.
            kernels: where they can be had and the weights are of a kind for them.
            most: bytes that the copies may take; None for a share of the memory that is free.
        """
        if most is None:
            most = SHARE * free_memory(like.device)
        fitting = like.device.type == "cpu" and like.dtype in DTYPES and size <= most
        return cls(fitting and _works(like), kernels)

    def product(self, weight: Tensor, bias: Tensor | None) -> Product:
        """The product with a weight ``[out, in]``."""
        weight = weight.detach()
        plain = Plain(weight, bias)
        if not self.packed:
            return plain
        if self.kernels is not None and self.kernels.wide:
            return Panels(self.kernels.panels(weight), len(weight), bias, self.kernels)
        # Not told how many rows will come, it lays out blocks good for few and for hundreds.
        blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        if self.kernels is None:
            return Packed(blocks, bias, plain, 1)
        return Packed(blocks, bias, Few(weight, bias, self.kernels), FEWEST)


@torch.inference_mode()
def _works(weight: Tensor) -> bool:
    """Whether the operators are there and agree with the plain ones."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch's own
        return False
    x = torch.linspace(-1, 1, 3 * weight.shape[1], dtype=weight.dtype).view(3, -1)
    try:
        found = Packing(packed=True).product(weight, None)(x)
    except (AttributeError, RuntimeError) as error:
        log.debug("weights are not packed", exc_info=error)
        return False
    plain = functional.linear(x, weight)
    tolerance = 1e-5 if x.dtype == torch.float32 else 2e-2
    return bool((found - plain).abs().max() <= tolerance * plain.abs().max().clamp(min=1e-6))
