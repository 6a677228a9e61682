"""The statistics the gate decides by: pure functions of numbers and token ids.

Nothing here knows a model, an adapter, a threshold or a vote's origin. Where few numbers
have to carry a decision, the small-sample form is used and its source is named.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True, slots=True)
class Bound:
    """A difference of two means and how low it may truly be."""

    difference: float
    error: float
    """Standard error of the difference."""
    freedom: float
    """Degrees of freedom of the t distribution it is compared with."""
    lower: float
    """One-sided lower confidence bound; -inf where a class lies within one cluster."""


def auc(liked: Sequence[float], disliked: Sequence[float]) -> float:
    """Probability that a liked score exceeds a disliked one, ties counted half.

    The Mann-Whitney statistic; 0.5 when either side is empty or all scores are equal.
    """
    if not liked or not disliked:
        return 0.5
    low = np.sort(np.asarray(disliked, dtype=np.float64))
    high = np.asarray(liked, dtype=np.float64)
    below = np.searchsorted(low, high, side="left")
    upto = np.searchsorted(low, high, side="right")
    return float((below + upto).sum() / (2.0 * len(high) * len(low)))


def difference_bound(
    values: Sequence[float],
    liked: Sequence[bool],
    clusters: Sequence[Hashable],
    alpha: float,
) -> Bound:
    """Mean of the liked minus mean of the disliked, bounded from below at level 1 - alpha.

    Values of one cluster (a conversation, a rater) may depend on each other in any way.
    The variance is the bias-reduced CR2 estimate and the degrees of freedom are
    Satterthwaite's (Bell and McCaffrey 2002; Imbens and Kolesar 2016), which for two
    groups have the closed form used here; with one value a cluster it is Welch's test.
    They hold their level with a handful of clusters, where the usual sandwich does not.
    """
    sides = [side for side in (True, False) if any(one is side for one in liked)]
    if len(sides) < 2:
        return Bound(0.0, math.inf, 1.0, -math.inf)
    numbers = {name: row for row, name in enumerate(dict.fromkeys(clusters))}
    influence = np.zeros(len(numbers))
    spread = np.zeros((len(numbers), len(numbers)))
    means = {}
    for side in sides:
        groups: dict[int, list[float]] = defaultdict(list)
        for value, one, cluster in zip(values, liked, clusters, strict=True):
            if one is side:
                groups[numbers[cluster]].append(value)
        if len(groups) < 2:
            return Bound(0.0, math.inf, 1.0, -math.inf)
        count = np.zeros(len(numbers))
        total = np.zeros(len(numbers))
        for row, group in groups.items():
            count[row], total[row] = len(group), math.fsum(group)
        size = count.sum()
        means[side] = total.sum() / size
        scale = 1.0 / (size * np.sqrt(1.0 - count / size))
        influence += (1.0 if side else -1.0) * scale * (total - means[side] * count)
        spread += np.diag(scale**2 * count) - np.outer(scale * count, scale * count) / size
    difference = float(means[True] - means[False])
    error = float(np.sqrt((influence**2).sum()))
    freedom = float(np.trace(spread) ** 2 / (spread**2).sum())
    quantile = t_quantile(1 - alpha, freedom)
    return Bound(difference, error, freedom, difference - quantile * error)


def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t above the median; `freedom` need not be whole.

    With x = sqrt(v) tan(u) the density is proportional to cos(u)^(v - 1) on (-pi/2, pi/2),
    smooth and bounded, so that a fine trapezoid gives at least four digits.
    """
    if freedom > 5000:
        return NormalDist().inv_cdf(probability)
    freedom = max(1.0, freedom)
    angle = np.linspace(0.0, math.pi / 2, 100_001)
    density = np.cos(angle).clip(0.0) ** (freedom - 1.0)
    mass = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    found = np.interp(2 * probability - 1, mass / mass[-1], angle)
    return math.sqrt(freedom) * math.tan(float(found))


def spent_error(alpha: float, gates_before: int) -> float:
    """The share of a total error `alpha` that the next gate may spend.

    alpha_k = alpha / (k (k + 1)) for gate k = gates_before + 1. The series telescopes to
    `alpha`, so however many gates are held on one base, noise is promoted with probability
    `alpha` at most (a union bound: nothing is assumed about the gates, which share hold-out
    items). Half of it is for the first gate, where votes are fewest; by the fifth there are five
    times as many, against the same base.
    """
    k = gates_before + 1
    return alpha / (k * (k + 1))


def distinct_n(replies: Sequence[Sequence[Hashable]], n: int) -> float:
    """Distinct n-grams / n-grams over all replies together (1510.03055); 1.0 without any."""
    grams = [tuple(reply[i : i + n]) for reply in replies for i in range(len(reply) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


def repeated_n(replies: Sequence[Sequence[Hashable]], n: int = 4) -> float:
    """Share of n-grams that were already said in the same reply (looping); 0.0 without any."""
    seen = repeated = 0
    for reply in replies:
        grams = [tuple(reply[i : i + n]) for i in range(len(reply) - n + 1)]
        seen += len(grams)
        repeated += len(grams) - len(set(grams))
    return repeated / seen if seen else 0.0


def perplexity(log_probs: Sequence[float]) -> float:
    """exp of the mean negative log-prob (nats); infinite beyond floats, 1.0 of nothing."""
    try:
        return math.exp(-mean(log_probs))
    except OverflowError:
        return math.inf


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; 0.0 of nothing."""
    return math.fsum(values) / len(values) if values else 0.0
