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
class Head:
    """What is liked, as a direction."""

    direction: np.ndarray
    """``[dimensions]``."""
    offset: float

    def score(self, features: np.ndarray) -> np.ndarray:
        """How well replies would be liked: about +1 for a like, -1 for a dislike.

        Args:
            features: ``[replies, dimensions]``, scaled as those it was fitted on.
        """
        found: np.ndarray = features @ self.direction + self.offset
        return found


@dataclass(frozen=True, slots=True)
class Fit:
    """A head, and how well it does on votes it was not shown."""

    head: Head
    auc: float
    """How often it puts a liked reply above a disliked one, each left out in turn."""


def scaled(features: np.ndarray) -> np.ndarray:
    """Each dimension with mean 0 and spread 1 over all replies, and rows of length about 1."""
    centred = features - features.mean(axis=0)
    found: np.ndarray = centred / (features.std(axis=0) + 1e-6) / np.sqrt(features.shape[1])
    return found


def fit(
    features: np.ndarray, liked: Sequence[bool], weights: Sequence[float], ridge: float
) -> Fit:
    """The head that votes are explained by best, not to be believed to the last detail.

    In the dual form, whose size is the number of votes: a model's hidden size may be larger.
    The centre is kept when a vote is left out.

    Args:
        features: ``[replies, dimensions]``, from `scaled`.
        liked: at least one of each kind.
        weights: above 0; each class is brought to half of the whole.
        ridge: how strongly the head is held small, above 0.
    """
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
    left_out = wanted - dual / np.diag(inverse)
    head = Head(direction, float(-(centre @ direction)))
    return Fit(head, auc(left_out[side].tolist(), left_out[~side].tolist()))
