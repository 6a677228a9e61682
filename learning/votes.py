"""From raw votes to labels: what the people who rated an exchange come to together.

Pure arithmetic. It knows no exchange's content, no database and no model; it is given
votes as the store keeps them and can be run again over old ones when the rule gets better.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from bot.types import Vote
from learning.types import Label

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


def rater_weights(votes: Sequence[Vote], rater_cap: float) -> dict[str, float]:
    """What one vote of each rater weighs, given the standing votes of all.

    A rater with n votes weighs n in all, but no more than `rater_cap` times the fair share
    (votes / raters); the excess is taken evenly from their votes. A single rater is not capped.
    """
    given = Counter(vote.rater for vote in votes)
    if len(given) < 2:
        return dict.fromkeys(given, 1.0)
    most = rater_cap * given.total() / len(given)
    return {rater: min(1.0, most / number) for rater, number in given.items()}


def labels(votes: Sequence[Vote], rater_cap: float) -> list[Label]:
    """Labels of all rated exchanges, by exchange id; those with as much for as against have none.

    Args:
        votes: in any order; earlier votes of the same rater on the same exchange are ignored.
        rater_cap: how many fair shares one rater may weigh in all.
    """
    counted = standing(votes)
    weights = rater_weights(counted, rater_cap)
    by_exchange: defaultdict[int, list[Vote]] = defaultdict(list)
    for vote in counted:
        by_exchange[vote.exchange_id].append(vote)
    found = []
    for exchange_id, given in by_exchange.items():
        total = sum(vote.value * weights[vote.rater] for vote in given)
        if abs(total) > _TIE:
            raters = tuple(vote.rater for vote in given)
            found.append(Label(exchange_id, total > 0, abs(total), raters))
    return found
