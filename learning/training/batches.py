"""Replies to rectangles: which rows share a micro-batch, and where they are supervised.

A row is a prompt exactly as it was served and the reply to learn. This module knows
lengths and positions only: not what a vote on a row does to it, nor which model reads it.

A micro-batch is laid out in lanes. What rows of a lane begin with alike (the persona, the
conversation so far) is there once, and each row goes on from where it branches off; a mask
lets a token see its own row up to itself, and nothing else. So every row is read as if it
were alone, with its own positions. What is supervised follows from the lengths, never from a
token's id (a pad that equals the end-of-turn would otherwise teach a model not to stop).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PAD = 0
"""Any valid id will do: no supervised position reads it."""

ATTENTION = 1024
"""A lane of so many tokens costs twice as much a token as a very short one: attention grows
with the width, the rest does not. Measured on the built-in model; larger ones bear more."""

WIDTHS = 16
"""How many widths of the lanes are tried."""

Step = tuple[tuple[int, ...], ...]
"""The micro-batches of one optimiser step, as numbers of what was planned."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and the reply to learn."""

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    weight: float
    replay: bool = False
    """Written by the base: held near to it by the KL term."""
    liked: bool = True
    """False for a reply that is to become less likely."""

    @property
    def width(self) -> int:
        """Tokens the model reads: the last reply token is predicted, never read."""
        return len(self.prompt_ids) + len(self.reply_ids) - 1

    @property
    def read_ids(self) -> tuple[int, ...]:
        """Those tokens."""
        return (*self.prompt_ids, *self.reply_ids[:-1])


Unit = tuple[Row, ...]
"""What stays in one micro-batch: a row, or a liked reply and a disliked one to its prompt."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch as tensors; `n` is the number of supervised tokens."""

    input_ids: Tensor
    """``[lanes, width]``, padded on the right."""
    places: Tensor
    """``[lanes, width]``, how far into its row each token stands."""
    mask: Tensor
    """``[lanes, 1, width, width]``, bool: which tokens (last) each token sees."""
    positions: Tensor
    """``[n]``, flat indices into lanes x width whose next token is supervised."""
    targets: Tensor
    """``[n]``, those next tokens, in the order of the rows."""
    owners: Tensor
    """``[n]``, row number of each."""
    weights: Tensor
    """``[rows]``, float32."""
    tokens: Tensor
    """``[rows]``, supervised tokens of each row, float32."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """Where a row is laid: it follows the row before it in the same lane up to `shared`."""

    number: int
    lane: int
    start: int
    """Of its own tokens in the lane."""
    shared: int
    """How many tokens it begins with that were laid for the row before it."""


def collate(rows: Sequence[Row], device: torch.device) -> Batch:
    """Lay rows in lanes; the supervised tokens come in the order of the rows."""
    read = [row.read_ids for row in rows]
    seats, lanes, width = _seats(read)
    ids = [[PAD] * width for _ in range(lanes)]
    places = [[0] * width for _ in range(lanes)]
    mask = torch.eye(width, dtype=torch.bool).repeat(lanes, 1, 1)
    below = torch.ones(width, width, dtype=torch.bool).tril()
    paths: dict[int, list[int]] = {}
    path: list[int] = []
    for seat in seats:
        own = range(seat.start, seat.start + len(read[seat.number]) - seat.shared)
        before = path[: seat.shared]
        path = paths[seat.number] = [*before, *own]
        ids[seat.lane][own.start : own.stop] = read[seat.number][seat.shared :]
        places[seat.lane][own.start : own.stop] = range(seat.shared, len(path))
        mask[seat.lane, own.start : own.stop, own.start : own.stop] = below[: len(own), : len(own)]
        if before:
            mask[seat.lane, own.start : own.stop, before] = True
    lane_of = {seat.number: seat.lane for seat in seats}
    positions = [
        lane_of[number] * width + place
        for number, row in enumerate(rows)
        for place in paths[number][len(row.prompt_ids) - 1 :]
    ]
    owners = [number for number, row in enumerate(rows) for _ in row.reply_ids]
    return Batch(
        input_ids=torch.tensor(ids, device=device),
        places=torch.tensor(places, device=device),
        mask=mask[:, None].to(device),
        positions=torch.tensor(positions, device=device),
        targets=torch.tensor([one for row in rows for one in row.reply_ids], device=device),
        owners=torch.tensor(owners, device=device),
        weights=torch.tensor([row.weight for row in rows], device=device),
        tokens=torch.tensor([float(len(row.reply_ids)) for row in rows], device=device),
    )


def _seats(read: Sequence[tuple[int, ...]]) -> tuple[list[_Seat], int, int]:
    """Where each row goes, how many lanes there are and how wide: the cheapest of some widths.

    In their alphabetical order each row shares with the one before it all that it shares with
    any earlier one, so a lane takes rows in that order until it is full.
    """
    order = sorted(range(len(read)), key=lambda number: read[number])
    shared = [0] + [_alike(read[a], read[b]) for a, b in itertools.pairwise(order)]
    lengths = [len(read[number]) for number in order]
    longest, total = max(lengths), sum(lengths) - sum(shared)
    step = max(1, (total - longest) // WIDTHS)
    tried = (_fill(order, lengths, shared, most) for most in range(longest, total + step, step))
    return min(tried, key=lambda found: found[1] * found[2] * (ATTENTION + found[2]))


def _fill(
    order: Sequence[int], lengths: Sequence[int], shared: Sequence[int], most: int
) -> tuple[list[_Seat], int, int]:
    """Lanes of at most so many tokens, filled in order."""
    seats: list[_Seat] = []
    lane, end, width = 0, 0, 0
    for number, length, alike in zip(order, lengths, shared, strict=True):
        if seats and end + length - alike > most:
            lane, end = lane + 1, 0
        same = alike if end else 0
        seats.append(_Seat(number, lane, end, same))
        end += length - same
        width = max(width, end)
    return seats, lane + 1, width


def _alike(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two rows begin with alike."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(left), len(right)))


def plan(rows: int, batch: int, micro_batch: int, rng: random.Random) -> list[Step]:
    """One epoch: every row once, in a random order, cut into steps of micro-batches."""
    order = list(range(rows))
    rng.shuffle(order)
    size = min(batch, micro_batch)
    pieces = [tuple(order[start : start + size]) for start in range(0, rows, size)]
    group = max(1, batch // size)
    return [tuple(pieces[i : i + group]) for i in range(0, len(pieces), group)]


def steps_in_epoch(rows: int, batch: int, micro_batch: int) -> int:
    """How many optimiser steps `plan` makes of so many rows."""
    size = min(batch, micro_batch)
    pieces = -(-rows // size)
    return -(-pieces // max(1, batch // size))


def tokens(rows: Sequence[Row]) -> float:
    """Supervised tokens, by weight."""
    return math.fsum(row.weight * len(row.reply_ids) for row in rows)


def in_pieces(units: list[Unit], size: int) -> list[list[Unit]]:
    """Units in pieces of a size; 0 is one piece."""
    size = size or len(units)
    return [units[i : i + size] for i in range(0, len(units), size)]
