"""What blind comparisons by people come to: wins, ties and losses, and whether it may be luck.

Pure arithmetic on judgements (`bot.store.Judgement`). A prompt counts once, however many people
judged its two replies: opinions on the same words are no independent evidence. Nothing is
decided by this, and nothing here knows a terminal, a model or a reply.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.likerate import wilson
from bot.store import Judgement
from learning.serving import called

QUESTIONS: Mapping[str, str] = {
    "relevance": "fits what was said",
    "diversity": "has something of its own to say",
    "fluency": "reads well",
    "interest": "makes you want to go on",
}
"""What people are asked about two replies, in this order, and what is meant."""

OVERALL = "overall"
CERTAIN = 0.05
"""How often luck may do as much before a difference is called one."""


@dataclass(frozen=True, slots=True)
class Tally:
    """On how many prompts one version is better, as good, worse, in one respect."""

    question: str
    wins: int
    ties: int
    losses: int

    @property
    def decided(self) -> int:
        """Prompts on which one of the two is better."""
        return self.wins + self.losses

    @property
    def chance(self) -> float:
        """How often luck alone does as much or more, either way: the exact sign test, 0 to 1."""
        number, most = self.decided, max(self.wins, self.losses)
        tail = sum(math.comb(number, k) for k in range(most, number + 1))
        return float(min(1.0, 2 * tail / 2**number))

    @property
    def interval(self) -> tuple[float, float]:
        """Between what the share of wins among the decided prompts lies (Wilson, 95 %)."""
        return wilson(self.wins, self.decided)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "question": self.question, "wins": self.wins, "ties": self.ties,
            "losses": self.losses, "chance": self.chance, "interval": list(self.interval),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """One version beside another, as people find them; wins are those of `one`."""

    one: str
    other: str
    judges: int
    prompts: int
    same: int
    """Prompts to which both said the same; they are ties."""
    overall: Tally
    """By all answers on a prompt together."""
    questions: tuple[Tally, ...]

    def sentence(self) -> str:
        """What there is to say, if there is room for no more."""
        one, other, tally = called(self.one), called(self.other), self.overall
        if not self.prompts:
            return f"Nobody has compared {one} with {other} yet."
        if not tally.decided:
            return (f"People see no difference between {one} and {other}: on "
                    f"{_prompts(self.prompts)} neither is better.")
        counts = (f"{one} is better on {tally.wins}, {other} on {tally.losses} of "
                  f"{_prompts(self.prompts)}")
        luck = f"luck alone does as much in {_percent(tally.chance)} of such tests"
        if tally.chance > CERTAIN:
            return f"It is open which of the two people like better: {counts} ({luck})."
        better, worse = (one, other) if tally.wins > tally.losses else (other, one)
        return f"People find {better} better than {worse}: {counts} ({luck})."

    def as_json(self) -> dict[str, Any]:
        """For programs; the tally over all questions comes first."""
        return {
            "one": self.one, "other": self.other, "sentence": self.sentence(),
            "judges": self.judges, "prompts": self.prompts, "same": self.same,
            "questions": [tally.as_json() for tally in (self.overall, *self.questions)],
        }  # fmt: skip

    def lines(self) -> list[str]:
        """What the sentence leaves out."""
        if not self.prompts:
            return []
        told = [f"{'1 person' if self.judges == 1 else f'{self.judges} people'} judged."]
        if self.same:
            told.append(f"On {_prompts(self.same)} both said the same: ties.")
        if self.overall.decided:
            low, high = self.overall.interval
            share = self.overall.wins / self.overall.decided
            told.append(
                f"Where one was better, it was {called(self.one)} in {_percent(share)} "
                f"(with 95 % certainty between {_percent(low)} and {_percent(high)})."
            )
        return told

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A line a question: its name, wins, ties, losses, and what luck does."""
        return [
            (one.question, str(one.wins), str(one.ties), str(one.losses), _percent(one.chance))
            for one in (self.overall, *self.questions)
        ]


COLUMNS = ("", "better", "as good", "worse", "luck does as much in")


def comparison(judgements: Iterable[Judgement], one: str, other: str) -> Comparison:
    """What people found who compared these two; judgements on others are passed over.

    Whoever answered a question about a prompt twice is taken by their last word.
    """
    last: dict[tuple[str, str, int, str], Judgement] = {}
    for given in judgements:
        if {given.one, given.other} == {one, other}:
            last[given.judge, given.prompt, given.seed, given.question] = given
    sums: dict[str, defaultdict[tuple[str, int], int]] = {
        name: defaultdict(int) for name in (OVERALL, *QUESTIONS)
    }
    for (_, prompt, seed, question), given in last.items():
        for name in (OVERALL, question):
            sums.setdefault(name, defaultdict(int))
            sums[name][prompt, seed] += given.value if given.one == one else -given.value
    overall, *questions = (_tally(name, found.values()) for name, found in sums.items())
    return Comparison(
        one, other,
        judges=len({given.judge for given in last.values()}),
        prompts=len(sums[OVERALL]),
        same=len({(given.prompt, given.seed) for given in last.values() if not given.asked}),
        overall=overall, questions=tuple(questions),
    )


def comparisons(judgements: Iterable[Judgement], one: str) -> tuple[Comparison, ...]:
    """A version beside each that it was compared with, in the order of their names."""
    given = tuple(judgements)
    others = {name for judgement in given for name in (judgement.one, judgement.other)} - {one}
    return tuple(comparison(given, one, other) for other in sorted(others))


def _tally(name: str, sums: Iterable[int]) -> Tally:
    found = list(sums)
    return Tally(
        name, sum(one > 0 for one in found), found.count(0), sum(one < 0 for one in found)
    )


def _prompts(number: int) -> str:
    return "1 prompt" if number == 1 else f"{number} prompts"


def _percent(share: float) -> str:
    return "less than 1 %" if 0.0 < share < 0.01 else f"{round(100 * share)} %"
