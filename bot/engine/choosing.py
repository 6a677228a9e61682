"""An engine that draws several replies and gives the best.

It stands around another engine and is one itself, so nobody who asks for replies knows of it:
a `Request` says how many may be drawn. Which reply is best, a `Ranker` of the version that speaks
tells. Where it has none, where no rows are to spare, and where nothing is drawn by chance, so that
all replies would be the same, one is generated and streamed as ever. A reply that was chosen comes
whole, at its end. What a ranker goes by is not known here, but for the one that needs nothing
except the model itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from bot.engine.base import Around, Delta, Engine, Ranker, Request, whole
from bot.types import Timings


class Choosing(Around):
    """An engine around an engine that may give the best of several replies.

    Args:
        rows: replies that the inner engine generates at the same time.
        ranker: what a version's replies are told apart by, if by anything.
    """

    def __init__(
        self, engine: Engine, rows: int, ranker: Callable[[str], Ranker | None]
    ) -> None:
        super().__init__(engine)
        self._rows = rows
        self._ranker = ranker
        self._running = 0

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Generate one reply, the best of as many as may be drawn and have a row."""
        ranker = self._ranker(request.adapter) if request.sampling.temperature else None
        spare = max(1, self._rows - self._running)
        count = min(request.best_of, spare) if ranker is not None else request.sampling.beams
        self._running += count
        try:
            if ranker is not None and count > 1:
                yield await self._best(request, ranker, count)
                return
            async with aclosing(self._engine.stream(request)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self._running -= count

    async def _best(self, request: Request, ranker: Ranker, count: int) -> Delta:
        started = time.monotonic()
        asked = replace(request, log_probs=request.log_probs or ranker.log_probs)
        drawn = await self._drawn(asked, count)
        ended = [one for one in drawn if _ended(one)]
        best = (ended or drawn)[0]
        if len(ended) > 1:
            scores = await ranker.scores(request, ended)
            best = ended[max(range(len(ended)), key=scores.__getitem__)]
        total = time.monotonic() - started
        timings = replace(
            best.timings or Timings(), first_token=total, total=total, drawn=len(drawn)
        )
        told = best.log_probs if request.log_probs else ()
        return replace(best, timings=timings, log_probs=told)

    async def _drawn(self, request: Request, count: int) -> list[Delta]:
        """Several replies to a request; the first is the one it would get alone."""
        seed = request.sampling.seed
        seeds = [None if seed is None else seed + number for number in range(count)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(whole(
                        self._engine,
                        replace(request, sampling=replace(request.sampling, seed=one)),
                    ))
                    for one in seeds
                ]  # fmt: skip
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]


class Likely:
    """Takes the reply whose tokens the model finds likeliest on average: the mean of their
    log-probabilities, so that a short reply is not better for being short."""

    log_probs = True

    async def scores(self, request: Request, replies: Sequence[Delta]) -> Sequence[float]:
        """Nats a token, at most 0."""
        return [sum(one.log_probs) / len(one.log_probs) for one in replies]


def _ended(reply: Delta) -> bool:
    """Whether it came to its end and says something: only then it can be the best."""
    return reply.finish == "stop" and bool(reply.text.strip())


if TYPE_CHECKING:

    def _keeps_the_protocol(ranker: Likely) -> Ranker:
        return ranker
