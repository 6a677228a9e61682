"""What a reply looks like to the base model: one vector of numbers a reply.

A background job over the resident model, in slices between the conversations. Of the
embeddings, the middle and the last layer it takes the mean over the reply, of the latter two
the state at its end as well: the mean knows the words, the end how it got there. That says little
of how a reply bears on what was asked, so a few numbers compare the two directly: how near each
of its tokens comes to one of the question's, in each of these layers. It knows no vote and no
adapter: what replies look like does not change while the base stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bot.engine.base import Engine, Resident
from bot.errors import LearningError
from learning.taste.head import Scale
from learning.types import BaseReply, Example

SLICE = 1024
"""Tokens read in one slice, padding included; a longer reply has a slice of its own."""

NEAR = 128
"""Tokens before a reply that are read with it, so that a look costs the same however long a
conversation has become."""

PAD = 0
"""Any id will do: padding stands on the right, where nothing attends to it."""

QUESTION = 40
"""Tokens before a reply that it is compared with: what was said last, as a rule."""

STATES, NEARNESS = 5, 9
"""Hidden states in the vector of a reply, and numbers behind them that compare it with the
question."""

WEIGHT = 0.25
"""What those numbers weigh together, where the states weigh 1."""

Said = tuple[Sequence[int], Sequence[int]]
"""The ids of a prompt, and of the reply to it."""


class Looks:
    """Looks at replies with one twin of the resident base, which is made at the first look."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._model: nn.Module | None = None

    async def at(self, replies: Sequence[Said]) -> np.ndarray:
        """What replies look like to the base: ``[replies, dimensions]``, float32, in their order.

        Args:
            replies: none of them empty.

        Raises:
            LearningError: the engine ended before it had looked at all of them.
        """
        slices = self._engine.run(lambda resident: self._job(resident, replies))
        async with aclosing(slices) as seen:
            async for item in seen:
                if isinstance(item, np.ndarray):
                    return item
        raise LearningError("the base model did not look at all replies")

    def _job(self, resident: Resident, replies: Sequence[Said]) -> Iterator[float | np.ndarray]:
        """Yields the share that is done, at last the array."""
        if self._model is None:  # a twin: what serves has the adapters of the last step on it
            self._model = resident.twin().base_model
        near = [(prompt[-NEAR:], reply) for prompt, reply in replies]
        found: dict[int, np.ndarray] = {}
        for numbers in _slices(near):
            some = [near[number] for number in numbers]
            found |= zip(numbers, _read(self._model, some, resident.device), strict=True)
            yield len(found) / len(replies)
        yield np.stack([found[number] for number in range(len(replies))])


async def features_of(engine: Engine, replies: Sequence[Said]) -> np.ndarray:
    """What replies look like to the resident base; see `Looks.at`."""
    return await Looks(engine).at(replies)


def dimensions(hidden: int) -> int:
    """How many numbers say what a reply looks like to a model of this hidden size."""
    return STATES * hidden + NEARNESS


def scale_of(features: np.ndarray) -> Scale:
    """The scale on which `features` of many replies are compared."""
    states = features.shape[1] - NEARNESS
    shares = np.repeat((1 / states, WEIGHT / NEARNESS), (states, NEARNESS))
    return Scale.of(features, shares / shares.sum())


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
        _of(
            [layer[row, max(0, len(prompt) - QUESTION) : len(prompt)].float() for layer in layers],
            [layer[row, len(prompt) : len(prompt) + len(reply)].float() for layer in layers],
        )
        for row, (prompt, reply) in enumerate(replies)
    ]


def _of(question: Sequence[Tensor], reply: Sequence[Tensor]) -> np.ndarray:
    """The vector of one reply, from states in three layers, each ``[tokens, hidden]``."""
    words, middle, last = reply
    states = (words.mean(0), middle.mean(0), last.mean(0), middle[-1], last[-1])
    near = [_near(*pair) for pair in zip(question, reply, strict=True)]
    return np.asarray(torch.cat((*states, *near)).cpu())


def _near(question: Tensor, reply: Tensor) -> Tensor:
    """How near a reply comes to a question in one layer: cosines, 1 is the nearest.

    Of each token to the nearest of the question's, the mean and that of the best three; and of
    both as a whole.
    """
    if not len(question):
        return reply.new_zeros(3)
    every = functional.normalize(reply, dim=-1) @ functional.normalize(question, dim=-1).T
    best = every.max(dim=1).values
    whole = functional.cosine_similarity(question.mean(0), reply.mean(0), dim=0)
    return torch.stack((best.mean(), best.topk(min(3, len(best))).values.mean(), whole))
