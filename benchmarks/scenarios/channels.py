"""People who talk at random, and what they hear: requests in, tokens and their times out."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from bot.engine.base import Engine, Request
from bot.types import BASE, FinishReason, Sampling, Timings

FIRST_WORD = 10
"""Ids below are marks in most vocabularies."""


@dataclass(frozen=True)
class Heard:
    """One reply as it came; times are those of `time.perf_counter`."""

    request: Request
    began: float
    ids: tuple[int, ...]
    text: str
    times: tuple[float, ...]
    """When each piece of it came, in seconds."""
    finish: FinishReason
    timings: Timings

    @property
    def first(self) -> float:
        """Seconds until the first token."""
        return self.times[0] - self.began

    @property
    def total(self) -> float:
        """Seconds until the last one."""
        return self.times[-1] - self.began

    @property
    def gaps(self) -> list[float]:
        """Seconds between two pieces."""
        return [after - before for before, after in itertools.pairwise(self.times)]


async def hear(engine: Engine, request: Request, leave_after: int = 0) -> Heard:
    """Listen to a reply, or only to its first tokens."""
    began = time.perf_counter()
    ids: list[int] = []
    text = ""
    times: list[float] = []
    finish: FinishReason = "cancelled"
    timings = Timings()
    async with aclosing(engine.stream(request)) as deltas:
        async for delta in deltas:
            times.append(time.perf_counter())
            ids += delta.ids
            text += delta.text
            if delta.finish is not None:
                finish, timings = delta.finish, delta.timings or Timings()
            elif leave_after and len(ids) >= leave_after:
                break
    return Heard(request, began, tuple(ids), text, tuple(times), finish, timings)


def greedy(tokens: int) -> Sampling:
    """The likeliest tokens, so many of them."""
    return Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0, max_tokens=tokens)


class Channel:
    """A conversation of random words, which begins anew when it would become too long.

    Args:
        name: decides what is said.
        vocabulary: of the model.
        most: tokens of the longest prompt.
        turn: tokens that are said at a time.
    """

    def __init__(self, name: str, vocabulary: int, most: int, turn: int = 12) -> None:
        self.name = name
        self.rng = random.Random(name)
        self.ids: list[int] = []
        self._vocabulary, self._most, self._turn = vocabulary, most, turn

    def asks(self, adapter: str = BASE, tokens: int = 32) -> Request:
        """What is said so far and something new, to be answered in so many tokens."""
        if len(self.ids) + self._turn > self._most:
            self.ids.clear()
        self.ids += words(self.rng, self._turn, self._vocabulary)
        return Request(tuple(self.ids), adapter, greedy(tokens), self.name)

    def answered(self, ids: Sequence[int]) -> None:
        """The reply becomes part of the conversation."""
        self.ids += ids


def words(rng: random.Random, count: int, vocabulary: int) -> list[int]:
    """So many random tokens."""
    return [rng.randrange(FIRST_WORD, vocabulary) for _ in range(count)]
