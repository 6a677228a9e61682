"""Two versions' replies to the same prompts, ready to be shown without saying whose they are.

Both answer on the serving path with the same luck; which of the two stands on the left is
drawn as well. What is drawn depends on the words of a prompt and the seed, not on its place, so
that a session may be taken up again, also with more prompts. Nothing here knows who judges.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bot.engine.base import Engine, Request
from bot.errors import LearningError
from bot.types import Sampling, Turn
from learning.drawing import Drawn, draw

Side = Literal["left", "right", "tie"]
Messages = tuple[Turn, ...]

AHEAD = 4
"""Prompts that are answered together, while those before them are judged."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which versions are compared, on what, and how they are to speak."""

    one: str
    other: str
    prompts: tuple[Messages, ...]
    """Each ends with what a person said; without a system prompt."""
    sampling: Sampling
    persona: str
    """The system prompt; empty for none."""
    seed: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one prompt."""

    messages: Messages
    one: str
    """What the first version said."""
    other: str
    swapped: bool
    """Whether the first version's reply stands on the right."""

    @property
    def left(self) -> str:
        """The reply on the left."""
        return self.other if self.swapped else self.one

    @property
    def right(self) -> str:
        """The reply on the right."""
        return self.one if self.swapped else self.other

    @property
    def same(self) -> bool:
        """Whether nobody could tell them apart."""
        return self.one == self.other

    def value(self, side: Side) -> int:
        """1 where the better side is the first version's, -1 the second's, 0 for a tie."""
        if side == "tie":
            return 0
        return 1 if (side == "left") != self.swapped else -1


def digest(messages: Messages) -> str:
    """What stands for a prompt where its words are not to be kept."""
    return _hash(json.dumps([[turn.role, turn.content] for turn in messages])).hex()


def luck(seed: int, messages: Messages) -> int:
    """The seed of both replies to a prompt."""
    return int.from_bytes(_hash(f"{seed}/{digest(messages)}")[:4])


def swapped(plan: Plan, messages: Messages) -> bool:
    """Whether the first version's reply is to stand on the right."""
    return bool(_hash(f"{plan.one}/{plan.other}/{plan.seed}/{digest(messages)}")[0] & 1)


async def drawn(engine: Engine, plan: Plan) -> AsyncGenerator[Pair | None, None]:
    """The pairs in the order of the prompts, some ahead; None for one that is too long.

    Raises:
        LearningError: a version could not answer.
        EngineClosed: the engine shut down meanwhile.
    """
    places = range(0, len(plan.prompts), AHEAD)
    first, *rest = [plan.prompts[place : place + AHEAD] for place in places] or [()]
    coming = asyncio.create_task(_batch(engine, plan, first))
    try:
        for after in (*rest, ()):
            pairs = await coming
            coming = asyncio.create_task(_batch(engine, plan, after))
            for pair in pairs:
                yield pair
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        if not coming.cancelled():
            coming.exception()  # nobody waits for what was drawn ahead


async def _batch(engine: Engine, plan: Plan, prompts: Sequence[Messages]) -> list[Pair | None]:
    requests = [
        Request(_prompt_ids(engine, plan, messages), name,
                replace(plan.sampling, seed=luck(plan.seed, messages)))
        for messages in prompts for name in (plan.one, plan.other)
    ]
    replies = await draw(engine, requests, 2 * AHEAD)
    found: list[Pair | None] = []
    for messages, one, other in zip(prompts, replies[::2], replies[1::2], strict=True):
        if one is None or other is None:
            found.append(None)
        else:
            said = _said(plan.one, one, messages), _said(plan.other, other, messages)
            found.append(Pair(messages, *said, swapped(plan, messages)))
    return found


def _said(name: str, reply: Drawn, messages: Messages) -> str:
    if not reply.whole:
        why = reply.error or reply.finish
        raise LearningError(f"{name} could not answer {messages[-1].content[:60]!r}: {why}")
    return reply.text.strip()


def _prompt_ids(engine: Engine, plan: Plan, messages: Messages) -> list[int]:
    system = [Turn("system", plan.persona)] if plan.persona else []
    return engine.template.encode(engine.template.render([*system, *messages]))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
