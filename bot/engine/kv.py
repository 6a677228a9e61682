"""Where running replies keep their keys and values: packed rows of one tensor per layer.

A row is one reply. Rows lie next to each other, the decoding ones in front, so that a
step reads the contiguous view ``[a:b, :L]`` of every layer and nothing is gathered. The
cache knows neither requests nor adapters: it is told which rows and positions the next
forward pass writes, and moves a row when the batch asks for it. Whose tokens a row
holds, and how many of them count, is the batch's business (`bot.engine.batch`).

What lies behind a row's length is stale but finite, and the mask hides it. It must stay
finite: a masked NaN still spoils attention, so a row that went wrong is cleared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

SMALLEST = 128
"""Positions of the first arena; it doubles from there."""

Saved = tuple[tuple[Tensor, Tensor], ...]
"""A row's keys and values, one pair per layer, each ``[length, heads, head_dim]``."""


@dataclass(slots=True)
class Window:
    """What the next forward pass writes and reads.

    `rows` and `positions` are ``[m, q]``: the arena row and the position of every token
    of the pass. The pass reads rows ``first:last`` up to position `length`.
    """

    first: int
    last: int
    length: int
    rows: Tensor
    positions: Tensor

    def mask(self, ladder: Tensor) -> Tensor:
        """Who sees whom: bool ``[m, 1, q, length]``; a token sees its row up to itself.

        `ladder` is ``arange`` over at least `length` positions.
        """
        return (ladder[: self.length] <= self.positions[..., None])[:, None]


class PackedLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # transformers' own
    """One layer's arena: ``[rows, heads, capacity, head_dim]``, allocated when first used.

    Heads come before positions, so that what a head reads is one run of memory: a step writes a
    token and reads all that came before it. Whoever moves rows about sees positions first.
    """

    is_compileable = False
    is_sliding = False

    def __init__(self, rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers' own
        self.rows = rows
        self.capacity = SMALLEST
        self.window: Window | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate for keys and values of this shape, ``[m, heads, q, head_dim]``."""
        self.keys = self._arena(key_states.shape[1], key_states.shape[3], key_states)
        self.values = self._arena(value_states.shape[1], value_states.shape[3], value_states)
        self.is_initialized = True

    def _arena(self, heads: int, width: int, like: Tensor) -> Tensor:
        return like.new_zeros(self.rows, heads, self.capacity, width)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the pass's tokens; the views that attention reads, ``[m, heads, L, dim]``."""
        window = self.window
        if window is None:
            raise RuntimeError("the packed cache was used outside of a window")
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys, values = self.tensors()
        place = (window.rows, window.positions)
        keys.index_put_(place, key_states.transpose(1, 2))
        values.index_put_(place, value_states.transpose(1, 2))
        rows, length = slice(window.first, window.last), window.length
        return keys[rows, :length].transpose(1, 2), values[rows, :length].transpose(1, 2)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """The whole arena of this layer, as views ``[rows, capacity, heads, head_dim]``."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys.transpose(1, 2), self.values.transpose(1, 2)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` positions in every row, keeping what is there.

        When there is no memory for it, nothing has changed.
        """
        if self.is_initialized:
            assert self.keys is not None
            assert self.values is not None
            old = self.keys, self.values
            new = [t.new_zeros(*t.shape[:2], capacity, t.shape[3]) for t in old]
            for source, target in zip(old, new, strict=True):
                target[:, :, : self.capacity] = source
            self.keys, self.values = new
        self.capacity = capacity

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what is read, for models that build a mask themselves."""
        return (self.window.length if self.window else query_length), 0

    def get_seq_length(self) -> int:
        """Positions before the pass; models only ask when they are not given positions."""
        return self.window.length - self.window.positions.shape[1] if self.window else 0

    def get_max_length(self) -> int:
        """Positions a row can hold now."""
        return self.capacity


class PackedCache(Cache):
    """The arena of all layers, handed to the model as ``past_key_values``.

    Args:
        layers: of the model.
        rows: replies at once.
        limit: positions a row will ever need; growth stops there.
    """

    def __init__(self, layers: int, rows: int, limit: int) -> None:
        self.packed = [PackedLayer(rows) for _ in range(layers)]
        self._limit = limit
        super().__init__(layers=list(self.packed))

    @property
    def capacity(self) -> int:
        """Positions every row can hold now."""
        return min(layer.capacity for layer in self.packed)

    def aim(self, window: Window | None) -> None:
        """Say what the next forward pass writes and reads."""
        for layer in self.packed:
            layer.window = window

    def reserve(self, length: int) -> None:
        """Grow by doubling until every row can hold `length` positions."""
        capacity = self.capacity
        while capacity < length:
            capacity *= 2
        if capacity != self.capacity:
            capacity = max(length, min(capacity, self._limit))
            for layer in self.packed:
                if layer.capacity < capacity:
                    layer.grow(capacity)

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row onto another."""
        if source == target:
            return
        for layer in self.packed:
            if layer.is_initialized:
                for tensor in layer.tensors():
                    tensor[target, :length] = tensor[source, :length]

    def clear_row(self, row: int) -> None:
        """Zero a row whose values cannot be trusted to be finite."""
        for layer in self.packed:
            if layer.is_initialized:
                for tensor in layer.tensors():
                    tensor[row].zero_()

    def save(self, row: int, length: int) -> Saved:
        """A copy of the first `length` positions of a row."""
        return tuple(
            (keys[row, :length].clone(), values[row, :length].clone())
            for keys, values in (layer.tensors() for layer in self.packed)
        )

    def restore(self, row: int, saved: Saved, length: int) -> None:
        """Write the first `length` saved positions into a row; `reserve` comes first."""
        for layer, (keys, values) in zip(self.packed, saved, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(*(t[None, :0].transpose(1, 2) for t in (keys, values)))
            arena_keys, arena_values = layer.tensors()
            arena_keys[row, :length] = keys[:length]
            arena_values[row, :length] = values[:length]


def ladder(length: int, device: torch.device) -> Tensor:
    """Positions ``0..length-1``, the right-hand side of every mask."""
    return torch.arange(length, device=device)
