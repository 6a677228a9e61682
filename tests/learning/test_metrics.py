from __future__ import annotations

import math
import random
from statistics import mean, variance

import pytest

from learning.metrics import (
    auc,
    difference_bound,
    distinct_n,
    repeated_n,
    spent_error,
    t_quantile,
)


def test_auc_counts_the_pairs_in_the_right_order_and_ties_half() -> None:
    assert auc([3.0, 2.0], [1.0, 0.0]) == 1.0
    assert auc([1.0, 2.0], [1.0, 3.0]) == pytest.approx(1.5 / 4)
    assert auc([0.0] * 4, [0.0] * 9) == 0.5
    assert auc([], [1.0]) == 0.5


def test_with_a_cluster_for_each_value_the_bound_is_welchs() -> None:
    rng = random.Random(0)
    up, down = ([rng.gauss(m, s) for _ in range(n)] for m, s, n in ((1, 1, 5), (0, 2, 9)))
    bound = difference_bound(up + down, [True] * 5 + [False] * 9, range(14), 0.05)
    assert bound.difference == pytest.approx(mean(up) - mean(down))
    assert bound.error**2 == pytest.approx(variance(up) / 5 + variance(down) / 9)
    assert bound.freedom == pytest.approx((1 / 5 + 1 / 9) ** 2 / (1 / (25 * 4) + 1 / (81 * 8)))
    quantile = t_quantile(0.95, bound.freedom)
    assert bound.lower == pytest.approx(bound.difference - quantile * bound.error)


@pytest.mark.parametrize(
    ("probability", "freedom", "published"),
    [(0.95, 1, 6.3138), (0.975, 4, 2.7764), (0.99, 30, 2.4573), (0.95, 1e6, 1.6449)],
)
def test_quantiles_of_students_t_are_those_of_the_tables(
    probability: float, freedom: float, published: float
) -> None:
    assert t_quantile(probability, freedom) == pytest.approx(published, abs=1e-4)


def test_the_same_opinion_ten_times_in_one_conversation_is_nearly_one_opinion() -> None:
    values, liked = [0.5, 0.1, 0.3, -0.2, 0.0, 0.1], [True] * 3 + [False] * 3
    once = difference_bound(values, liked, range(6), 0.05)
    copied = difference_bound(
        values * 10, liked * 10, [n for _ in range(10) for n in range(6)], 0.05
    )
    assert copied.difference == pytest.approx(once.difference)
    assert copied.lower == pytest.approx(once.lower)


def test_a_class_from_one_conversation_proves_nothing() -> None:
    bound = difference_bound([9.0, 9.1, 0.0, 0.1], [True, True, False, False], [1, 1, 2, 3], 0.05)
    assert bound.lower == -math.inf


def test_a_bound_of_one_class_only_is_no_bound() -> None:
    assert difference_bound([1.0, 2.0], [True, True], [1, 2], 0.05).lower == -math.inf


def test_noise_in_a_dozen_clustered_values_passes_no_more_often_than_agreed() -> None:
    rng, passed, rounds = random.Random(1), 0, 1500
    for _ in range(rounds):
        mood = [rng.gauss(0, 1) for _ in range(12)]
        clusters = [n for n in range(12) for _ in range(2)]
        values = [mood[c] + rng.gauss(0, 1) for c in clusters]
        liked = [c < 4 for c in clusters]
        passed += difference_bound(values, liked, clusters, 0.05).lower > 0
    assert passed / rounds < 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


def test_all_gates_together_spend_the_whole_error_and_never_more() -> None:
    spent = [spent_error(0.1, gates) for gates in range(100_000)]
    assert 0.0999 < sum(spent) < 0.1
    assert spent == sorted(spent, reverse=True)


def test_distinct_pairs_and_repeated_phrases() -> None:
    assert distinct_n([[1, 2, 1, 2], [1, 2]], 2) == pytest.approx(2 / 4)
    assert distinct_n([[1], []], 2) == 1.0
    assert repeated_n([[1, 2, 3, 4, 1, 2, 3, 4]]) == pytest.approx(1 / 5)
    assert repeated_n([[1, 2, 3, 4], [1, 2, 3, 4]]) == 0.0
    assert repeated_n([]) == 0.0
