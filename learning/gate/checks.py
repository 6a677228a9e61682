"""The questions the gate asks, as pure functions of numbers: each answer is a `Check`.

Nothing here knows the engine, an adapter's name or a snapshot. Every threshold is a key of
`[learning.gate]`; every reason is a sentence with its numbers for an admin.

**What length may do.** People may like short replies, or long ones; a fixed band around
the champion's length would forbid the taste that was voted for. So the band reaches from
the shorter to the longer of the champion's mean length and the liked replies' mean length,
and the configured factors apply on top. Repetition and variety are compared on equally many
words of both, since short text is always more varied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.config import GateConfig
from learning.gate.canaries import CanaryReply
from learning.gate.voted import Voted
from learning.metrics import distinct_n, mean, repeated_n
from learning.types import Check, Outcome


@dataclass(frozen=True, slots=True)
class Anchored:
    """How the candidate treats the base's own replies, a token."""

    nll: float
    base_nll: float
    kl: float
    champion_kl: float


def conclude(
    voted: Sequence[Voted], checks: Sequence[Check], config: GateConfig
) -> tuple[Outcome, str]:
    """The outcome, and one sentence for everybody."""
    liked = sum(one.liked for one in voted)
    disliked = len(voted) - liked
    failed = [check for check in checks if not check.passed]
    if len(voted) < config.min_items or min(liked, disliked) < config.min_per_class:
        sentence = (
            f"Too few votes to judge by: {len(voted)} were kept for judging ({liked} liked, "
            f"{disliked} disliked), at least {config.min_items} with {config.min_per_class} of "
            "each kind are needed; it can be tried, but does not serve."
        )
        return "shadow", sentence
    if failed:
        more = f" ({len(failed) - 1} more checks failed)" if len(failed) > 1 else ""
        return "reject", f"Rejected: {failed[0].reason}{more}"
    # It may still have to wait for an operator: what becomes of it is not said here.
    return "promote", f"Fit to serve: all {len(checks)} checks passed. {checks[0].reason}"


def anchor_checks(anchored: Anchored | None, config: GateConfig) -> tuple[Check, ...]:
    """What it has forgotten, by the base's own replies; failed when there are none."""
    if anchored is None:
        reason = "There are no replies of the base to measure forgetting on."
        return (Check("anchors", False, math.inf, 0.0, reason),)
    rise = anchored.nll / max(anchored.base_nll, 1e-9) - 1
    return (
        Check(
            "anchor_nll", rise <= config.anchor_nll_rise, rise, config.anchor_nll_rise,
            f"The base's own replies became {rise:+.1%} harder for it ({anchored.base_nll:.3f} "
            f"to {anchored.nll:.3f} nats a token); up to {config.anchor_nll_rise:+.0%} is fine.",
        ),
        Check(
            "kl_to_base", anchored.kl <= config.kl_to_base, anchored.kl, config.kl_to_base,
            f"It is {anchored.kl:.3f} nats a token away from the base on the base's own "
            f"replies; up to {config.kl_to_base:.3f} is fine.",
        ),
    )  # fmt: skip


def canary_checks(
    ours: Sequence[CanaryReply],
    theirs: Sequence[CanaryReply],
    liked_length: float,
    config: GateConfig,
) -> tuple[Check, ...]:
    """Whether it still talks like a person: ends, varies, does not loop, keeps to length.

    Args:
        ours: the candidate's replies to the fixed prompts.
        theirs: the champion's, in the same order.
        liked_length: mean tokens of the liked replies, without the end; 0 when unknown.
    """
    count = max(1, len(ours))
    ends, before = (sum(one.ended for one in side) / count for side in (ours, theirs))
    least = before - config.ends_margin
    mine, his = _equally_long(ours, theirs)
    variety, usual = distinct_n(mine, 2), distinct_n(his, 2)
    floor = config.distinct_floor * usual
    loops = repeated_n([one.units for one in ours])
    their_loops = repeated_n([one.units for one in theirs])
    # A champion that never repeats itself leaves no ratio to compare with.
    ceiling = max(config.repetition_ceiling * their_loops, their_loops + config.repetition_slack)
    length = mean([float(len(one.ids)) for one in ours])
    champion_length = mean([float(len(one.ids)) for one in theirs])
    known = [champion_length, liked_length] if liked_length else [champion_length]
    low, high = config.length_low * min(known), config.length_high * max(known)
    beyond = high if length > high else low
    return (
        Check(
            "ends", ends >= least - 1e-9, ends, least,
            f"{ends:.0%} of its replies to {len(ours)} fixed prompts end by themselves, the "
            f"champion's {before:.0%}; at least {least:.0%} is needed.",
        ),
        Check(
            "variety", variety >= floor - 1e-9, variety, floor,
            f"{variety:.0%} of its word pairs are different ones, the champion's {usual:.0%}; "
            f"at least {floor:.0%} is needed.",
        ),
        Check(
            "repetition", loops <= ceiling + 1e-9, loops, ceiling,
            f"It repeats itself in {loops:.1%} of its phrases, the champion in "
            f"{their_loops:.1%}; up to {ceiling:.1%} is fine.",
        ),
        Check(
            "length", low <= length <= high, length, beyond,
            f"Its replies have {length:.1f} tokens on average, the champion's "
            f"{champion_length:.1f}, liked ones {liked_length:.1f}; {low:.1f} to {high:.1f} "
            "is fine.",
        ),
    )  # fmt: skip


def _equally_long(
    ours: Sequence[CanaryReply], theirs: Sequence[CanaryReply]
) -> tuple[list[Sequence[int | str]], list[Sequence[int | str]]]:
    cuts = [min(len(mine.units), len(his.units)) for mine, his in zip(ours, theirs, strict=True)]
    return (
        [one.units[:cut] for one, cut in zip(ours, cuts, strict=True)],
        [one.units[:cut] for one, cut in zip(theirs, cuts, strict=True)],
    )
