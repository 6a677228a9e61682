"""The base model's own replies to logged prompts: replay in training, anchors in the gate.

It knows the engine only as something that streams a reply. What it returns is frozen into
the snapshot, so that a run is a pure function of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from bot.engine.base import Engine, Request
from bot.errors import Busy, EngineClosed, PromptTooLong
from bot.types import BASE, Sampling
from learning.types import BaseReply, Example

AT_ONCE = 4
"""Prompts answered beside the conversations at a time."""


def prompts_of(examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """The distinct prompts of `examples`, in their order."""
    return list(dict.fromkeys(example.prompt_ids for example in examples))


async def base_replies(
    engine: Engine, prompts: Sequence[Sequence[int]], sampling: Sampling, seed: int, limit: int
) -> tuple[BaseReply, ...]:
    """Let the base answer the first `limit` prompts; prompt i is drawn with seed + i.

    Replies that do not end by themselves are left out, prompts that are too long as well.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def answer(place: int, prompt: Sequence[int]) -> BaseReply | None:
        request = Request(prompt, BASE, replace(sampling, seed=seed + place))
        async with gate:
            while True:
                try:
                    return await _reply(engine, request)
                except Busy as busy:
                    await asyncio.sleep(busy.estimate)
                except PromptTooLong:
                    return None

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(answer(place, prompt))
                for place, prompt in enumerate(prompts[:limit])
            ]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    replies = (task.result() for task in tasks)
    return tuple(reply for reply in replies if reply is not None)


async def _reply(engine: Engine, request: Request) -> BaseReply | None:
    ids: list[int] = []
    finish = None
    async with aclosing(engine.stream(request)) as deltas:
        async for delta in deltas:
            ids += delta.ids
            finish = delta.finish
    if finish == "cancelled":  # nobody but a closing engine does that: the run goes on later
        raise EngineClosed("the engine closed before the base had answered")
    return BaseReply(tuple(request.prompt_ids), tuple(ids)) if finish == "stop" and ids else None
