"""How far a rater is trusted: by how often others agree who rated the same replies.

Pure arithmetic over standing votes. Agreement is leave-one-out (each rater is compared with
all the others, never with themselves) and smoothed: a Beta prior stands for what is thought
of somebody whose votes cannot be compared with anybody's yet, so that one comparison proves
nothing and nobody falls to 0. It is a rater's and not a vote's, because who misleads does so
again and again (Ju et al. 2022, 2208.03295). What was said in a reply is not known here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.types import Vote
from learning.types import Factor


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a rater's opinions stand to those of others on the same replies."""

    compared: int
    """Replies that somebody else rated too."""
    agreed: float
    """Of these, with each counting for the share of the others who agreed."""


def agreements(votes: Iterable[Vote], alike: Mapping[int, int]) -> dict[str, Agreement]:
    """The agreement of every rater.

    Args:
        votes: standing ones.
        alike: exchange id -> the id that stands for all near-identical exchanges, where there
            are some; votes on any of these are votes on the same reply.
    """
    groups: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for vote in votes:
        groups[alike.get(vote.exchange_id, vote.exchange_id)][vote.rater] += vote.value
    compared: Counter[str] = Counter()
    agreed: defaultdict[str, float] = defaultdict(float)
    for opinions in groups.values():
        decided = {rater: value > 0 for rater, value in opinions.items() if value}
        likes = sum(decided.values())
        for rater, liked in decided.items() if len(decided) > 1 else ():
            same = (likes if liked else len(decided) - likes) - 1
            compared[rater] += 1
            agreed[rater] += same / (len(decided) - 1)
    raters = {rater for opinions in groups.values() for rater in opinions}
    return {rater: Agreement(compared[rater], agreed[rater]) for rater in raters}


def trust(
    votes: Sequence[Vote], alike: Mapping[int, int], start: float, strength: int
) -> dict[str, Factor]:
    """What agreement with others makes of every rater's votes: the mean of the Beta posterior.

    Args:
        start: the prior's mean, above 0 and at most 1.
        strength: how many comparisons the prior counts for, at least 1.
    """
    return {
        rater: Factor(
            "trust", (start * strength + one.agreed) / (strength + one.compared), _reason(one)
        )
        for rater, one in agreements(votes, alike).items()
    }


def _reason(one: Agreement) -> str:
    if not one.compared:
        return "nobody else has rated the same replies yet"
    return (
        f"others agreed about {one.agreed:.3g} of the {one.compared} replies that they rated too"
    )
