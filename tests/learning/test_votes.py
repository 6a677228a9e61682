from __future__ import annotations

from datetime import timedelta

import pytest

from learning.votes import labels, rater_weights, standing
from tests.learning.rated import START, vote

LATER = START + timedelta(minutes=1)


def test_the_latest_vote_of_a_rater_counts_whatever_the_order() -> None:
    flipped = [vote(1, -1, time=LATER), vote(1, 1)]
    assert [label.liked for label in labels(flipped, 2.0)] == [False]
    assert [label.liked for label in labels(flipped[::-1], 2.0)] == [False]


def test_a_withdrawn_vote_leaves_no_label() -> None:
    assert labels([vote(1, 1), vote(1, 0, time=LATER)], 2.0) == []


def test_a_tie_is_left_out_and_a_majority_wins() -> None:
    split = [vote(1, 1, "ann"), vote(1, -1, "bob")]
    assert labels(split, 2.0) == []
    (label,) = labels([*split, vote(1, -1, "cy")], 2.0)
    assert (label.liked, label.weight, label.raters) == (False, 1.0, ("ann", "bob", "cy"))


def test_a_single_rater_is_not_capped() -> None:
    assert rater_weights([vote(n) for n in range(50)], 1.0) == {"ann": 1.0}


def test_a_loud_rater_weighs_no_more_than_the_cap_in_all() -> None:
    votes = [vote(n, rater="loud") for n in range(91)]
    votes += [vote(n, -1, rater=f"quiet {n}") for n in range(9)]
    weights = rater_weights(votes, 2.0)
    assert weights["loud"] * 91 == pytest.approx(2.0 * 100 / 10)
    assert weights["quiet 0"] == 1.0
    assert not any(label.liked for label in labels(votes, 2.0)[:9])


def test_votes_stand_ordered_by_exchange_and_rater() -> None:
    votes = [vote(2, rater="b"), vote(1, rater="b"), vote(1, rater="a")]
    assert [(one.exchange_id, one.rater) for one in standing(votes)] == [
        (1, "a"), (1, "b"), (2, "b"),
    ]  # fmt: skip
