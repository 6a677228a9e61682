"""An engine that draws several replies and gives the one that people would like best.

It stands around another engine and is one itself, so nobody who asks for replies knows of it:
a `Request` says how many may be drawn. A version that has learned from votes what is liked
brings a head (`learning.taste.kept`); under any other, and where no rows are to spare, one reply
is drawn and streamed as ever. A reply that was chosen comes whole, at its end. What the head was
fitted on, and whether choosing helps, is not known here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from bot.engine.base import Around, Delta, Engine, Request
from bot.types import Timings
from learning.drawing import whole
from learning.taste.features import Looks, dimensions
from learning.taste.head import Head
from learning.taste.kept import read_head


class Choosing(Around):
    """An engine around an engine that may give the best of several replies.

    Args:
        rows: replies that the inner engine generates at the same time.
    """

    def __init__(self, engine: Engine, rows: int) -> None:
        super().__init__(engine)
        self._rows = rows
        self._running = 0
        self._looks = Looks(engine)
        self._heads: dict[str, Head] = {}

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Generate one reply, the best of as many as may be drawn and have a row."""
        head = self._heads.get(request.adapter)
        spare = max(1, self._rows - self._running)
        count = min(request.best_of, spare) if head is not None else 1
        self._running += count
        try:
            if head is not None and count > 1:
                yield await self._best(request, head, count)
                return
            async with aclosing(self._engine.stream(request)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self._running -= count

    async def _best(self, request: Request, head: Head, count: int) -> Delta:
        started = time.monotonic()
        drawn = await self._drawn(request, count)
        ended = [one for one in drawn if _ended(one)]
        place = await self._liked_most(request.prompt_ids, ended, head) if len(ended) > 1 else 0
        best = (ended or drawn)[place]
        total = time.monotonic() - started
        timings = replace(
            best.timings or Timings(), first_token=total, total=total, drawn=len(drawn)
        )
        return replace(best, timings=timings)

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

    async def _liked_most(
        self, prompt: Sequence[int], replies: Sequence[Delta], head: Head
    ) -> int:
        features = await self._looks.at([(prompt, one.ids) for one in replies])
        return int(head.score(features).argmax())

    async def load(self, name: str, folder: Path) -> None:
        """Make a checkpoint servable, with its head where it has one; see `Engine.load`."""
        head = await asyncio.to_thread(read_head, folder, dimensions(self.info.hidden))
        await super().load(name, folder)
        if head is not None:
            self._heads[name] = head

    async def unload(self, name: str) -> None:
        """Forget an adapter once its last reply has ended; see `Engine.unload`."""
        self._heads.pop(name, None)
        await super().unload(name)


def _ended(reply: Delta) -> bool:
    """Whether it came to its end and says something: only then it can be the best."""
    return reply.finish == "stop" and bool(reply.text.strip())
