"""What a reply looks like to the base model: one vector of hidden states a reply.

A background job over the resident model, in slices between the conversations. Of the
embeddings, the middle and the last layer it takes the mean over the reply, of the latter two
the state at its end as well: the mean knows the words, the end how it got there. It knows no
vote and no adapter: what replies look like does not change while the base stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing

import numpy as np
import torch
from torch import Tensor, nn

from bot.engine.base import Engine, Job, Resident
from bot.errors import LearningError
from learning.types import BaseReply, Example

SLICE = 1024
"""Tokens read in one slice, padding included; a longer reply has a slice of its own."""

PAD = 0
"""Any id will do: padding stands on the right, where nothing attends to it."""

Said = tuple[Sequence[int], Sequence[int]]
"""The ids of a prompt, and of the reply to it."""


def features_job(replies: Sequence[Said]) -> Job:
    """A job for `Engine.run`: yields the share that is done, at last a float32 array.

    The array is ``[replies, 5 x hidden]``, in the order of `replies`, none of which is empty.
    """

    def job(resident: Resident) -> Iterator[float | np.ndarray]:
        # The twin: what serves has the adapters of the last step on it.
        model = resident.twin().base_model
        found: dict[int, np.ndarray] = {}
        for numbers in _slices(replies):
            some = [replies[number] for number in numbers]
            found |= zip(numbers, _read(model, some, resident.device), strict=True)
            yield len(found) / len(replies)
        yield np.stack([found[number] for number in range(len(replies))])

    return job


async def features_of(engine: Engine, replies: Sequence[Said]) -> np.ndarray:
    """What replies look like to the resident base: ``[replies, 5 x hidden]``, float32.

    Raises:
        LearningError: the engine ended before it had looked at all of them.
    """
    async with aclosing(engine.run(features_job(replies))) as slices:
        async for item in slices:
            if isinstance(item, np.ndarray):
                return item
    raise LearningError("the base model did not look at all replies")


def readable(one: Example | BaseReply, engine: Engine) -> bool:
    """Whether the engine can read it: a vote may be older than a smaller `engine.context`."""
    length = len(one.prompt_ids) + len(one.reply_ids)
    return bool(one.reply_ids) and length <= engine.info.context


def _slices(replies: Sequence[Said]) -> Iterator[list[int]]:
    """Numbers of replies of like length, together at most `SLICE` wide."""
    lengths = [len(prompt) + len(reply) for prompt, reply in replies]
    piece: list[int] = []
    for number in sorted(range(len(replies)), key=lambda number: lengths[number]):
        if piece and lengths[number] * (len(piece) + 1) > SLICE:
            yield piece
            piece = []
        piece.append(number)
    if piece:
        yield piece


def _read(
    model: nn.Module, replies: Sequence[Said], device: torch.device
) -> list[np.ndarray]:
    width = max(len(prompt) + len(reply) for prompt, reply in replies)
    ids = [
        [*prompt, *reply] + [PAD] * (width - len(prompt) - len(reply)) for prompt, reply in replies
    ]
    with torch.no_grad():
        states = model(
            torch.tensor(ids, device=device), output_hidden_states=True, use_cache=False
        ).hidden_states
    layers = (states[0], states[len(states) // 2], states[-1])
    return [
        _of(*(layer[row, len(prompt) : len(prompt) + len(reply)] for layer in layers))
        for row, (prompt, reply) in enumerate(replies)
    ]


def _of(words: Tensor, middle: Tensor, last: Tensor) -> np.ndarray:
    """The vector of one reply, from its states in three layers, each ``[tokens, hidden]``."""
    words, middle, last = words.float(), middle.float(), last.float()
    parts = (words.mean(0), middle.mean(0), last.mean(0), middle[-1], last[-1])
    return np.asarray(torch.cat(parts).cpu())
