"""The serving LoRA bank: several adapter versions, and the base, in one batch.

Every adapted module has ``slots`` places of one fixed rank, laid side by side:
``A [slots * rank, in]``, ``B [slots * rank, out]`` with the adapter's scale folded in. A
forward hook adds ``((x A^T) * mask) B``, where the mask lets a row see its own slot's
columns only. Slots that no row of the batch uses are left out of the product, and with
no adapter in the batch a hook returns at once.

The bank knows slots, not names: which version lives in which slot, and when it may go,
is `bot.engine.versions`' business. The modules that serve stay what they were; the
hooks come off with `remove`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle
from transformers.pytorch_utils import Conv1D

from bot.engine.adapter_file import AdapterWeights


@dataclass(slots=True)
class _Site:
    """One module's share of the bank."""

    a: Tensor
    """``[slots * rank, in]``."""
    b: Tensor
    """``[slots * rank, out]``."""
    handle: RemovableHandle


@dataclass(frozen=True, slots=True)
class _Use:
    """Which columns the current batch needs, and who sees which."""

    low: int
    high: int
    mask: Tensor | None
    """``[rows, 1, high - low]``, or None where all rows use the one slot there is."""


class LoraBank:
    """Adapters side by side on the modules of one model."""

    def __init__(self, model: nn.Module, slots: int, rank: int) -> None:
        self.slots = slots
        self.rank = rank
        self._modules = dict(linear_modules(model))
        self._sites: dict[str, _Site] = {}
        self._use: _Use | None = None
        self._last: tuple[tuple[int | None, ...], _Use | None] = ((), None)
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(in, out) features of every module that may carry an adapter."""
        return {name: features(module) for name, module in self._modules.items()}

    def put(self, slot: int, weights: AdapterWeights) -> None:
        """Fill a slot; modules the adapter leaves alone get zeros there."""
        for name in weights.pairs:
            if name not in self._sites:
                self._sites[name] = self._site(name)
        low = slot * self.rank
        for name, site in self._sites.items():
            site.a[low : low + self.rank].zero_()
            site.b[low : low + self.rank].zero_()
            if name in weights.pairs:
                a, b = weights.pairs[name]
                site.a[low : low + weights.rank].copy_(a)
                site.b[low : low + weights.rank].copy_(b.float().T * weights.scale)

    def clear(self, slot: int) -> None:
        """Empty a slot."""
        self.put(slot, AdapterWeights({}, 0, 0.0))

    def remove(self) -> None:
        """Take the hooks off the model."""
        for site in self._sites.values():
            site.handle.remove()
        self._sites.clear()

    @contextmanager
    def rows(self, slots: Sequence[int | None]) -> Iterator[None]:
        """Apply these slots to the rows of the forward passes inside; None is the base."""
        key = tuple(slots)
        if key != self._last[0]:
            self._last = (key, self._plan(key))
        self._use = self._last[1]
        try:
            yield
        finally:
            self._use = None

    def _plan(self, slots: tuple[int | None, ...]) -> _Use | None:
        used = sorted({slot for slot in slots if slot is not None})
        if not used:
            return None
        low, high = used[0] * self.rank, (used[-1] + 1) * self.rank
        if len(used) == 1 and None not in slots:
            return _Use(low, high, None)
        mask = torch.zeros(len(slots), 1, high - low, dtype=self._dtype)
        for row, slot in enumerate(slots):
            if slot is not None:
                start = slot * self.rank - low
                mask[row, :, start : start + self.rank] = 1
        return _Use(low, high, mask.to(self._device))

    def _site(self, name: str) -> _Site:
        inner, outer = features(self._modules[name])
        width = self.slots * self.rank
        a = torch.zeros(width, inner, dtype=self._dtype, device=self._device)
        b = torch.zeros(width, outer, dtype=self._dtype, device=self._device)
        return _Site(a, b, self._modules[name].register_forward_hook(self._hook(a, b)))

    def _hook(self, a: Tensor, b: Tensor) -> Callable[..., Tensor | None]:
        def add(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            use = self._use
            if use is None:
                return None
            low = functional.linear(args[0], a[use.low : use.high])
            if use.mask is not None:
                low = low * use.mask
            # The output is the module's own fresh tensor, so adding in place is safe.
            output.view(-1, output.shape[-1]).addmm_(low.flatten(0, -2), b[use.low : use.high])
            return output

        return add


def linear_modules(model: nn.Module) -> Mapping[str, nn.Module]:
    """Every module of the model that an adapter may target, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, (nn.Linear, Conv1D))}


def features(module: nn.Module) -> tuple[int, int]:
    """(in, out) of a Linear, or of GPT-2's Conv1D, whose weight is stored transposed."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    rows, columns = weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)
