"""What a run learns from: rated replies, replayed ones, and those that stop it early.

Between a snapshot, which knows votes, and micro-batches, which know lengths. Nothing here
knows a model, a loss or an optimiser; an epoch is a pure function of the rows and a seed.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bot.config import PreferenceConfig, SftConfig
from bot.errors import LearningError
from learning.training.batches import Row, Unit, plan, steps_in_epoch
from learning.types import BaseReply, Example, Snapshot

MIN_STEPS = 4
"""Optimiser steps an epoch that a small set is cut into, by smaller batches than asked:
thirteen liked replies in one batch of sixteen would move nothing in four epochs."""

MOST_REPLAY = 0.9
"""A share of 1 would leave no room for what was rated."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which losses a run minimises; none of these is `sft`, on what was liked alone."""

    kto: bool = False
    """Liked replies up, disliked ones down."""
    dpo: bool = False
    """Where a prompt has both, the liked one above the disliked."""
    taste: bool = False
    """`sft` on replies that were drawn and chosen by what people like, beside the liked ones."""
    settings: PreferenceConfig = field(default_factory=PreferenceConfig)
    """Of `kto` and `dpo`."""
    reason: str = ""
    """Why, for whoever runs the bot."""

    @property
    def name(self) -> str:
        """As people read it: ``taste``, ``sft``, ``kto``, ``dpo`` or ``kto+dpo``."""
        if self.taste:
            return "taste"
        return "+".join(name for name in ("kto", "dpo") if getattr(self, name)) or "sft"

    @property
    def compares(self) -> bool:
        """Whether replies are compared with what the base makes of them."""
        return self.kto or self.dpo


SFT = Choice()


@dataclass(frozen=True, slots=True)
class Supervision:
    """The rows of a run, of replies that ended by themselves."""

    train: tuple[Unit, ...]
    validation: tuple[Row, ...]
    """Liked ones."""
    replay: tuple[Row, ...]
    """The base's own replies, each as heavy as a liked one on average."""
    gauge: tuple[Row, ...] = ()
    """The base's own replies, never trained on."""
    mismatched: Mapping[Row, Row] = field(default_factory=dict)
    """For `kto`: each rated row with its prompt and the reply to another one."""

    @classmethod
    def of(
        cls, snapshot: Snapshot, end_ids: Sequence[int], choice: Choice = SFT, seed: int = 0
    ) -> Supervision:
        """The rows of a snapshot; `seed` decides which replies are mismatched.

        Raises:
            LearningError: nothing would be supervised.
        """
        ends = frozenset(end_ids)
        liked, disliked = rated(snapshot, end_ids)
        chosen = _replies(snapshot.chosen, 1.0, ends, replay=False) if choice.taste else ()
        train = (*_units(liked, disliked, choice), *((row,) for row in chosen))
        heavy = [row.weight for row in flat(train) if row.liked]
        if not heavy:
            raise LearningError(
                "nothing to supervise: no liked reply that ended by itself is in the training "
                "part; collect more 👍 before the next run"
            )
        if choice.compares and all(row.liked for row in flat(train)):
            raise LearningError(
                f"nothing to compare: {choice.name} needs disliked replies in the training part; "
                'collect 👎, or set learning.objective to "sft"'
            )
        weight = math.fsum(heavy) / len(heavy)
        replay = _replies(snapshot.replay, weight, ends, replay=True)
        validation = _rows(snapshot.of("validation"), ends, True)
        rng = random.Random(f"{seed}/mismatched")
        gauge = _replies(snapshot.gauge, 1.0, ends, replay=True)
        mismatched = _mismatched(flat(train), rng) if choice.kto else {}
        return cls(train, validation, replay, gauge, mismatched)

    def compared(self) -> list[Row]:
        """The rows whose likelihood under the base is asked for, each once."""
        return list(dict.fromkeys([*flat(self.train), *self.mismatched.values()]))

    def replayed(self, settings: SftConfig) -> int:
        """Replayed rows in each epoch, so that they make up `settings.replay` of it."""
        share = min(settings.replay, MOST_REPLAY)
        return min(len(self.replay), round(share / (1 - share) * len(flat(self.train))))

    def batch(self, settings: SftConfig) -> int:
        """Units of an optimiser step; `kto` takes its reference point from two at least."""
        count = len(self.train) + self.replayed(settings)
        return max(2 if self.mismatched else 1, min(settings.batch, -(-count // MIN_STEPS)))

    def steps(self, settings: SftConfig) -> int:
        """Optimiser steps of an epoch."""
        count = len(self.train) + self.replayed(settings)
        return steps_in_epoch(count, self.batch(settings), settings.micro_batch)

    def epoch(self, settings: SftConfig, seed: str) -> list[list[list[Unit]]]:
        """One epoch: steps of micro-batches of units, the replayed ones last in each."""
        rng = random.Random(seed)
        replay = rng.sample(self.replay, self.replayed(settings))
        units: list[Unit] = [*self.train, *((row,) for row in replay)]
        return [
            [sorted((units[i] for i in piece), key=lambda unit: unit[0].replay) for piece in step]
            for step in plan(len(units), self.batch(settings), settings.micro_batch, rng)
        ]


def flat(units: Iterable[Unit]) -> list[Row]:
    """The rows of units, in their order."""
    return [row for unit in units for row in unit]


def rated(
    snapshot: Snapshot, end_ids: Sequence[int]
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """The liked and the disliked rows that may be trained on."""
    examples, ends = snapshot.of("train"), frozenset(end_ids)
    return _rows(examples, ends, True), _rows(examples, ends, False)


def pairs(liked: Iterable[Row], disliked: Iterable[Row]) -> dict[Row, Row]:
    """Liked row -> a disliked one to the very same prompt; each row is in one pair at most."""
    waiting: defaultdict[tuple[int, ...], deque[Row]] = defaultdict(deque)
    for row in disliked:
        waiting[row.prompt_ids].append(row)
    return {row: waiting[row.prompt_ids].popleft() for row in liked if waiting[row.prompt_ids]}


def _units(
    liked: Sequence[Row], disliked: Sequence[Row], choice: Choice
) -> Iterator[Unit]:
    """What is trained on: everything with `kto`, otherwise the pairs or what was liked."""
    rivals = pairs(liked, disliked) if choice.dpo else {}
    for row in liked:
        if row in rivals:
            yield row, rivals[row]
        elif choice.kto or not choice.dpo:
            yield (row,)
    taken = set(rivals.values())
    for row in disliked if choice.kto else ():
        if row not in taken:
            yield (row,)


def _mismatched(rows: Sequence[Row], rng: random.Random) -> dict[Row, Row]:
    """Each row's prompt with the reply to another prompt, chosen once for the whole run.

    Fixed, so that the base has to be asked once. A reply is cut where the two together would
    be longer than the longest row: that much is known to fit the model.
    """
    order, count = rng.sample(rows, len(rows)), len(rows)
    longest = max(len(row.prompt_ids) + len(row.reply_ids) for row in rows)
    found = {}
    for place, row in enumerate(order):
        others = (order[(place + step) % count] for step in range(1, count))
        unlike = (other for other in others if other.prompt_ids != row.prompt_ids)
        reply = next(unlike, order[(place + 1) % count]).reply_ids
        found[row] = Row(row.prompt_ids, reply[: longest - len(row.prompt_ids)], 1.0)
    return found


def _whole(one: Example | BaseReply, ends: frozenset[int]) -> bool:
    return bool(one.prompt_ids and one.reply_ids) and one.reply_ids[-1] in ends


def _replies(
    replies: Sequence[BaseReply], weight: float, ends: frozenset[int], *, replay: bool
) -> tuple[Row, ...]:
    return tuple(
        Row(one.prompt_ids, one.reply_ids, weight, replay) for one in replies if _whole(one, ends)
    )


def _rows(
    examples: Sequence[Example], ends: frozenset[int], liked: bool
) -> tuple[Row, ...]:
    return tuple(
        Row(one.prompt_ids, one.reply_ids, one.weight, liked=liked)
        for one in examples
        if one.liked == liked and one.weight > 0 and _whole(one, ends)
    )
