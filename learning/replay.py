"""The base model's own replies to logged prompts: replay in training, anchors in the gate.

It knows the engine only as something that streams a reply. What it returns is frozen into
the snapshot, so that a run is a pure function of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.engine.base import Engine
from bot.types import BASE, Sampling
from learning.drawing import answered
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
    drawn = await answered(engine, BASE, prompts[:limit], sampling, seed, AT_ONCE)
    return tuple(BaseReply(prompt, one.ids) for prompt, one in drawn if one.by_itself)
