"""What one vote of each rater weighs: a few rules, and the one place that puts them together.

Each rule is a pure function from votes or weights to factors, has keys of its own in
``[learning.votes]`` and can be switched off there. Every factor carries its reason, so that
a weight can be explained to whoever asks. A weight is above 0 and at most 1: rules take
weight away and never add any. The caps come last, so that they hold for what really counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bot.config import WeighingConfig
from bot.types import Vote
from learning.types import Factor, Weight
from learning.votes.trust import trust

_ROUNDING = 1e-9


def rater_weights(
    votes: Sequence[Vote], settings: WeighingConfig, alike: Mapping[int, int]
) -> dict[str, Weight]:
    """What one vote of each rater weighs, given the standing votes of all.

    A rater who is alone is weighed against nobody: each of their votes weighs 1.

    Args:
        alike: near-identical exchanges, as `learning.votes.trust.agreements` takes them.
    """
    given = Counter(vote.rater for vote in votes)
    weights = {rater: Weight() for rater in sorted(given)}
    if len(given) < 2:
        return weights

    def apply(factors: Mapping[str, Factor]) -> None:
        for rater, factor in factors.items():
            weights[rater] = weights[rater].times(factor)

    def totals() -> dict[str, float]:
        return {rater: given[rater] * weight.value for rater, weight in weights.items()}

    if settings.trust:
        apply(trust(votes, alike, settings.trust_start, settings.trust_strength))
    if settings.one_sided_votes:
        apply(one_sided(
            votes, settings.one_sided_votes, settings.one_sided_share, settings.one_sided_weight
        ))
    if settings.rater_cap:
        apply(fair_share(totals(), settings.rater_cap))
    if len(given) >= settings.share_raters:
        apply(most_share(totals(), settings.most_share))
    return weights


def one_sided(
    votes: Sequence[Vote], enough: int, share: float, least: float
) -> dict[str, Factor]:
    """The raters with `enough` votes of whom more than a `share` say the same.

    Their factor falls in proportion, from 1 at that share to `least` where all votes are alike.
    """
    given = Counter(vote.rater for vote in votes)
    likes = Counter(vote.rater for vote in votes if vote.value > 0)
    found = {}
    for rater, number in given.items():
        most = max(likes[rater], number - likes[rater])
        if number >= enough and most > share * number:
            excess = (most / number - share) / (1 - share)
            sign = "👍" if likes[rater] == most else "👎"
            found[rater] = Factor(
                "one-sided", 1 - (1 - least) * excess, f"{most} of {number} votes are {sign}"
            )
    return found


def fair_share(totals: Mapping[str, float], cap: float) -> dict[str, Factor]:
    """The raters whose votes weigh more than `cap` fair shares together: (all weight / raters)."""
    whole = sum(totals.values())
    return _held(
        totals, cap * whole / len(totals), "fair share",
        f"{cap:g} fair shares of {len(totals)} people",
    )


def most_share(totals: Mapping[str, float], share: float) -> dict[str, Factor]:
    """The raters who hold more than a share of all the weight that is left after the rule.

    Where there are too few people for that (fewer than 1 / share), all come to weigh the same.
    """
    share = max(share, 1 / len(totals))
    heaviest = sorted(totals.values(), reverse=True)
    rest, level = sum(heaviest), heaviest[-1]
    for held, total in enumerate(heaviest):
        # With so many of them at the level, it is its share of itself and the others' weight.
        level = share * rest / (1 - held * share)
        if total <= level * (1 + _ROUNDING):
            break
        rest -= total
    return _held(totals, level, "largest share", f"{share:.0%} of all that counts")


def _held(totals: Mapping[str, float], level: float, rule: str, what: str) -> dict[str, Factor]:
    whole = sum(totals.values())
    return {
        rater: Factor(
            rule, level / total,
            f"this person's votes make {total / whole:.0%} of all weight; at most {what} count",
        )
        for rater, total in totals.items()
        if total > level * (1 + _ROUNDING)
    }
