"""Where running replies keep their keys and values: packed rows of one tensor per layer.

A row is one reply. Rows lie next to each other, the decoding ones in front, so that a
step reads the contiguous view ``[:n, :, :L]`` of every layer and nothing is gathered. The
arena knows neither requests nor adapters: it writes where it is told, and moves a row when
the batch asks for it. Whose tokens a row holds, and how many of them count, is the batch's
business (`bot.engine.batch`).

What lies behind a row's length is stale but finite, and nobody is shown it. It must stay
finite: a masked NaN still spoils attention, so a row that went wrong is cleared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 128
"""Positions of the first arena; it doubles from there."""

Saved = tuple[tuple[Tensor, Tensor], ...]
"""A row's keys and values, one pair per layer, each ``[length, heads, head_dim]``."""


class Arena:
    """Keys and values of all layers, allocated when they are first written.

    Each is ``[rows, heads, capacity, head_dim]``: heads come before positions, so that what a
    head reads is one run of memory, for a step writes a token and reads all that came before
    it. Whoever moves rows about sees positions first.

    Args:
        layers: of the model.
        rows: replies at once.
        limit: positions a row will ever need; growth stops there.
    """

    def __init__(self, layers: int, rows: int, limit: int) -> None:
        self.capacity = min(SMALLEST, limit)
        """Positions every row can hold now."""
        self._rows = rows
        self._limit = limit
        self._layers: list[tuple[Tensor, Tensor] | None] = [None] * layers

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        return sum(t.nbytes for pair in self._layers if pair is not None for t in pair)

    def write(
        self, layer: int, rows: Tensor, positions: Tensor, keys: Tensor, values: Tensor
    ) -> None:
        """Put tokens ``[t, heads, head_dim]`` into their rows and positions, both ``[t]``."""
        for arena, new in zip(self.pair(layer, keys, values), (keys, values), strict=True):
            arena.transpose(1, 2).index_put_((rows, positions), new)

    def rows(self, layer: int, first: int, last: int, length: int) -> tuple[Tensor, Tensor]:
        """Views of the beginnings of some rows, ``[last - first, heads, length, head_dim]``."""
        pair = self._layers[layer]
        assert pair is not None
        keys, values = pair
        return keys[first:last, :, :length], values[first:last, :, :length]

    def reserve(self, length: int) -> None:
        """Grow by doubling until every row can hold `length` positions.

        Where there is no memory for it, nothing has changed.
        """
        capacity = self.capacity
        while capacity < length:
            capacity *= 2
        if capacity == self.capacity:
            return
        capacity = max(length, min(capacity, self._limit))
        self._layers = [pair and self._grown(pair, capacity) for pair in self._layers]
        self.capacity = capacity

    def _grown(self, pair: tuple[Tensor, Tensor], capacity: int) -> tuple[Tensor, Tensor]:
        keys, values = (t.new_zeros(*t.shape[:2], capacity, t.shape[3]) for t in pair)
        for old, new in zip(pair, (keys, values), strict=True):
            new[:, :, : self.capacity] = old
        return keys, values

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row onto another."""
        if source != target:
            for tensor in self._tensors():
                tensor[target, :, :length] = tensor[source, :, :length]

    def copy_rows(
        self, sources: Sequence[int], targets: Sequence[int], first: int, length: int
    ) -> None:
        """Copy positions from `first` to `length` of some rows onto others, none of them both."""
        if sources and first < length:
            for tensor in self._tensors():
                tensor[targets, :, first:length] = tensor[sources, :, first:length]

    def clear_row(self, row: int) -> None:
        """Zero a row whose values cannot be trusted to be finite."""
        for tensor in self._tensors():
            tensor[row].zero_()

    def save(self, row: int, length: int) -> Saved:
        """A copy of the first `length` positions of a row."""
        pairs = [pair for pair in self._layers if pair is not None]
        return tuple(
            (_copy(_of(keys, row, length)), _copy(_of(values, row, length)))
            for keys, values in pairs
        )

    def restore(self, row: int, saved: Saved, length: int) -> None:
        """Write the first `length` saved positions into a row; `reserve` comes first."""
        for layer, (keys, values) in enumerate(saved):
            for arena, kept in zip(self.pair(layer, keys, values), (keys, values), strict=True):
                _of(arena, row, length).copy_(kept[:length])

    def pair(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All of a layer, ``[rows, heads, capacity, head_dim]``, made for keys and values of this
        kind where there is none yet."""
        pair = self._layers[layer]
        if pair is None:
            pair = (self._made(keys), self._made(values))
            self._layers[layer] = pair
        return pair

    def _made(self, like: Tensor) -> Tensor:
        _, heads, width = like.shape
        return like.new_zeros(self._rows, heads, self.capacity, width)

    def _tensors(self) -> list[Tensor]:
        return [tensor for pair in self._layers if pair is not None for tensor in pair]


def _of(arena: Tensor, row: int, length: int) -> Tensor:
    """A row's beginning, positions first."""
    return arena[row, :, :length].transpose(0, 1)


def _copy(tensor: Tensor) -> Tensor:
    # Not contiguous(), which copies nothing where there is one head.
    return tensor.clone(memory_format=torch.contiguous_format)
