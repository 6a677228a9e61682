"""A linear head that tells liked from disliked replies: the preference model.

Ridge regression on votes as +1 and -1, both classes counted alike, in closed form: a few
dozen votes on vectors of a thousand numbers are solved in milliseconds, always with the same
result, and leaving each vote out in turn costs nothing more. It knows vectors and votes, not
where either comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.metrics import auc


@dataclass(frozen=True, slots=True)
class Scale:
    """What features are brought to: mean 0 in each dimension, and rows about 1 long."""

    mean: np.ndarray
    """``[dimensions]``."""
    spread: np.ndarray
    """``[dimensions]``, above 0: the larger, the less a dimension weighs."""

    @classmethod
    def of(cls, features: np.ndarray, shares: np.ndarray | None = None) -> Scale:
        """The scale of these replies, ``[replies, dimensions]``.

        Args:
            shares: what each dimension weighs, in all 1; all the same where it is not said.
        """
        count = features.shape[1]
        weights = np.full(count, 1 / count) if shares is None else shares
        return cls(features.mean(axis=0), (features.std(axis=0) + 1e-6) / np.sqrt(weights))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """``[replies, dimensions]``, brought to the scale."""
        found: np.ndarray = (features - self.mean) / self.spread
        return found


@dataclass(frozen=True, slots=True)
class Head:
    """What is liked, as a direction."""

    direction: np.ndarray
    """``[dimensions]``."""
    offset: float

    def score(self, features: np.ndarray) -> np.ndarray:
        """How well replies would be liked: about +1 for a like, -1 for a dislike.

        Args:
            features: ``[replies, dimensions]``, on the scale of those it was fitted on.
        """
        found: np.ndarray = features @ self.direction + self.offset
        return found

    def before(self, scale: Scale) -> Head:
        """The same head for features that were not brought to the scale."""
        direction = self.direction / scale.spread
        return Head(direction, float(self.offset - scale.mean @ direction))


@dataclass(frozen=True, slots=True)
class Fit:
    """A head, and how well it does on votes it was not shown."""

    head: Head
    auc: float
    """How often it puts a liked reply above a disliked one, each left out in turn."""


def fit(
    features: np.ndarray, liked: Sequence[bool], weights: Sequence[float], ridge: float
) -> Fit:
    """The head that votes are explained by best, not to be believed to the last detail.

    In the dual form, whose size is the number of votes: a model's hidden size may be larger.
    The centre is kept when a vote is left out.

    Args:
        features: ``[replies, dimensions]``, on a scale.
        liked: at least one of each kind.
        weights: above 0; each class is brought to half of the whole.
        ridge: how strongly the head is held small, above 0.
    """
    solved = _solved(features, liked, weights, ridge)
    side = np.asarray(liked, dtype=bool)
    left_out = solved.wanted - solved.dual / np.diag(solved.inverse)
    return Fit(solved.head, auc(left_out[side].tolist(), left_out[~side].tolist()))


def fit_without(
    features: np.ndarray, liked: Sequence[bool], weights: Sequence[float], ridge: float,
    groups: Sequence[np.ndarray],
) -> tuple[Head, list[np.ndarray]]:
    """The head of all votes, and how it would score each group of them without that group.

    What `fit` does for one vote at a time, and as cheaply: one solution for all groups.

    Args:
        features, liked, weights, ridge: as `fit` takes them.
        groups: indices of votes, for each group.
    """
    solved = _solved(features, liked, weights, ridge)
    return solved.head, [
        solved.wanted[group]
        - np.linalg.solve(solved.inverse[np.ix_(group, group)], solved.dual[group])
        for group in groups
    ]


@dataclass(frozen=True, slots=True)
class _Solved:
    head: Head
    wanted: np.ndarray
    """+1 for a like, -1 for a dislike."""
    dual: np.ndarray
    inverse: np.ndarray
    """Of the kernel with its ridge, ``[votes, votes]``."""


def _solved(
    features: np.ndarray, liked: Sequence[bool], weights: Sequence[float], ridge: float
) -> _Solved:
    side = np.asarray(liked, dtype=bool)
    given = np.asarray(weights, dtype=np.float64)
    share = given * np.where(side, 0.5 / given[side].sum(), 0.5 / given[~side].sum())
    wanted = np.where(side, 1.0, -1.0)
    centre = share @ features
    centred = features - centre
    kernel = centred @ centred.T
    inverse = np.linalg.inv(kernel + np.diag(ridge / (share * len(share))))
    dual = inverse @ wanted
    direction = centred.T @ dual
    return _Solved(Head(direction, float(-(centre @ direction))), wanted, dual, inverse)
