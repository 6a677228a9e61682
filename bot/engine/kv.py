"""Where running replies keep their keys and values: packed rows of one tensor per layer.

A row is one reply. Rows lie next to each other, the decoding ones in front, so that a
step reads the contiguous view ``[:n, :, :L]`` of every layer and nothing is gathered. The
arena knows neither requests nor adapters: it writes where it is told, and moves a row when
the batch asks for it. Whose tokens a row holds, and how many of them count, is the batch's
business (`bot.engine.batch`).

Given a reserve (`bot.engine.reserve`) the tensors have their full size at once, and take
memory where rows are written. Without one, as on a graphics card, they grow by doubling, which
copies them. Either way what long replies leave behind goes back when it comes to much.

What lies behind a row's length is stale but finite, and nobody is shown it. It must stay
finite: a masked NaN still spoils attention, so a row that went wrong is cleared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bot.engine.reserve import Reserve

SMALLEST = 128
"""Positions of the first arena that grows; it doubles from there."""
SPARE = 256 * 2**20
"""Bytes that may stay behind the rows that run, so that the next ones find their memory there."""

SLACK, ROUND = 0.25, 64
"""How much longer than a row its copy may become, as a share, and in which steps of positions."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A row's keys and values, one pair per layer, each ``[heads, room, head_dim]``."""

    pairs: tuple[tuple[Tensor, Tensor], ...]
    room: int
    """Positions; what lies behind those that were saved is nothing."""

    @property
    def nbytes(self) -> int:
        """Memory, that of the room included."""
        return sum(keys.nbytes + values.nbytes for keys, values in self.pairs)


class Arena:
    """Keys and values of all layers, made when they are first written.

    Each is ``[rows, heads, capacity, head_dim]``: heads come before positions, so that what a
    head reads is one run of memory, for a step writes a token and reads all that came before
    it.

    Args:
        layers: of the model.
        rows: replies at once.
        limit: positions a row will ever need; growth stops there.
        room: where all of it lies; None where it is to grow.
    """

    def __init__(self, layers: int, rows: int, limit: int, room: Reserve | None = None) -> None:
        self.capacity = min(SMALLEST, limit) if room is None else limit
        """Positions every row can hold now."""
        self._room = room
        self._limit = limit
        self._layers: list[tuple[Tensor, Tensor] | None] = [None] * layers
        self._touched = [0] * rows
        """How many positions of each row have been written since they last were given back."""

    @property
    def position(self) -> int:
        """Bytes of one position of one row, in all layers."""
        return sum(t.nbytes // (t.shape[0] * t.shape[2]) for t in self._tensors())

    @property
    def nbytes(self) -> int:
        """Memory that is held, but for what fills up its pages."""
        if self._room is not None:
            return sum(self._touched) * self.position
        return sum(tensor.nbytes for tensor in self._tensors())

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

    def reserve(self, lengths: Sequence[int], first: int = 0) -> None:
        """Have room for so many positions of each row, from row `first` on.

        Where there is no memory for it, nothing has changed.
        """
        self._grow(max(lengths))
        for row, length in enumerate(lengths, first):
            self._touched[row] = max(self._touched[row], length)

    def trim(self, lengths: Sequence[int]) -> None:
        """Give back what is held behind rows of such lengths, where that is more than `SPARE`.

        What grew is given back only when no row is left.
        """
        if self._room is None:
            if not lengths and self.nbytes > SPARE:
                self._layers = [None] * len(self._layers)
                self.capacity = min(SMALLEST, self._limit)
            return
        lengths = [*lengths, *[0] * (len(self._touched) - len(lengths))]
        if (sum(self._touched) - sum(lengths)) * self.position <= SPARE:
            return
        for row, length in enumerate(lengths):
            for tensor in self._tensors():
                for head in tensor[row, :, length : self._touched[row]]:
                    self._room.give_back(head)
        self._touched = lengths

    def _grow(self, length: int) -> None:
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
            self.reserve([length], target)
            for tensor in self._tensors():
                tensor[target, :, :length] = tensor[source, :, :length]

    def copy_rows(
        self, sources: Sequence[int], targets: Sequence[int], first: int, length: int
    ) -> None:
        """Copy positions from `first` to `length` of some rows onto others, none of them both."""
        if sources and first < length:
            for target in targets:
                self.reserve([length], target)
            for tensor in self._tensors():
                tensor[targets, :, first:length] = tensor[sources, :, first:length]

    def clear_row(self, row: int) -> None:
        """Zero a row whose values cannot be trusted to be finite."""
        for tensor in self._tensors():
            tensor[row, :, : self._touched[row]].zero_()

    def save(self, row: int, length: int, saved: Saved | None = None, same: int = 0) -> Saved:
        """A copy of the first `length` positions of a row.

        Args:
            row: which.
            length: positions.
            saved: an older copy, which is written to where it has room; it is then of no other use.
            same: how many positions of it are those of the row already.
        """
        if saved is None or saved.room < length:
            saved, same = self._empty(length), 0
        for arena, copy in zip(self._tensors(), _flat(saved), strict=True):
            copy[:, same:length] = arena[row, :, same:length]
        return saved

    def restore(self, row: int, saved: Saved, length: int) -> None:
        """Write the first `length` saved positions into a row; `reserve` comes first."""
        for layer, kept in enumerate(saved.pairs):
            keys, values = (one.transpose(0, 1) for one in kept)
            for arena, one in zip(self.pair(layer, keys, values), kept, strict=True):
                arena[row, :, :length] = one[:, :length]

    def _empty(self, length: int) -> Saved:
        room = min(self._limit, -(-int(length * (1 + SLACK)) // ROUND) * ROUND)
        pairs = [pair for pair in self._layers if pair is not None]
        empty = tuple((_like(keys, room), _like(values, room)) for keys, values in pairs)
        return Saved(empty, room)

    def pair(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All of a layer, ``[rows, heads, capacity, head_dim]``, made for keys and values of this
        kind where there is none yet."""
        pair = self._layers[layer]
        if pair is None:
            pair = (self._made(keys), self._made(values))
            self._layers[layer] = pair
        return pair

    def _made(self, like: Tensor) -> Tensor:
        """Zeros for what comes as ``[t, heads, head_dim]``."""
        shape = (len(self._touched), like.shape[1], self.capacity, like.shape[2])
        return like.new_zeros(shape) if self._room is None else self._room.take(shape, like.dtype)

    def _tensors(self) -> list[Tensor]:
        return [tensor for pair in self._layers if pair is not None for tensor in pair]


def _like(arena: Tensor, room: int) -> Tensor:
    _, heads, _, width = arena.shape
    return arena.new_empty(heads, room, width)


def _flat(saved: Saved) -> list[Tensor]:
    return [tensor for pair in saved.pairs for tensor in pair]
