"""What a run's loss is made of: terms, each over the whole of an optimiser step.

A term is told how likely the replies of a micro-batch are, under the model in training and
under the base, and gives its part of the step's loss; `learning.training.objectives` has the
formulas. Nothing here knows a model, an optimiser or a snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bot.config import PreferenceConfig
from learning.training.batches import Row, Unit
from learning.training.objectives import dpo, kto, sft
from learning.training.supervision import Choice, flat

MOST_LIKED = 4 / 3
"""How much more liked replies may count than disliked ones, in all (2402.01306, section 4.2)."""


@dataclass(frozen=True, slots=True)
class Said:
    """How likely the replies of a micro-batch are, in nats, summed over their tokens."""

    units: Sequence[Unit]
    log_probs: Tensor
    """``[rows]`` under the model in training, in the order of the units."""
    reference: Tensor
    """``[rows]`` under the base; 0 where nothing asks for it."""
    baseline: float
    """The reference point of KTO, of the whole step."""


class Term(Protocol):
    """One loss among those a run minimises."""

    def total(self, units: Sequence[Unit]) -> float:
        """What the units of a step count for; a term for which they count nothing is left out."""

    def loss(self, said: Said, total: float) -> Tensor:
        """A micro-batch's part of the step's loss; `total` is the step's."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """`sft` on what was liked or replayed."""

    share: float = 1.0

    def total(self, units: Sequence[Unit]) -> float:
        """Supervised tokens, by weight."""
        return math.fsum(row.weight * len(row.reply_ids) for row in flat(units) if row.liked)

    def loss(self, said: Said, total: float) -> Tensor:
        """NLL a token, times the share."""
        rows = flat(said.units)
        weights = _like(said, [row.weight if row.liked else 0.0 for row in rows])
        tokens = _like(said, [len(row.reply_ids) for row in rows])
        return self.share * sft(said.log_probs, weights, tokens, total)


@dataclass(frozen=True, slots=True)
class Kto:
    """`kto` on what was rated."""

    beta: float
    liked: float
    """Weight of liked replies as a class."""
    disliked: float

    def total(self, units: Sequence[Unit]) -> float:
        """Rated rows, by weight."""
        return math.fsum(row.weight for row in flat(units) if not row.replay)

    def loss(self, said: Said, total: float) -> Tensor:
        """The mean over rated rows."""
        rows = flat(said.units)
        liked = torch.tensor([row.liked for row in rows], device=said.log_probs.device)
        weights = _like(said, [self._weight(row) for row in rows])
        ratios = said.log_probs - said.reference
        return kto(ratios, liked, said.baseline, weights, self.beta, total)

    def _weight(self, row: Row) -> float:
        return 0.0 if row.replay else row.weight * (self.liked if row.liked else self.disliked)


@dataclass(frozen=True, slots=True)
class Dpo:
    """`dpo` on pairs; one is as heavy as the vote that is less sure."""

    beta: float

    def total(self, units: Sequence[Unit]) -> float:
        """Rated units, by weight: beside single rows a few pairs do not drown them."""
        return math.fsum(_sureness(unit) for unit in units if not unit[0].replay)

    def loss(self, said: Said, total: float) -> Tensor:
        """The sum over pairs, as a share of all that was rated."""
        starts, start = [], 0
        for unit in said.units:
            starts.append(start)
            start += len(unit)
        found = [(at, unit) for at, unit in zip(starts, said.units, strict=True) if len(unit) > 1]
        first = torch.tensor([at for at, _ in found], dtype=torch.long)
        ratios = said.log_probs - said.reference
        first = first.to(ratios.device)
        weights = _like(said, [_sureness(unit) for _, unit in found])
        return dpo(ratios[first], ratios[first + 1], weights, self.beta, total)


@dataclass(frozen=True, slots=True)
class Objective:
    """The terms of a run."""

    terms: tuple[Term, ...]

    @classmethod
    def of(cls, choice: Choice, train: Sequence[Unit]) -> Objective:
        """The terms of a choice, weighted for what is trained on."""
        settings, terms = choice.settings, list[Term]()
        if choice.kto:
            rows = flat(train)
            liked = math.fsum(row.weight for row in rows if row.liked)
            disliked = math.fsum(row.weight for row in rows if not row.liked)
            terms.append(Kto(settings.beta, *class_weights(liked, disliked, settings)))
        if choice.dpo:
            terms.append(Dpo(settings.beta))
        terms.append(Likelihood(settings.nll if choice.compares else 1.0))
        return cls(tuple(terms))

    def totals(self, units: Sequence[Unit]) -> list[float]:
        """What a step counts for in each term."""
        return [term.total(units) for term in self.terms]

    def loss(self, said: Said, totals: Sequence[float]) -> Tensor:
        """A micro-batch's part of the step's loss; micro-batches add up to the step."""
        losses = [
            term.loss(said, total)
            for term, total in zip(self.terms, totals, strict=True) if total > 0
        ]
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0]


def class_weights(
    liked: float, disliked: float, settings: PreferenceConfig
) -> tuple[float, float]:
    """Weights of liked and disliked replies, so that the classes count 1 : 1 to 4 : 3.

    Where they do already, both are 1. Otherwise the correction is shared: the rarer class
    gains the factor that the other loses, each within the bounds of the settings.

    Args:
        liked: the sum of weights of liked replies, above 0.
        disliked: the same of disliked ones.
    """
    ratio = liked / disliked
    factor = math.sqrt(min(max(ratio, 1.0), MOST_LIKED) / ratio)
    low, high = settings.class_weight_low, settings.class_weight_high
    return min(max(factor, low), high), min(max(1 / factor, low), high)


def _sureness(unit: Unit) -> float:
    return min(row.weight for row in unit)


def _like(said: Said, values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=said.log_probs.device)
