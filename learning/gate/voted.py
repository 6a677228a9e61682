"""What held-out votes say about a candidate: whether it learned, and whether it is better.

Two questions, because they differ in what a wrong answer costs. Whether a candidate has
learned from votes at all is asked against the base, and strictly: that error is what would let
luck, or a few loud people, change the bot. Whether it is better than a version that has shown
that already is asked mildly: both have learned, the watch takes back what people like less, and
two versions of the same taste differ by little, so that certainty would mean standing still.

Nothing here knows the engine, an adapter's name or a snapshot.

**Which score the votes are ordered by.** The log-prob of a reply depends mostly on the
words in it; what an adapter thinks of it is how far it moved from the base. So the AUC is
of the mean log-ratio to the base a token. For the base itself that ratio is zero
everywhere and its AUC .5: a first candidate has to be no worse than a coin, and the check
above it has to show that it is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bot.config import GateConfig
from learning.metrics import Bound, auc, difference_bound, mean, spent_error
from learning.types import Check


@dataclass(frozen=True, slots=True)
class Voted:
    """A held-out vote and how likely its reply is: mean log-prob a token, in nats."""

    liked: bool
    cluster: str
    candidate: float
    champion: float
    base: float
    likeness: float = 0.0
    """How far it lies from the champion's way of talking to the candidate's
    (`learning.gate.likeness`)."""
    since_base: float = 0.0
    """How far it lies from the base's way of talking to the candidate's."""
    ours: float | None = None
    """How the candidate's head likes it, in spreads; None without a head."""
    theirs: float | None = None
    """How the champion's does."""


def votes_checks(
    voted: Sequence[Voted], config: GateConfig, gates_before: int, over_base: bool
) -> tuple[Check, ...]:
    """What the held-out votes say: towards the liked, and no liked reply given up.

    Args:
        gates_before: see `learning.gate.judge.judge`.
        over_base: whether it is the base that serves, so that there is no version to better.
    """
    learned = _looks(voted, spent_error(config.alpha, gates_before), over_base=True)
    better = () if over_base else (_better(voted, config.better_alpha),)
    ours, theirs = _orders(voted)
    liked = [one for one in voted if one.liked]
    pairs = len(liked) * (len(voted) - len(liked))
    # With a dozen votes one pair changing places is more than the margin, and is luck.
    lowest = theirs - max(config.auc_margin, 1 / pairs if pairs else 0.0) - 1e-9
    nll, before = -mean([one.candidate for one in liked]), -mean([one.champion for one in liked])
    highest = before + config.liked_nll_rise
    return (
        Check(
            "learned", learned.convincing, learned.lower, 0.0,
            f"Of {len(voted)} rated replies it never saw the liked ones are, beside the base, "
            f"{learned}, at the {1 - learned.error:.1%} "
            f"confidence that gate {gates_before + 1} asks of all these together"
            f"{'.' if learned.convincing else ': not enough to rule out luck.'}",
        ),
        *better,
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


def _better(voted: Sequence[Voted], error: float) -> Check:
    looks = _looks(voted, error, over_base=False)
    passed = looks.convincing and not looks.worse
    return Check(
        "better", passed, looks.lower, 0.0,
        f"Beside the version that serves the liked ones are {looks}, at "
        f"{1 - error:.0%} confidence{'.' if passed else ': not enough to take its place.'}",
    )


@dataclass(frozen=True, slots=True)
class _Looks:
    """What three ways of looking at the votes show."""

    alike: Bound
    """How much nearer the liked ones are to how the candidate talks."""
    moved: Bound
    """How much likelier they became."""
    apart: Bound | None
    """How much further its head sets them above the others; None without any head."""
    error: float
    """The chance that all of them together may be luck."""

    @property
    def lower(self) -> float:
        """What the most convincing of them is at least."""
        return max(one.lower for one in self._all)

    @property
    def worse(self) -> bool:
        """Whether one of them has surely become worse."""
        return any(2 * one.difference - one.lower < 0 for one in self._all)

    @property
    def convincing(self) -> bool:
        """Whether one convinces; a head alone only where the talk has not surely become worse."""
        if max(self.alike.lower, self.moved.lower) > 0:
            return True
        return self.apart is not None and self.apart.lower > 0 and not self.worse

    @property
    def _all(self) -> list[Bound]:
        return [one for one in (self.alike, self.moved, self.apart) if one is not None]

    def __str__(self) -> str:
        apart = "" if self.apart is None else (
            f"{self.apart.difference:+.2f} spreads higher by its head ({_surely(self.apart, 2)}), "
        )  # fmt: skip
        return (
            f"{self.alike.difference:+.2f} spreads nearer to how it talks than the others "
            f"({_surely(self.alike, 2)}), {apart}{self.moved.difference:+.3f} nats a token "
            f"likelier ({_surely(self.moved, 3)})"
        )


def _looks(voted: Sequence[Voted], error: float, *, over_base: bool) -> _Looks:
    """All looks at the same votes: any may convince, so each has its share of the error.

    A head chooses among several replies, which changes the talk most: half of it is the head's.
    """
    liked, clusters = [one.liked for one in voted], [one.cluster for one in voted]
    heads = any(one.ours is not None for one in voted)
    talk = error / (4 if heads else 2)

    def bound(values: Sequence[float], alpha: float) -> Bound:
        return difference_bound(values, liked, clusters, alpha)

    alike = [one.since_base if over_base else one.likeness for one in voted]
    moved = [one.candidate - (one.base if over_base else one.champion) for one in voted]
    apart = [(one.ours or 0.0) - (0.0 if over_base else one.theirs or 0.0) for one in voted]
    return _Looks(
        bound(alike, talk), bound(moved, talk), bound(apart, error / 2) if heads else None, error
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
