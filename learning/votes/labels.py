"""From raw votes to labels: what the people who rated an exchange come to together.

Pure arithmetic. It knows no exchange's content, no database and no model; it is given
votes as the store keeps them and can be run again over old ones when a rule gets better.
Which vote of a person counts is said here, what it weighs in `learning.votes.weights`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from bot.config import WeighingConfig
from bot.types import Vote
from learning.types import CountedVote, Label
from learning.votes.weights import rater_weights

_TIE = 1e-9


def standing(votes: Iterable[Vote]) -> list[Vote]:
    """The vote that counts of each rater on each exchange: the latest, unless withdrawn.

    Of two at the same instant the later in the sequence wins. Ordered by exchange and rater.
    """
    latest: dict[tuple[int, str], Vote] = {}
    for vote in votes:
        key = (vote.exchange_id, vote.rater)
        if key not in latest or vote.time >= latest[key].time:
            latest[key] = vote
    return [latest[key] for key in sorted(latest) if latest[key].value != 0]


def counted(
    votes: Iterable[Vote], settings: WeighingConfig, alike: Mapping[int, int]
) -> dict[int, tuple[CountedVote, ...]]:
    """Every rated exchange's standing votes with what they weigh and why, by exchange and rater.

    Args:
        votes: in any order; earlier votes of the same rater on the same exchange are ignored.
        alike: near-identical exchanges, as `learning.votes.dataset.alike` finds them.
    """
    stand = standing(votes)
    weights = rater_weights(stand, settings, alike)
    by_exchange: defaultdict[int, list[CountedVote]] = defaultdict(list)
    for vote in stand:
        one = CountedVote(vote.rater, vote.value, weights[vote.rater])
        by_exchange[vote.exchange_id].append(one)
    return {exchange_id: tuple(given) for exchange_id, given in by_exchange.items()}


def label(exchange_id: int, votes: Sequence[CountedVote]) -> Label | None:
    """What the votes on an exchange come to; None where there is as much for as against."""
    total = sum(vote.value * vote.weight.value for vote in votes)
    if abs(total) <= _TIE:
        return None
    raters = tuple(vote.rater for vote in votes)
    return Label(exchange_id, total > 0, abs(total), raters, tuple(votes))


def labels(
    votes: Iterable[Vote], settings: WeighingConfig, alike: Mapping[int, int]
) -> list[Label]:
    """Labels of all rated exchanges, by exchange id; ties have none."""
    every = counted(votes, settings, alike).items()
    return [found for exchange_id, given in every if (found := label(exchange_id, given))]
