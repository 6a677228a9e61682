"""Fixed prompts that every candidate answers before it may serve.

The prompts lie in ``prompts/canaries.txt``; with fixed seeds, two adapters answer the same
questions with the same luck. This module asks and listens: it judges nothing and knows
neither votes nor thresholds. It speaks through the engine's public face like any
conversation, a few prompts at a time, so that people are not kept waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

from bot.engine.base import Delta, Engine, Request
from bot.errors import Busy, LearningError, PromptTooLong
from bot.types import Sampling, Turn

CANARIES = Path(__file__).parent / "prompts" / "canaries.txt"

AT_ONCE = 8
"""Prompts of one adapter answered at a time."""


@dataclass(frozen=True, slots=True)
class CanaryReply:
    """What an adapter said to one fixed prompt."""

    prompt: str
    text: str
    ids: tuple[int, ...]
    """What was said, without the end-of-turn."""
    ended: bool
    """By itself, rather than at the limit of tokens."""


def read_canaries(path: Path = CANARIES) -> tuple[str, ...]:
    """The fixed prompts, one a line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


async def answer(
    engine: Engine,
    adapter: str,
    prompts: Sequence[str],
    *,
    persona: str,
    sampling: Sampling,
    seed: int,
) -> list[CanaryReply]:
    """Let `adapter` reply to each prompt; prompt i is drawn with seed + i.

    Raises:
        LearningError: the engine failed on a reply, or a prompt does not fit the model.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    ends = frozenset(engine.info.end_ids)

    async def one(place: int, prompt: str) -> CanaryReply:
        turns = [Turn("system", persona)] if persona else []
        text = engine.template.render([*turns, Turn("user", prompt)])
        request = Request(
            engine.template.encode(text), adapter, replace(sampling, seed=seed + place)
        )
        async with gate:
            while True:
                try:
                    return await _listen(engine, request, prompt, ends)
                except Busy as busy:
                    await asyncio.sleep(busy.estimate)
                except PromptTooLong as error:
                    raise LearningError(
                        f"the fixed prompt {prompt!r} does not fit the model's context beside "
                        "the persona; shorten conversation.persona"
                    ) from error

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(place, prompt)) for place, prompt in enumerate(prompts)]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _listen(
    engine: Engine, request: Request, prompt: str, ends: frozenset[int]
) -> CanaryReply:
    ids: list[int] = []
    text = ""
    last: Delta | None = None
    async with aclosing(engine.stream(request)) as deltas:
        async for delta in deltas:
            ids += delta.ids
            text += delta.text
            last = delta
    if last is None or last.finish not in ("stop", "length"):
        why = (last.error or last.finish) if last else "no answer"
        raise LearningError(f"{request.adapter} could not answer a fixed prompt: {why}")
    said = tuple(one for one in ids if one not in ends)
    return CanaryReply(prompt, text.strip(), said, last.finish == "stop")
