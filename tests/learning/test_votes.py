from __future__ import annotations

import random
from datetime import timedelta

import pytest

from bot.config import WeighingConfig
from bot.types import Vote
from learning.types import Label
from learning.votes.labels import labels, standing
from learning.votes.trust import agreements, trust
from learning.votes.weights import fair_share, most_share, one_sided, rater_weights
from tests.learning.rated import START, vote

LATER = START + timedelta(minutes=1)
USUAL = WeighingConfig()
OFF: dict[str, object] = {
    "rater_cap": 0, "most_share": 1.0, "trust": False, "one_sided_votes": 0,
}  # fmt: skip
PLAIN = WeighingConfig.model_validate(OFF)


def liked(votes: list[Vote], settings: WeighingConfig = USUAL) -> list[Label]:
    return labels(votes, settings, {})


def only(**rule: object) -> WeighingConfig:
    """One rule, and no other."""
    return WeighingConfig.model_validate(OFF | rule)


def weights_of(votes: list[Vote], settings: WeighingConfig) -> dict[str, float]:
    return {rater: one.value for rater, one in rater_weights(votes, settings, {}).items()}


# Which vote counts


def test_the_latest_vote_of_a_rater_counts_whatever_the_order() -> None:
    flipped = [vote(1, -1, time=LATER), vote(1, 1)]
    assert [label.liked for label in liked(flipped)] == [False]
    assert [label.liked for label in liked(flipped[::-1])] == [False]


def test_a_withdrawn_vote_leaves_no_label() -> None:
    assert liked([vote(1, 1), vote(1, 0, time=LATER)]) == []


def test_a_tie_is_left_out_and_a_majority_wins() -> None:
    split = [vote(1, 1, "ann"), vote(1, -1, "bob")]
    assert liked(split) == []
    (label,) = liked([*split, vote(1, -1, "cy")], PLAIN)
    assert (label.liked, label.weight, label.raters) == (False, 1.0, ("ann", "bob", "cy"))


def test_votes_stand_ordered_by_exchange_and_rater() -> None:
    votes = [vote(2, rater="b"), vote(1, rater="b"), vote(1, rater="a")]
    assert [(one.exchange_id, one.rater) for one in standing(votes)] == [
        (1, "a"), (1, "b"), (2, "b"),
    ]  # fmt: skip


# The caps


def test_a_single_rater_is_weighed_against_nobody() -> None:
    votes = [vote(n) for n in range(50)]
    assert weights_of(votes, WeighingConfig(rater_cap=1.0, share_raters=1)) == {"ann": 1.0}


def test_a_loud_rater_weighs_no_more_than_the_cap_in_all() -> None:
    votes = [vote(n, rater="loud") for n in range(91)]
    votes += [vote(n, -1, rater=f"quiet {n}") for n in range(9)]
    weights = weights_of(votes, only(rater_cap=2.0))
    assert weights["loud"] * 91 == pytest.approx(2.0 * 100 / 10)
    assert weights["quiet 0"] == 1.0
    assert not any(label.liked for label in liked(votes)[:9])


def test_nobody_holds_more_than_the_largest_share_of_what_counts() -> None:
    totals = {"a": 900.0, "b": 60.0, **{f"rater {n}": 1.0 for n in range(50)}}
    held = most_share(totals, 0.05)
    left = {rater: total * held[rater].value if rater in held else total
            for rater, total in totals.items()}  # fmt: skip
    assert set(held) == {"a", "b"}
    assert left["a"] == left["b"] == pytest.approx(0.05 * sum(left.values()))
    few = {"a": 9.0, "b": 2.0, "c": 1.0}
    assert {rater: few[rater] * one.value for rater, one in most_share(few, 0.05).items()} == (
        pytest.approx({"a": 1.0, "b": 1.0})
    )
    assert most_share({"a": 5.0, "b": 1.0}, 1.0) == {}


def test_the_largest_share_holds_from_forty_raters_on() -> None:
    def crowd(number: int) -> list[Vote]:
        votes = [vote(n, rater="loud") for n in range(100)]
        return votes + [vote(n, rater=f"rater {n}") for n in range(number - 1)]

    rule = only(most_share=0.05)
    assert weights_of(crowd(39), rule)["loud"] == 1.0
    assert weights_of(crowd(40), rule)["loud"] < 0.1
    assert weights_of(crowd(40), PLAIN)["loud"] == 1.0


def test_a_cap_takes_nothing_from_who_is_below_it() -> None:
    assert fair_share({"a": 10.0, "b": 10.0}, 2.0) == {}
    (factor,) = fair_share({"a": 97.0, "b": 1.0, "c": 1.0, "d": 1.0}, 2.0).values()
    assert factor.value == pytest.approx(50 / 97)
    assert factor.reason == (
        "this person's votes make 97% of all weight; at most 2 fair shares of 4 people count"
    )


# Trust


def test_agreement_leaves_the_rater_out_and_counts_a_reply_once() -> None:
    votes = [vote(1, 1, "ann"), vote(1, 1, "bob"), vote(1, -1, "cy"), vote(2, 1, "ann")]
    found = agreements(votes, {})
    assert (found["ann"].compared, found["ann"].agreed) == (1, 0.5)
    assert (found["cy"].compared, found["cy"].agreed) == (1, 0.0)


def test_the_same_reply_given_twice_compares_its_raters() -> None:
    votes = [vote(1, 1, "ann"), vote(2, -1, "bob")]
    assert agreements(votes, {})["ann"].compared == 0
    assert agreements(votes, {1: 1, 2: 1})["ann"] == agreements(votes, {1: 1, 2: 1})["bob"]
    assert agreements(votes, {1: 1, 2: 1})["ann"].compared == 1


def test_trust_starts_low_grows_with_agreement_and_falls_never_to_nothing() -> None:
    votes = [vote(n, 1, rater) for n in range(30) for rater in ("ann", "bob", "cy")]
    votes += [vote(n, -1, "troll") for n in range(30)] + [vote(99, 1, "new")]
    found = {rater: one.value for rater, one in trust(votes, {}, 0.7, 5).items()}
    assert found["new"] == 0.7
    assert found["ann"] == pytest.approx((0.7 * 5 + 30 * 2 / 3) / 35)
    assert found["troll"] == pytest.approx(0.7 * 5 / 35)
    agreed = trust([one for one in votes if one.rater != "troll"], {}, 0.7, 5)
    assert agreed["ann"].value == pytest.approx(33.5 / 35)
    assert agreed["ann"].reason == "others agreed about 30 of the 30 replies that they rated too"


def test_raters_who_agree_weigh_nearly_one() -> None:
    votes = [vote(n, 1 if n % 3 else -1, f"r{k}") for n in range(30) for k in range(5)]
    assert min(weights_of(votes, USUAL).values()) > 0.9


def test_where_nobody_rates_what_another_has_rated_all_weigh_the_same() -> None:
    """As in a simulation, where who asks is who votes; training looks at ratios only."""
    draw = random.Random(1)
    votes = [
        vote(n, 1 if draw.random() < 0.6 else -1, f"r{draw.randrange(10)}") for n in range(300)
    ]
    assert set(weights_of(votes, USUAL).values()) == {USUAL.trust_start}


# One-sidedness


def test_who_always_says_the_same_weighs_less_in_proportion() -> None:
    def of(likes: int, dislikes: int) -> float:
        votes = [vote(n, 1) for n in range(likes)]
        votes += [vote(1000 + n, -1) for n in range(dislikes)]
        found = one_sided(votes, 20, 0.9, 0.5)
        return found["ann"].value if found else 1.0

    assert of(20, 0) == of(0, 20) == 0.5
    assert of(19, 0) == 1.0
    assert of(18, 2) == 1.0
    assert of(38, 2) == pytest.approx(0.75)
    (factor,) = one_sided([vote(n, -1) for n in range(20)], 20, 0.9, 0.5).values()
    assert factor.reason == "20 of 20 votes are 👎"


# All of them together


def crowd(seed: int) -> list[Vote]:
    """Votes of any shape: loud people, trolls, one-sided ones, overlaps, flips, withdrawals."""
    draw = random.Random(seed)
    votes = []
    for number in range(draw.choice([2, 3, 10, 40, 60])):
        mood = draw.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        for _ in range(draw.choice([1, 2, 30, 200])):
            value = draw.choice([-1, 0, 1]) if draw.random() < 0.1 else (
                1 if draw.random() < mood else -1
            )
            votes.append(vote(draw.randrange(80), value, f"r{number}",  # type: ignore[arg-type]
                              START + timedelta(seconds=len(votes))))  # fmt: skip
    return votes


@pytest.mark.parametrize("seed", range(25))
def test_no_rater_ever_weighs_more_than_the_caps_and_nothing_more_than_one(seed: int) -> None:
    draw = random.Random(seed)
    settings = WeighingConfig(
        rater_cap=draw.choice([1.0, 2.0, 5.0]), trust_start=draw.choice([0.1, 0.7, 1.0])
    )
    stand = standing(crowd(seed))
    alike = {one.exchange_id: one.exchange_id // 2 for one in stand}
    weights = rater_weights(stand, settings, alike)
    totals = {rater: sum(one.rater == rater for one in stand) * weight.value
              for rater, weight in weights.items()}  # fmt: skip
    assert all(0 < weight.value <= 1 for weight in weights.values())
    assert all(0 < one.value <= 1 for weight in weights.values() for one in weight.factors)
    fair = len(stand) / len(totals)
    assert max(totals.values()) <= settings.rater_cap * fair * (1 + 1e-9)
    if len(totals) >= 40:
        assert max(totals.values()) <= 0.05 * sum(totals.values()) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_withdrawing_a_vote_restores_the_earlier_labels_exactly(seed: int) -> None:
    before = crowd(seed)
    late = START + timedelta(days=1)
    for exchange_id, rater in ((7, "r0"), (200, "stranger")):
        untouched = [one for one in before if (one.exchange_id, one.rater) != (exchange_id, rater)]
        voted = [*untouched, vote(exchange_id, 1, rater, late)]
        withdrawn = [*voted, vote(exchange_id, 0, rater, late + timedelta(seconds=1))]
        assert liked(voted) != liked(untouched)
        assert liked(withdrawn) == liked(untouched)


def test_a_label_says_how_it_came_about() -> None:
    votes = [vote(n, 1, "loud") for n in range(30)] + [vote(0, -1, r) for r in ("ann", "bob", "cy")]
    found = liked(votes)[0]
    assert (found.exchange_id, found.liked) == (0, False)
    for one in found.votes:
        product = 1.0
        for factor in one.weight.factors:
            product *= factor.value
        assert one.weight.value == pytest.approx(product)
    assert found.weight == pytest.approx(-sum(one.value * one.weight.value for one in found.votes))
    rules = {one.rater: [factor.rule for factor in one.weight.factors] for one in found.votes}
    assert rules == {
        "ann": ["trust"], "bob": ["trust"], "cy": ["trust"],
        "loud": ["trust", "one-sided", "fair share"],
    }  # fmt: skip


def test_with_every_rule_off_a_vote_is_a_vote() -> None:
    assert set(weights_of(standing(crowd(3)), PLAIN).values()) == {1.0}
