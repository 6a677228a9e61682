"""How soon the watch sees that a version is liked less, and how often it sees what is not there.

    python -m benchmarks.watch --lives 400 --json watch.json

Simulated votes, no model: a record of the version before, then votes on the new one, one in
seven of them in the channels that stayed. Strangers vote once each; in a crowd of twenty each
has a like-rate of their own and some vote far more often than others. The watch looks every
ten votes on the new version (every five where it falls), until it rolls back or the votes are
spent. A figure is a share of lives, or the median number of votes on the new version.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from learning.watch.comparison import LIVE_SHARE, Tally, weigh

ERROR = 0.05
LIVE = 0.15
RATE = 0.62
SPREAD = 3.0
"""Concentration of the Beta that a crowd's like-rates come from: much as in ConvAI2."""


@dataclass(frozen=True)
class Case:
    """What a version does after its promotion, and in what place."""

    what: str
    record: int
    rate: float
    before: float = RATE
    crowd: int = 0
    """How many people vote; 0 is a new one each time."""
    votes: int = 500
    every: int = 10
    error: float = ERROR


@dataclass(frozen=True)
class Found:
    """How many lives ended in a roll-back, and when."""

    lives: int
    record: float
    """Share of lives in which the record's test rolled back."""
    live: float
    """Share in which that of the live channels did."""
    either: float
    median: float | None
    """Votes on the new version at which half of the lives had ended; None where fewer did."""
    seconds: float


class Life:
    """One promoted version and the people who vote."""

    def __init__(self, case: Case, seed: int) -> None:
        self._case = case
        self._rng = np.random.default_rng(seed)
        people = case.crowd or case.record + 2 * case.votes
        rates = np.full(people, case.before)
        if case.crowd:
            low = SPREAD * (1 - case.before)
            rates = self._rng.beta(SPREAD * case.before, low, people).clip(1e-6, 1 - 1e-6)
        drop = _logit(case.before) - _logit(case.rate)
        self._rates = (rates, 1 / (1 + np.exp(drop - np.log(rates / (1 - rates)))))
        activity = 1 / np.arange(1, people + 1)
        self._activity = activity / activity.sum()
        self._said = np.zeros((people, 6), dtype=int)
        """Likes and dislikes in the record, in the channels that stayed, on the new version."""
        self._given = 0

    def _vote(self, part: int) -> None:
        people = len(self._said)
        who = self._given if not self._case.crowd else self._rng.choice(people, p=self._activity)
        liked = self._rng.random() < self._rates[part == 2][who]
        self._said[who, 2 * part + (not liked)] += 1
        self._given += 1

    def run(self) -> tuple[float, float]:
        """At which vote on the new version each test calls it worse; infinite where never."""
        case = self._case
        for _ in range(case.record):
            self._vote(0)
        at = {0: math.inf, 1: math.inf}
        limits = {0: 1 / ((1 - LIVE_SHARE) * case.error), 1: 1 / (LIVE_SHARE * case.error)}
        for now in range(1, case.votes + 1):
            while self._rng.random() < LIVE:
                self._vote(1)
            self._vote(2)
            if now % case.every == 0:
                for part in at:
                    if at[part] == math.inf and weigh(self._tallies(part)) >= limits[part]:
                        at[part] = now
                if at[0] < math.inf:
                    break
        return at[0], at[1]

    def _tallies(self, part: int) -> Counter[Tally]:
        rows = self._said[:, [2 * part, 2 * part + 1, 4, 5]]
        found = Counter(map(tuple, rows[rows.any(axis=1)].tolist()))
        return found  # type: ignore[return-value]


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))


def measure(case: Case, lives: int) -> Found:
    """Let a version live so many times."""
    started = time.perf_counter()
    ends = np.array([Life(case, seed).run() for seed in range(lives)])
    first = ends.min(axis=1)
    median = float(np.median(first))
    return Found(
        lives, *(round(float(np.isfinite(one).mean()), 4) for one in (*ends.T, first)),
        median if math.isfinite(median) else None, round(time.perf_counter() - started, 1),
    )


def cases() -> list[Case]:
    """Falls, and lives without one."""
    made = []
    for record in (90, 300):
        for crowd in (0, 20):
            who = f"record of {record}, " + (f"crowd of {crowd}" if crowd else "strangers")
            made += [
                Case(f".62 -> .42, {who}", record, 0.42, crowd=crowd, votes=300, every=5),
                Case(f".62 -> .52, {who}", record, 0.52, crowd=crowd),
                Case(f"stable at .62, {who}", record, 0.62, crowd=crowd),
            ]
    made += [
        Case(f"stable at {rate}, record of 90, strangers", 90, rate, rate)
        for rate in (0.1, 0.3, 0.9)
    ]
    return made


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lives", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print(f"{'what':48} {'record':>7} {'live':>7} {'either':>7} {'median':>7}")
    for case in cases():
        found = measure(case, args.lives)
        median = "-" if found.median is None else f"{found.median:.0f}"
        print(f"{case.what:48} {found.record:7.1%} {found.live:7.1%} {found.either:7.1%} "
              f"{median:>7}   {found.seconds:.0f} s", flush=True)
        rows.append(asdict(case) | asdict(found))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
