"""Whether a version that serves is liked less than the one before it: the statistics of that.

Pure functions of votes; nothing here knows a store, a channel or what follows from a loss.

`weigh` is a sequential Bayes factor (Grünwald et al., 1906.07801; for tests that are looked
at again and again Deng et al., 1602.05549), worked out by a beta-binomial mixture. Under
the null each rater likes both versions equally often, at a rate of their own that is drawn
from a Beta; its mean and its concentration are drawn too. Under the alternative the odds of
every rater are lower for the new version, by one of `DROPS`. Under the null the ratio of what
the two say of the votes is a martingale that begins at 1, whatever order the votes come in;
so by Ville's inequality it ever reaches 1 / e with probability e at most, and one may look
after every vote. (That holds on average over the rates drawn; docs/benchmarks.md has what was
measured at single ones. Tests that hold at each, 2106.02693, would have to leave most of a
short record unused.) Three things follow by themselves: a short record proves little, somebody
who dislikes everything proves next to nothing, and fifty votes of one person are not fifty
opinions.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from bot.likerate import like_rate
from bot.types import Vote

Floats = npt.NDArray[np.float64]
Tally = tuple[int, int, int, int]
"""What one rater said: likes and dislikes before, likes and dislikes now."""

DROPS = (0.5, 1.0)
"""Falls of the log-odds of a like that are looked for: from .62 to .50 and to .38."""
MEANS = np.linspace(0.02, 0.98, 49)
CONCENTRATIONS = np.array([2.0, 10.0, 100.0])
"""From raters of whom many like nearly all or nothing to raters who are all alike."""
LOGITS = np.linspace(-7.0, 7.0, 57)
LIVE_SHARE = 0.2
"""The part of the error that the live channels may spend; the record, which sees more, has
the rest."""
SEASON = 10
"""Votes in the channels that stayed, from which on they tell whether all is liked less now."""


def _log_rates(drop: float) -> Floats:
    """Logarithms of the rates of a like and of a dislike after a fall of the log-odds, [2, P]."""
    return np.asarray(-np.logaddexp(0.0, np.stack([drop - LOGITS, LOGITS - drop])))


def _priors() -> Floats:
    """How probable each rate is to a rater, for each mean and concentration; [P, M].

    Beta densities of the log-odds on their grid, each scaled to the sum 1: so the rates
    are drawn from the grid, and nothing is left to the quality of an integral.
    """
    mean, concentration = (each.ravel() for each in np.meshgrid(MEANS, CONCENTRATIONS))
    likes, dislikes = _log_rates(0.0)[:, :, None]
    log = concentration * (likes * mean + dislikes * (1 - mean))
    density = np.exp(log - log.max(axis=0))
    return np.asarray(density / density.sum(axis=0))


RATES = [_log_rates(drop) for drop in (0.0, *DROPS)]
PRIORS = _priors()


def worse(
    record: Sequence[Vote], live: Sequence[Vote], now: Sequence[Vote], error: float
) -> Literal["record", "live", ""]:
    """By which votes the new version is clearly liked less; empty while it is not.

    Args:
        record: standing votes on the version before, from the time when it served.
        live: those on it from the channels that have stayed on it since.
        now: those on the new version.
        error: how often a version that is liked as much may be called worse, ever.
    """
    if evidence(live, now) >= 1 / (LIVE_SHARE * error):
        return "live"
    if evidence(record, now) < 1 / ((1 - LIVE_SHARE) * error):
        return ""
    stayed, new = (like_rate(vote.value for vote in votes) for votes in (live, now))
    # If the old version is liked no better these days, it is not the new one's fault.
    return "" if stayed.rated >= SEASON and stayed.value <= new.value else "record"


def evidence(before: Sequence[Vote], now: Sequence[Vote]) -> float:
    """How much likelier the votes are if the new version is liked less than if it is not."""
    raters: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for offset, votes in ((0, before), (2, now)):
        for vote in votes:
            raters[vote.rater][offset + (vote.value < 0)] += 1
    return weigh(Counter((a, b, c, d) for a, b, c, d in raters.values()))


def weigh(raters: Mapping[Tally, int]) -> float:
    """`evidence` of how many raters have which tally.

    Without any one rater at least half of its logarithm must remain: nobody brings down a
    version alone, however often they vote.
    """
    if not raters:
        return 1.0
    people = np.array(list(raters.values()), dtype=np.float64)
    # Log-likelihoods, [drops, kinds of rater, means x concentrations] and without the kinds.
    kinds = np.stack([_marginals(tally) for tally in raters], axis=1)
    everybody = np.einsum("dkm,k->dm", kinds, people)
    without = _log_mean(everybody[:, None, :] - kinds)
    whole = _log_mean(everybody)
    factor = _log_mean(whole[1:]) - whole[0]
    least = (_log_mean(without[1:].T) - without[0]).min()
    return math.exp(min(700.0, float(factor), 2 * float(least)))


@lru_cache(maxsize=1024)  # from vote to vote nearly all raters have said the same as before
def _marginals(tally: Tally) -> Floats:
    """Log-likelihoods of a tally after each drop (none is the first), for every prior; [D, M]."""
    before = np.array(tally[:2], dtype=np.float64) @ RATES[0]
    log = before + np.stack([np.array(tally[2:], dtype=np.float64) @ rates for rates in RATES])
    most = log.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(log - most) @ PRIORS) + most)


def _log_mean(logs: Floats) -> Floats:
    """Logarithm of the mean along the last axis, from logarithms."""
    most = logs.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(logs - most).mean(axis=-1)) + most[..., 0])


def rated_otherwise(before: tuple[int, int], now: tuple[int, int]) -> float:
    """How much likelier two (rated, replies) are if their rates differ than if they are one.

    A beta-binomial Bayes factor with Jeffreys' priors, two-sided and in closed form; a
    martingale under one rate as `weigh` is.
    """
    (rated, replies), (rated_now, replies_now) = before, now
    apart = _log_beta(rated, replies) + _log_beta(rated_now, replies_now) - _log_beta(0, 0)
    return math.exp(min(700.0, apart - _log_beta(rated + rated_now, replies + replies_now)))


def _log_beta(successes: int, trials: int) -> float:
    """Logarithm of B(successes + 1/2, failures + 1/2)."""
    return (
        math.lgamma(successes + 0.5) + math.lgamma(trials - successes + 0.5)
        - math.lgamma(trials + 1.0)
    )
