"""Replies of a version, drawn on the serving path beside the conversations.

For whoever wants many replies at once and has time: a busy engine is waited for. This module
knows the engine only as something that streams; what the replies are for is others' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.engine.base import Engine, Request, whole
from bot.errors import Busy, EngineClosed, PromptTooLong
from bot.types import Sampling


@dataclass(frozen=True, slots=True)
class Drawn:
    """A reply that has ended."""

    ids: tuple[int, ...]
    """With the end-of-turn, where it ended by itself."""
    text: str
    finish: str
    """``stop``, ``length`` or ``error``."""
    error: str = ""
    by_itself: bool = False
    """Whether the model ended it, and no stop text did: only then there is an end to learn."""

    @property
    def whole(self) -> bool:
        """Whether it ended as replies do, by itself or at the limit of tokens."""
        return self.finish in ("stop", "length")


async def draw(engine: Engine, requests: Sequence[Request], at_once: int) -> list[Drawn | None]:
    """A reply to each request, in their order; None where the prompt is too long.

    Raises:
        EngineClosed: the engine shut down before all had ended; a run goes on after the start.
        EngineError: the engine cannot serve a request.
    """
    room = asyncio.Semaphore(at_once)

    async def one(request: Request) -> Drawn | None:
        async with room:
            while True:
                try:
                    return await _listen(engine, request)
                except Busy as busy:
                    await asyncio.sleep(busy.estimate)
                except PromptTooLong:
                    return None

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(request)) for request in requests]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def answered(
    engine: Engine, adapter: str, prompts: Sequence[Sequence[int]], sampling: Sampling, seed: int,
    at_once: int,
) -> list[tuple[tuple[int, ...], Drawn]]:
    """Prompts with what a version says to them; one that is too long is left out.

    Args:
        adapter: the name of a loaded version, or BASE.
        seed: the reply to prompt i is drawn with seed + i.
    """
    requests = [
        Request(tuple(prompt), adapter, replace(sampling, seed=seed + place))
        for place, prompt in enumerate(prompts)
    ]
    drawn = await draw(engine, requests, at_once)
    return [
        (tuple(request.prompt_ids), one)
        for request, one in zip(requests, drawn, strict=True) if one is not None
    ]


async def _listen(engine: Engine, request: Request) -> Drawn:
    reply = await whole(engine, request)
    if reply.finish == "cancelled":  # nobody but a closing engine does that
        raise EngineClosed("the engine closed before every reply was drawn")
    by_itself = reply.finish == "stop" and reply.ids[-1] in engine.info.end_ids
    return Drawn(reply.ids, reply.text, reply.finish or "error", reply.error, by_itself)
