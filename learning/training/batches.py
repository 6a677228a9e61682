"""Replies to rectangles: which rows share a micro-batch, and where they are supervised.

A row is a prompt exactly as it was served and the reply to learn. This module knows
lengths and positions only: not what a vote on a row does to it, nor which model reads it.
Padding is on the right and attention is causal, so no real token ever sees a pad and no
attention mask is needed; what is supervised follows from the lengths, never from a token's
id (a pad that equals the end-of-turn would otherwise teach a model not to stop).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PAD = 0
"""Any valid id will do: no supervised position reads it."""

WINDOW = 8
"""Micro-batches sorted by length together; more saves padding, fewer mixes better."""

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


Unit = tuple[Row, ...]
"""What stays in one micro-batch: a row, or a liked reply and a disliked one to its prompt."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch as tensors; `n` is the number of supervised tokens."""

    input_ids: Tensor
    """``[rows, width]``, padded on the right."""
    positions: Tensor
    """``[n]``, flat indices into rows x width whose next token is supervised."""
    targets: Tensor
    """``[n]``, those next tokens."""
    owners: Tensor
    """``[n]``, row number of each."""
    weights: Tensor
    """``[rows]``, float32."""
    tokens: Tensor
    """``[rows]``, supervised tokens of each row, float32."""


def collate(rows: Sequence[Row], device: torch.device) -> Batch:
    """Lay rows side by side; the supervised tokens come in the order of the rows."""
    width = max(row.width for row in rows)
    ids: list[list[int]] = []
    positions: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for number, row in enumerate(rows):
        read = [*row.prompt_ids, *row.reply_ids][: row.width]
        ids.append(read + [PAD] * (width - len(read)))
        first = number * width + len(row.prompt_ids) - 1
        positions += range(first, first + len(row.reply_ids))
        targets += row.reply_ids
        owners += [number] * len(row.reply_ids)
    return Batch(
        input_ids=torch.tensor(ids, device=device),
        positions=torch.tensor(positions, device=device),
        targets=torch.tensor(targets, device=device),
        owners=torch.tensor(owners, device=device),
        weights=torch.tensor([row.weight for row in rows], device=device),
        tokens=torch.tensor([float(len(row.reply_ids)) for row in rows], device=device),
    )


def plan(widths: Sequence[int], batch: int, micro_batch: int, rng: random.Random) -> list[Step]:
    """One epoch: every row once, rows of like length together, in a random order.

    Rows are shuffled, sorted by length within windows of a few micro-batches, cut, and the
    micro-batches shuffled again before they are grouped into optimiser steps of `batch`
    rows. The number of steps depends on the number of rows alone.
    """
    order = list(range(len(widths)))
    rng.shuffle(order)
    size = min(batch, micro_batch)
    window = size * WINDOW
    pieces: list[tuple[int, ...]] = []
    for start in range(0, len(order), window):
        part = sorted(order[start : start + window], key=lambda row: widths[row])
        pieces += [tuple(part[i : i + size]) for i in range(0, len(part), size)]
    rng.shuffle(pieces)
    group = max(1, batch // size)
    return [tuple(pieces[i : i + group]) for i in range(0, len(pieces), group)]


def steps_in_epoch(rows: int, batch: int, micro_batch: int) -> int:
    """How many optimiser steps `plan` makes of so many rows."""
    size = min(batch, micro_batch)
    pieces = -(-rows // size)
    return -(-pieces // max(1, batch // size))
