"""What lies between the matrix products of a layer, as operations of torch.

`bot.engine.kernels` has the same in fewer passes over memory, for where it can be compiled. Nothing
of a model's structure is known here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

Angles = tuple[Tensor, ...]
"""Cosines and sines of some tokens' positions, as whoever rotates by them wants them."""


class Operations:
    """On any device and in any dtype."""

    def angles(self, cosine: Tensor, sine: Tensor, positions: Tensor) -> Angles:
        """What tokens are rotated by, for all layers of a pass.

        Args:
            cosine: ``[positions, width]``.
            sine: likewise, the sign of its first half changed.
            positions: ``[tokens]``.
        """
        return cosine[positions][:, None], sine[positions][:, None]

    def rotate(self, x: Tensor, angles: Angles) -> None:
        """Turn the two halves of each head, ``[tokens, heads, width]``, in place."""
        cosine, sine = angles
        half = x.shape[-1] // 2
        swapped = torch.cat((x[..., half:], x[..., :half]), dim=-1)
        x.mul_(cosine).addcmul_(swapped, sine)

    def gated(self, x: Tensor) -> Tensor:
        """SiLU of the first half of each row, times the second: ``[n, 2 w]`` to ``[n, w]``."""
        gate, up = x.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)

    def normalise(
        self, x: Tensor, weight: Tensor, least: float, added: Tensor | None = None
    ) -> Tensor:
        """Add to ``[..., width]``, in place, and give it with a root mean square of 1, times a
        weight; `least` is added to the mean square."""
        if added is not None:
            x.add_(added)
        return functional.rms_norm(x, weight.shape, weight, least)
