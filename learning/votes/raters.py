"""Everybody who votes: how much, how kindly, and what a vote of theirs counts and why.

Pure: it puts together what `learning.votes.weights` has made of the votes that hold. What the
replies said, and who the raters are, is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bot.learning_port import RaterTrust
from learning.types import CountedVote, Weight


def raters_of(votes: Mapping[int, Sequence[CountedVote]]) -> list[RaterTrust]:
    """The raters of counted votes, those with the most first, then by name.

    Args:
        votes: as `learning.votes.labels.counted` gives them, by exchange.
    """
    given: Counter[str] = Counter()
    likes: Counter[str] = Counter()
    weights: dict[str, Weight] = {}
    for vote in (one for cast in votes.values() for one in cast):
        given[vote.rater] += 1
        likes[vote.rater] += vote.value > 0
        weights[vote.rater] = vote.weight
    return [
        RaterTrust(
            rater, number, likes[rater], _trust(weights[rater]), weights[rater].value,
            tuple(one.reason for one in weights[rater].factors if one.value < 1),
        )
        for rater, number in sorted(given.items(), key=lambda item: (-item[1], item[0]))
    ]


def _trust(weight: Weight) -> float | None:
    return next((one.value for one in weight.factors if one.rule == "trust"), None)
