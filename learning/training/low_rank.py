"""A linear layer with a low-rank addition, and its gradient: y = x W' + s (x A') B'.

The one place where training leaves torch's own autograd: written as one operation, a layer
keeps nothing for the backward pass but what it was given and ``x A'``, adds in place, and
never asks for a gradient of the frozen W. It knows nothing of models, files or seeds; A and B
are handed to it before each pass, and with none it is the frozen layer.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.pytorch_utils import Conv1D


class LowRank(nn.Module):
    """A frozen linear layer that an adapter sits on."""

    def __init__(self, base: nn.Linear | Conv1D, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        # GPT-2's layers hold their weight transposed.
        weight = base.weight.T if isinstance(base, Conv1D) else base.weight
        self.shape = cast("tuple[int, int]", tuple(weight.shape))
        """(out, in) features."""
        self.pair: tuple[Tensor, Tensor] | None = None
        """A ``[rank, in]`` and B ``[out, rank]``."""

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``; the pair is used in the dtype of `x`."""
        if self.pair is None:
            return cast(Tensor, self.base(x))
        base = self.base
        weight = base.weight.T if isinstance(base, Conv1D) else base.weight
        a, b = (one.to(x.dtype) for one in self.pair)
        return cast(Tensor, _Added.apply(x, weight, base.bias, a, b, self.scale))  # type: ignore[no-untyped-call]  # torch's


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor,
        scale: float,
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ a.T
        ctx.save_for_backward(flat, low, weight, a, b)
        ctx.scale = scale
        out = functional.linear(flat, weight, bias).addmm_(low, b.T, alpha=scale)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, low, weight, a, b = ctx.saved_tensors
        shape = grad.shape[:-1]
        grad = grad.reshape(-1, grad.shape[-1])
        back = (grad @ b).mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(back, a).view(*shape, -1)
        return grad_x, None, None, back.T @ flat, (grad.T @ low).mul_(ctx.scale), None
