"""The serving LoRA bank: several adapter versions, and the base, in one pass.

Every adapted module has ``slots`` places of one fixed rank, laid side by side:
``A [slots * rank, in]``, ``B [slots * rank, out]`` with the adapter's scale folded in.
``((x A^T) * mask) B`` is added to what the module says, where the mask lets a token see its own
slot's columns only. Slots that no row of the pass uses are left out of the product, and with
no adapter in the pass nothing is done. For few tokens there is a way without a mask: compiled
code goes to each token's own slot. Modules that read the same input are added at once.

The bank knows slots, not names: which version lives in which slot, and when it may go,
is `bot.engine.versions`' business. The modules that serve stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from bot.engine.adapter_file import AdapterWeights
from bot.engine.kernels import Adapters, Kernels

FEW = 64
"""Tokens up to which each is better added to by itself."""


@dataclass(frozen=True, slots=True)
class _Site:
    """One module's share of the bank."""

    a: Tensor
    """``[slots * rank, in]``."""
    b: Tensor
    """``[slots * rank, out]``."""


@dataclass(frozen=True, slots=True)
class _Use:
    """Which columns the current pass needs, and who sees which."""

    low: int
    high: int
    mask: Tensor | None
    """``[rows, high - low]``, or None where all rows use the one slot there is."""
    slots: Tensor
    """``[rows]``, -1 for the base."""


class LoraBank:
    """Adapters side by side for the modules of one model.

    Args:
        model: whose modules they are.
        slots: places for versions.
        rank: the highest there is room for.
        kernels: where they can be had and the model is one for them.
    """

    def __init__(
        self, model: nn.Module, slots: int, rank: int, kernels: Kernels | None = None
    ) -> None:
        self.slots = slots
        self.rank = rank
        self.kernels = kernels
        self._shapes = {name: features(module) for name, module in linear_modules(model).items()}
        self._sites: dict[str, _Site] = {}
        self._filled = 0
        """How often a slot was filled or emptied: what was made of the sites is old after it."""
        self._use: _Use | None = None
        self._mask: Tensor | None = None
        """Of the current pass, ``[tokens, high - low]``, where the tokens are many."""
        self._own: Tensor | None = None
        """Of the current pass, ``[tokens]``, the slot of each, where they are few."""
        self._last: tuple[tuple[int | None, ...], _Use | None] = ((), None)
        parameter = next(model.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype

    def shapes(self) -> dict[str, tuple[int, int]]:
        """(in, out) features of every module that may carry an adapter."""
        return dict(self._shapes)

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
        self._filled += 1

    def clear(self, slot: int) -> None:
        """Empty a slot."""
        self.put(slot, AdapterWeights({}, 0, 0.0))

    def remove(self) -> None:
        """Empty all slots and free what they took."""
        self._sites.clear()
        self._filled += 1

    def group(self, *names: str) -> Group:
        """The adapters of modules that read the same input, by the modules' names."""
        return Group(self, names)

    @contextmanager
    def rows(self, slots: Sequence[int | None], rows: Tensor) -> Iterator[None]:
        """Apply these slots to the tokens of the passes inside; None is the base.

        One pass may stand in the middle of another.

        Args:
            slots: of each row.
            rows: whose each token is, ``[tokens]``.
        """
        key = tuple(slots)
        if key != self._last[0]:
            self._last = (key, self._plan(key))
        outer = self._use, self._mask, self._own
        use = self._use = self._last[1]
        self._mask = self._own = None
        if use is not None and self.kernels is not None and len(rows) <= FEW:
            self._own = use.slots[rows]
        elif use is not None and use.mask is not None:
            self._mask = use.mask[rows]
        try:
            yield
        finally:
            self._use, self._mask, self._own = outer

    def _plan(self, slots: tuple[int | None, ...]) -> _Use | None:
        used = sorted({slot for slot in slots if slot is not None})
        if not used:
            return None
        low, high = used[0] * self.rank, (used[-1] + 1) * self.rank
        own = torch.tensor([-1 if slot is None else slot for slot in slots], device=self._device)
        if len(used) == 1 and None not in slots:
            return _Use(low, high, None, own)
        mask = torch.zeros(len(slots), high - low, dtype=self._dtype)
        for row, slot in enumerate(slots):
            if slot is not None:
                start = slot * self.rank - low
                mask[row, start : start + self.rank] = 1
        return _Use(low, high, mask.to(self._device), own)

    def _site(self, name: str) -> _Site:
        inner, outer = self._shapes[name]
        width = self.slots * self.rank
        a = torch.zeros(width, inner, dtype=self._dtype, device=self._device)
        b = torch.zeros(width, outer, dtype=self._dtype, device=self._device)
        return _Site(a, b)


class Group:
    """The adapters of modules that read the same input, whose outputs lie side by side."""

    def __init__(self, bank: LoraBank, names: Sequence[str]) -> None:
        self._bank = bank
        self._names = names
        self._made_of: tuple[int, int, int] = (-1, 0, 0)
        self._parts = 0
        self._a = self._b = torch.empty(0)
        self._filled = -1
        self._each: Adapters | None = None
        self._ends = torch.tensor([bank._shapes[name][1] for name in names]).cumsum(0)

    def add(self, x: Tensor, output: Tensor) -> None:
        """Add to the modules' output, in place, what the current pass's adapters say.

        Args:
            x: ``[tokens, in]``.
            output: ``[tokens, out]``, of all modules together.
        """
        bank = self._bank
        use = bank._use
        if use is None:
            return
        if bank.kernels is not None and bank._own is not None:
            if self._filled != bank._filled:
                self._filled, self._each = bank._filled, self._of_each(bank.kernels)
            if self._each is not None:
                self._each.add(x, bank._own, output)
            return
        if self._made_of != (bank._filled, use.low, use.high):
            self._make(use)
        if not self._parts:
            return
        low = functional.linear(x, self._a)
        if bank._mask is not None:
            low = (low.view(len(x), self._parts, -1) * bank._mask[:, None]).view(len(x), -1)
        output.addmm_(low, self._b)

    def _of_each(self, kernels: Kernels) -> Adapters | None:
        """Slots one behind the other; None where all are empty."""
        sites, shapes = self._bank._sites, self._bank._shapes
        if not any(name in sites for name in self._names):
            return None
        # A module that no adapter is on has zeros.
        of = [sites.get(name) or self._bank._site(name) for name in self._names]
        inner, slots = shapes[self._names[0]][0], self._bank.slots
        a = torch.cat([site.a.view(slots, -1, inner) for site in of], dim=1)
        b = torch.cat([site.b.view(slots, self._bank.rank, -1) for site in of], dim=2)
        return kernels.adapters(a, b, self._ends)

    def _make(self, use: _Use) -> None:
        """Lay the columns in use side by side: one product with the input, one with the rest."""
        sites, shapes = self._bank._sites, self._bank._shapes
        there = [name for name in self._names if name in sites]
        self._parts = len(there)
        self._made_of = (self._bank._filled, use.low, use.high)
        if not there:
            return
        width = use.high - use.low
        self._a = torch.cat([sites[name].a[use.low : use.high] for name in there])
        self._b = self._a.new_zeros(width * len(there), sum(shapes[n][1] for n in self._names))
        place = 0
        for name in self._names:
            outer = shapes[name][1]
            if name in sites:
                part = there.index(name) * width
                own = sites[name].b[use.low : use.high]
                self._b[part : part + width, place : place + outer] = own
            place += outer


def linear_modules(model: nn.Module) -> Mapping[str, nn.Module]:
    """Every module of the model that an adapter may target, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, (nn.Linear, Conv1D))}


def features(module: nn.Module) -> tuple[int, int]:
    """(in, out) of a Linear, or of GPT-2's Conv1D, whose weight is stored transposed."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    rows, columns = weight.shape
    return (rows, columns) if isinstance(module, Conv1D) else (columns, rows)
