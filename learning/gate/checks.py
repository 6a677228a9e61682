"""The questions the gate asks, as pure functions of numbers: each answer is a `Check`.

Nothing here knows the engine, an adapter's name or a snapshot. Every threshold is a key of
`[learning.gate]`; every reason is a sentence with its numbers for an admin.

**Which score the votes are ordered by.** The log-prob of a reply depends mostly on the
words in it; what an adapter thinks of it is how far it moved from the base. So the AUC is
of the mean log-ratio to the base a token. For the base itself that ratio is zero
everywhere and its AUC .5: a first candidate has to be no worse than a coin, and the check
above it, the shift, has to show that it is better.

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
from learning.metrics import Bound, auc, difference_bound, distinct_n, mean, repeated_n, spent_error
from learning.types import Check, Outcome


@dataclass(frozen=True, slots=True)
class Voted:
    """A held-out vote and how likely its reply is: mean log-prob a token, in nats."""

    liked: bool
    cluster: str
    candidate: float
    champion: float
    base: float
    likeness: float = 0.0
    """How far it lies towards the candidate's way of talking (`learning.gate.likeness`)."""
    ours: float | None = None
    """How the candidate's head likes it, in spreads; None without a head."""
    theirs: float | None = None
    """How the champion's does."""


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


def votes_checks(
    voted: Sequence[Voted], config: GateConfig, gates_before: int
) -> tuple[Check, ...]:
    """What the held-out votes say: towards the liked, and no liked reply given up."""
    looks = _looks(voted, spent_error(config.alpha, gates_before))
    ours, theirs = _orders(voted)
    liked = [one for one in voted if one.liked]
    pairs = len(liked) * (len(voted) - len(liked))
    # With a dozen votes one pair changing places is more than the margin, and is luck.
    lowest = theirs - max(config.auc_margin, 1 / pairs if pairs else 0.0) - 1e-9
    nll, before = -mean([one.candidate for one in liked]), -mean([one.champion for one in liked])
    highest = before + config.liked_nll_rise
    return (
        Check(
            "learned", looks.learned, looks.lower, 0.0,
            f"Of {len(voted)} rated replies it never saw, the liked ones are "
            f"{looks.alike.difference:+.2f} spreads nearer to how it talks than the disliked ones "
            f"({_surely(looks.alike, 2)}), {looks.told_apart}and became "
            f"{looks.moved.difference:+.3f} nats a token likelier ({_surely(looks.moved, 3)}), at "
            f"the {1 - looks.alpha:.1%} confidence that gate {gates_before + 1} asks of each"
            f"{'.' if looks.learned else ': not enough to rule out luck.'}",
        ),
        Check(
            "liked_nll", bool(liked) and nll <= highest + 1e-6, nll, highest,
            f"Held-out liked replies cost it {nll:.3f} nats a token, the champion "
            f"{before:.3f}; {_ceiling(config.liked_nll_rise)}.",
        ),
        Check(
            "auc", ours >= lowest, ours, lowest,
            f"It tells a liked from a disliked reply {ours:.0%} of the time, the champion "
            f"{theirs:.0%}; at least {lowest:.0%} is needed.",
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Looks:
    """What one way of looking at the votes shows, and another."""

    alike: Bound
    """How much nearer the liked ones are to how the candidate talks."""
    moved: Bound
    """How much likelier they became."""
    apart: Bound | None
    """How much further its head sets them above the others than the champion's does."""
    alpha: float
    """The error that each may have."""

    @property
    def lower(self) -> float:
        """What the most convincing of them is at least."""
        return max(one.lower for one in (self.alike, self.moved, self.apart) if one is not None)

    @property
    def learned(self) -> bool:
        """Whether one convinces; a head alone only where the talk has not surely become worse."""
        if max(self.alike.lower, self.moved.lower) > 0:
            return True
        worse = min(2 * one.difference - one.lower for one in (self.alike, self.moved)) < 0
        return self.apart is not None and self.apart.lower > 0 and not worse

    @property
    def told_apart(self) -> str:
        """What is to be said of the heads."""
        if self.apart is None:
            return ""
        return (
            f"stand {self.apart.difference:+.2f} spreads further above them by its head "
            f"({_surely(self.apart, 2)}), "
        )


def _looks(voted: Sequence[Voted], error: float) -> _Looks:
    """All looks at the same votes: any may convince, so each has its share of the error."""
    liked, clusters = [one.liked for one in voted], [one.cluster for one in voted]
    heads = any(one.ours is not None for one in voted)
    alpha = error / (3 if heads else 2)

    def bound(values: Sequence[float]) -> Bound:
        return difference_bound(values, liked, clusters, alpha)

    apart = [(one.ours or 0.0) - (one.theirs or 0.0) for one in voted]
    return _Looks(
        bound([one.likeness for one in voted]),
        bound([one.candidate - one.champion for one in voted]),
        bound(apart) if heads else None, alpha,
    )


def _orders(voted: Sequence[Voted]) -> tuple[float, float]:
    """How often each sets a liked reply above a disliked one: by its head, where it has one."""
    by_heads = head_aucs(voted)
    ours, theirs = (
        by_ratio if by_head is None else by_head
        for by_ratio, by_head in zip(vote_aucs(voted), by_heads, strict=True)
    )
    return ours, theirs


def head_aucs(voted: Sequence[Voted]) -> tuple[float | None, float | None]:
    """How well the heads of candidate and champion order the votes; None without a head."""
    def of(side: bool, name: str) -> list[float]:
        return [getattr(one, name) or 0.0 for one in voted if one.liked is side]

    ours, theirs = (
        auc(of(True, who), of(False, who))
        if any(getattr(one, who) is not None for one in voted) else None
        for who in ("ours", "theirs")
    )
    return ours, theirs


def _surely(bound: Bound, digits: int) -> str:
    if not math.isfinite(bound.lower):
        return "no certainty at all"
    return f"at least {bound.lower:+.{digits}f}"


def _ceiling(rise: float) -> str:
    return f"that may rise by {rise:.3f}" if rise else "that must not rise"


def vote_aucs(voted: Sequence[Voted]) -> tuple[float, float]:
    """How well candidate and champion order the votes; .5 for the base."""
    def of(side: bool, name: str) -> list[float]:
        return [getattr(one, name) - one.base for one in voted if one.liked is side]

    ours, theirs = (auc(of(True, who), of(False, who)) for who in ("candidate", "champion"))
    return ours, theirs


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
