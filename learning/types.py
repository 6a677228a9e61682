"""The values of the learning half: labels, examples, snapshots, progress, verdicts.

Pure and frozen, without I/O, database or model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from bot.types import VoteValue
from learning.scripts import Script

Part = Literal["train", "validation", "holdout"]
Outcome = Literal["promote", "shadow", "reject"]


@dataclass(frozen=True, slots=True)
class Factor:
    """Why a vote weighs less than 1, by one rule."""

    rule: str
    value: float
    """What the weight is multiplied by, above 0 and at most 1."""
    reason: str
    """In plain words, with the numbers."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What each vote of one rater weighs, and how that comes about."""

    value: float = 1.0
    factors: tuple[Factor, ...] = ()

    def times(self, factor: Factor) -> Weight:
        """This weight after one more rule."""
        return Weight(self.value * factor.value, (*self.factors, factor))


@dataclass(frozen=True, slots=True)
class CountedVote:
    """A standing vote with its weight."""

    rater: str
    value: VoteValue
    weight: Weight


@dataclass(frozen=True, slots=True)
class Label:
    """What the votes on one exchange come to."""

    exchange_id: int
    liked: bool
    weight: float
    """The weights for it minus the weights against it."""
    raters: tuple[str, ...]
    votes: tuple[CountedVote, ...] = ()
    """How it came about: every vote that counts, by rater."""


@dataclass(frozen=True, slots=True)
class Example:
    """A rated exchange as the trainer and the gate use it."""

    exchange_id: int
    conversation: str
    """Examples of one conversation share history, so they share a part and a cluster."""
    part: Part
    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    liked: bool
    weight: float
    raters: tuple[str, ...]
    """Who voted; none where only hints say what it is."""
    folded: tuple[int, ...] = ()
    """Ids of near-identical exchanges that this one stands for as well."""
    script: Script = ""
    """What its question is written in."""

    @property
    def voted(self) -> bool:
        """Whether people rated it; otherwise it comes from hints."""
        return bool(self.raters)


@dataclass(frozen=True, slots=True)
class BaseReply:
    """A reply the base model wrote to a logged prompt: replay in training, anchor in the gate."""

    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """A part of the training examples that a sibling of the candidate is trained without."""

    exchanges: tuple[int, ...]
    """The first ids of its examples."""
    chosen: tuple[BaseReply, ...]
    """What the sibling learns from instead of `Snapshot.chosen`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a run learns from, frozen; equal content has an equal `digest`."""

    base: str
    """Fingerprint of the base model and template."""
    examples: tuple[Example, ...]
    replay: tuple[BaseReply, ...]
    anchors: tuple[BaseReply, ...]
    gauge: tuple[BaseReply, ...] = ()
    """Never trained on: how strong the adapter may be is measured on these."""
    chosen: tuple[BaseReply, ...] = ()
    """Drawn from the base and chosen by what people like: learned from beside liked replies."""
    folds: tuple[Fold, ...] = ()
    """By number, each in turn left out and judged by; empty where a fold tells nothing, and none
    where the hold-out says enough."""

    def of(self, part: Part) -> tuple[Example, ...]:
        """The examples of one part."""
        return tuple(example for example in self.examples if example.part == part)

    def within(self, fold: Fold) -> tuple[Example, ...]:
        """The training examples of a fold."""
        inside = frozenset(fold.exchanges)
        return tuple(one for one in self.of("train") if one.exchange_id in inside)

    def without(self, fold: Fold) -> Snapshot:
        """What the sibling is trained on that is judged by this fold."""
        outside = frozenset(fold.exchanges)
        examples = tuple(one for one in self.examples if one.exchange_id not in outside)
        return Snapshot(
            self.base, examples, self.replay, self.anchors, self.gauge, fold.chosen
        )


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """What the trainer yields after each micro-batch."""

    step: int
    steps: int
    """Optimiser steps planned in all; early stopping may end sooner."""
    epoch: int
    loss: float
    """Of the last optimiser step: mean NLL a supervised token, or the objective's loss where
    replies are compared."""
    held_out: float | None
    """Validation NLL a token, when it was measured after this step."""
    tokens_per_second: float
    eta_seconds: float
    learning_rate: float | None = None
    """Of the last optimiser step, where it is known."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The last thing the trainer yields: the adapter lies in the folder it was given."""

    steps: int
    epochs: int
    loss: float
    held_out: float | None
    tokens: int
    seconds: float
    strength: float = 1.0
    """What is kept of what was learned, so that not too much is forgotten; 1 is all."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question the gate asked."""

    name: str
    passed: bool
    value: float
    """Infinite where nothing bounds it; the store keeps that as unknown."""
    limit: float
    reason: str
    """One sentence with the numbers, for an admin who is no statistician."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided about a candidate, and why."""

    outcome: Outcome
    candidate: str
    champion: str
    sentence: str
    checks: tuple[Check, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Reported, never gating."""
    samples: tuple[tuple[str, str, str], ...] = ()
    """(prompt, champion's reply, candidate's reply) of a few canaries."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What makes a folder an adapter; written last."""

    name: str
    base: str
    snapshot: str
    """Digest of the snapshot it was trained on."""
    created: datetime
    seed: int
    settings: Mapping[str, object]
    metrics: Mapping[str, float]
    files: Mapping[str, str]
    """File name to SHA-256 in hex."""
    exchanges: tuple[int, ...]
    """Ids of the exchanges that training was shown, to learn from or to know when to stop: liked
    and disliked ones, those folded into others included, but none of the hold-out. Whoever
    has one of them deleted has the version unlearned."""
    folds: tuple[tuple[int, ...], ...] = ()
    """Of these, the ids that each sibling was trained without, by the number of its fold; empty
    where it has no sibling of that number."""
