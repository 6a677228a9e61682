"""Everybody who votes: how much, how kindly, and what a vote of theirs counts and why.

Pure: it puts together what `learning.votes.weights` has made of the votes that hold, and whose
votes hold no more. What the replies said, and who the raters are, is not known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bot.learning_port import RaterTrust
from bot.store import Ban
from learning.types import CountedVote, Weight


def raters_of(
    votes: Mapping[int, Sequence[CountedVote]], banned: Sequence[Ban]
) -> list[RaterTrust]:
    """The raters of counted votes, those with the most first, then by name; then the banned.

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
    ] + [
        RaterTrust(one.rater, 0, 0, None, 0.0, (_ban(one),), banned=True) for one in banned
    ]


def _ban(one: Ban) -> str:
    who = one.by or "an operator"
    return f"banned by {who} on {one.time:%Y-%m-%d}: {counting(one.votes)} not counted"


def counting(number: int) -> str:
    """So many votes, and the verb that follows."""
    return "1 vote is" if number == 1 else f"{number} votes are"


def _trust(weight: Weight) -> float | None:
    return next((one.value for one in weight.factors if one.rule == "trust"), None)
