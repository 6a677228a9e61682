"""What a run learns from: liked replies, replayed ones, and those that stop it early.

Between a snapshot, which knows votes, and micro-batches, which know lengths. Nothing here
knows a model or an optimiser; an epoch is a pure function of the rows and a seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from bot.config import SftConfig
from bot.errors import LearningError
from learning.batches import Row, plan, steps_in_epoch
from learning.types import BaseReply, Example, Snapshot

MIN_STEPS = 4
"""Optimiser steps an epoch that a small set is cut into, by smaller batches than asked:
thirteen liked replies in one batch of sixteen would move nothing in four epochs."""

MOST_REPLAY = 0.9
"""A share of 1 would leave no room for what was liked."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """The rows of a run, of replies that ended by themselves."""

    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    replay: tuple[Row, ...]
    """The base's own replies, each as heavy as a liked one on average."""

    @classmethod
    def of(cls, snapshot: Snapshot, end_ids: Sequence[int]) -> Supervision:
        """The rows of a snapshot.

        Raises:
            LearningError: nothing would be supervised.
        """
        ends = frozenset(end_ids)
        train = _liked(snapshot.of("train"), ends)
        if not train:
            raise LearningError(
                "nothing to supervise: no liked reply that ended by itself is in the training "
                "part; collect more 👍 before the next run"
            )
        weight = math.fsum(row.weight for row in train) / len(train)
        replay = tuple(
            Row(one.prompt_ids, one.reply_ids, weight, True)
            for one in snapshot.replay
            if _whole(one, ends)
        )
        return cls(train, _liked(snapshot.of("validation"), ends), replay)

    def replayed(self, settings: SftConfig) -> int:
        """Replayed rows in each epoch, so that they make up `settings.replay` of it."""
        share = min(settings.replay, MOST_REPLAY)
        return min(len(self.replay), round(share / (1 - share) * len(self.train)))

    def batch(self, settings: SftConfig) -> int:
        """Rows of an optimiser step."""
        count = len(self.train) + self.replayed(settings)
        return max(1, min(settings.batch, -(-count // MIN_STEPS)))

    def steps(self, settings: SftConfig) -> int:
        """Optimiser steps of an epoch."""
        count = len(self.train) + self.replayed(settings)
        return steps_in_epoch(count, self.batch(settings), settings.micro_batch)

    def epoch(self, settings: SftConfig, seed: str) -> list[list[list[Row]]]:
        """One epoch: steps of micro-batches of rows, the replayed ones last in each."""
        rng = random.Random(seed)
        rows = [*self.train, *rng.sample(self.replay, self.replayed(settings))]
        widths = [row.width for row in rows]
        return [
            [sorted((rows[i] for i in piece), key=lambda row: row.replay) for piece in step]
            for step in plan(widths, self.batch(settings), settings.micro_batch, rng)
        ]


def _whole(one: Example | BaseReply, ends: frozenset[int]) -> bool:
    return bool(one.prompt_ids and one.reply_ids) and one.reply_ids[-1] in ends


def _liked(examples: Sequence[Example], ends: frozenset[int]) -> tuple[Row, ...]:
    return tuple(
        Row(one.prompt_ids, one.reply_ids, one.weight)
        for one in examples
        if one.liked and one.weight > 0 and _whole(one, ends)
    )
