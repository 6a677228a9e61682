"""What happens in one channel, drawn from a seed: questions, signs, changes of mind, losses.

Pure, and the same for every platform: replies and people are numbers, and so is the way in
which a connection is lost, of which each platform has its own. A schedule says nothing of
time; how many of them are played together is `tests.platforms.stage`'s.

The variable ``RAPPORT_SCHEDULES`` says which are played: so many as a number says, or those
from a first to a last seed, as in ``137-137``, which is one that failed, alone.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

FLEET = 25
"""Schedules that one bot lives through at once. With four questions each there are no more
than the hundred replies that are looked at again after a session that was lost."""
USUAL = 100
"""Schedules that are played where nothing else is asked for."""
PEOPLE = 4
WAYS = 10
"""Numbers of ways to lose a connection."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody asks something."""

    person: int


@dataclass(frozen=True, slots=True)
class React:
    """Somebody gives a sign under a reply, or takes the one back that they gave."""

    reply: int
    """The number of the question in this channel."""
    person: int
    value: int
    """1 or -1."""
    given: bool


@dataclass(frozen=True, slots=True)
class Clear:
    """All signs under a reply go."""

    reply: int


@dataclass(frozen=True, slots=True)
class Twice:
    """Something is told more than once."""


@dataclass(frozen=True, slots=True)
class Late:
    """What happens in the next steps of all channels is told after them, in any order."""

    steps: int


@dataclass(frozen=True, slots=True)
class Lose:
    """The connection is lost; so many steps are taken before anybody waits for the next."""

    way: int
    steps: int


@dataclass(frozen=True, slots=True)
class Agree:
    """Nothing happens here until all votes are on record."""


Step = Ask | React | Clear | Twice | Late | Lose | Agree


def schedule(seed: int) -> tuple[Step, ...]:
    """The steps of one channel, the same for the same seed."""
    return tuple(_Draw(seed).steps())


def fleets() -> list[range]:
    """The seeds that are to be played, those together that one bot gets."""
    first, dash, last = os.environ.get("RAPPORT_SCHEDULES", str(USUAL)).partition("-")
    start, end = (int(first), int(last) + 1) if dash else (0, int(first))
    return [range(seed, min(seed + FLEET, end)) for seed in range(start, end, FLEET)]


def named(seeds: range) -> str:
    """A fleet as ``RAPPORT_SCHEDULES`` takes it."""
    return f"{seeds.start}-{seeds.stop - 1}"


class _Draw:
    """Draws a schedule, and remembers whose sign stands where."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._asked = 0
        self._signs: dict[tuple[int, int], int] = {}

    def steps(self) -> Iterator[Step]:
        """The first is a question, without which there is nothing to do."""
        draw = self._rng
        acts = ["ask"] * draw.randint(1, 3) + ["sign"] * draw.randint(10, 16)
        acts += ["clear", "twice", "twice", "agree"] + ["late"] * draw.randint(0, 1)
        acts += ["lose"] * (draw.random() < 0.3)
        draw.shuffle(acts)
        for act in ("ask", *acts):
            yield from self._act(act)

    def _act(self, act: str) -> Iterator[Step]:
        draw = self._rng
        if act == "ask":
            self._asked += 1
            yield Ask(draw.randrange(PEOPLE))
        elif act == "sign":
            yield from self._sign()
        elif act == "clear":
            reply = draw.randrange(self._asked)
            self._signs = {key: sign for key, sign in self._signs.items() if key[0] != reply}
            yield Clear(reply)
        elif act == "twice":
            yield Twice()
        elif act == "late":
            yield Late(draw.randint(2, 30))
        elif act == "lose":
            yield Lose(draw.randrange(WAYS), draw.randint(0, 40))
        else:
            yield Agree()

    def _sign(self) -> Iterator[Step]:
        """A sign given, changed or taken back; nobody leaves two under one reply."""
        draw = self._rng
        reply, person = draw.randrange(self._asked), draw.randrange(PEOPLE)
        before = self._signs.pop((reply, person), None)
        if before is not None:
            yield React(reply, person, before, given=False)
        if before is None or draw.random() < 0.6:
            value = draw.choice((1, -1))
            self._signs[reply, person] = value
            yield React(reply, person, value, given=True)
