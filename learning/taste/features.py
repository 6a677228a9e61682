"""What a reply looks like to the base model: one vector of numbers a reply.

A background job over the resident model, in slices between the conversations. Of the
embeddings, the middle and the last layer it takes the mean over the reply, of the latter two
the state at its end as well: the mean knows the words, the end how it got there. That says little
of how a reply bears on what was asked, so a few numbers say how far it takes up words of the
question. It knows no vote and no adapter: what replies look like does not change while the base
stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from bot.engine.base import Engine, Resident
from bot.errors import LearningError
from learning.taste.head import Scale
from learning.types import BaseReply, Example

SLICE = 512
"""Tokens read in one slice, padding included; a longer reply has a slice of its own."""

NEAR = 128
"""Tokens before a reply that are read with it, so that a look costs the same however long a
conversation has become."""

PAD = 0
"""Any id will do: padding stands on the right, where nothing attends to it."""

QUESTION = 40
"""Tokens before a reply that it is compared with: what was said last, as a rule."""

STATES, ECHOES = 5, 3
"""Hidden states in the vector of a reply, and numbers behind them that say how it takes up the
question."""

WEIGHT = 0.2
"""What those numbers weigh together, where the states weigh 1."""

COMMON = 256
"""From about this id on words grow rarer; below lie bytes, letters and the commonest words."""

SAME = 0.8
"""Cosine of two tokens' embeddings above which they count as one word, however it is written."""

Said = tuple[Sequence[int], Sequence[int]]
"""The ids of a prompt, and of the reply to it; neither is empty."""


class Looks:
    """Looks at replies with one twin of the resident base, which is made at the first look."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._model: nn.Module | None = None

    async def at(self, replies: Sequence[Said]) -> np.ndarray:
        """What replies look like to the base: ``[replies, dimensions]``, float32, in their order.

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
        near = [(tuple(prompt[-NEAR:]), reply) for prompt, reply in replies]
        marks = [*self._engine.info.end_ids, *self._engine.info.turn_ids]
        found: dict[int, np.ndarray] = {}
        for prompt, numbers in _slices(near):
            some = [near[number][1] for number in numbers]
            seen = _read(self._model, prompt, some, marks, resident.device)
            found |= zip(numbers, seen, strict=True)
            yield len(found) / len(replies)
        yield np.stack([found[number] for number in range(len(replies))])


async def features_of(engine: Engine, replies: Sequence[Said]) -> np.ndarray:
    """What replies look like to the resident base, also where there are none; see `Looks.at`."""
    if not replies:
        return np.zeros((0, dimensions(engine.info.hidden)), dtype=np.float32)
    return await Looks(engine).at(replies)


def dimensions(hidden: int) -> int:
    """How many numbers say what a reply looks like to a model of this hidden size."""
    return STATES * hidden + ECHOES


def scale_of(features: np.ndarray) -> Scale:
    """The scale on which `features` of many replies are compared."""
    states = features.shape[1] - ECHOES
    shares = np.repeat((1 / states, WEIGHT / ECHOES), (states, ECHOES))
    return Scale.of(features, shares / shares.sum())


def readable(one: Example | BaseReply, engine: Engine) -> bool:
    """Whether the engine can read it: a vote may be older than a smaller `engine.context`."""
    length = len(one.prompt_ids) + len(one.reply_ids)
    return bool(one.reply_ids) and length <= engine.info.context


def _slices(
    replies: Sequence[tuple[tuple[int, ...], Sequence[int]]],
) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """Prompts with the numbers of replies to them, of like length and at most `SLICE` wide."""
    groups: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for number in sorted(range(len(replies)), key=lambda number: len(replies[number][1])):
        groups[replies[number][0]].append(number)
    for prompt, numbers in groups.items():
        piece: list[int] = []
        for number in numbers:
            if piece and len(prompt) + len(replies[number][1]) * (len(piece) + 1) > SLICE:
                yield prompt, piece
                piece = []
            piece.append(number)
        yield prompt, piece


def _read(
    model: nn.Module, prompt: Sequence[int], replies: Sequence[Sequence[int]],
    marks: Sequence[int], device: torch.device,
) -> list[np.ndarray]:
    """What replies to one prompt look like; the prompt is read once for all of them."""
    width = max(map(len, replies))
    ids = torch.tensor([[*one, *[PAD] * (width - len(one))] for one in replies], device=device)
    asked = torch.tensor([prompt], device=device)
    embedded = cast(PreTrainedModel, model).get_input_embeddings()
    with torch.no_grad():
        kept = model(asked, use_cache=True).past_key_values
        kept.batch_repeat_interleave(len(replies))
        states = model(
            ids, past_key_values=kept, output_hidden_states=True, use_cache=True
        ).hidden_states
        question, said = (embedded(some).float() for some in (asked[0, -QUESTION:], ids))
    weights = torch.log1p(ids / COMMON)
    weights[torch.isin(ids, torch.tensor(marks, device=device))] = 0.0
    layers = states[0], states[len(states) // 2], states[-1]
    found = []
    for row, length in enumerate(map(len, replies)):
        echoes = _echoes(question, said[row, :length], weights[row, :length])
        found.append(_of([layer[row, :length].float() for layer in layers], echoes))
    return found


def _of(layers: Sequence[Tensor], echoes: Tensor) -> np.ndarray:
    """The vector of one reply, from its states in three layers, each ``[tokens, hidden]``."""
    words, middle, last = layers
    states = (words.mean(0), middle.mean(0), last.mean(0), middle[-1], last[-1])
    return np.asarray(torch.cat((*states, echoes)).cpu())


def _echoes(question: Tensor, reply: Tensor, weights: Tensor) -> Tensor:
    """How far a reply takes up words of the question, by embeddings ``[tokens, hidden]``.

    How near its words come to the question's on average, the rarest that is taken up, and all
    that are. A rare word weighs more, ``weights[tokens]``: vocabularies are learned from
    the commonest pieces to the rarest, so an id says how rare it is, in whatever language.
    """
    every = functional.normalize(reply, dim=-1) @ functional.normalize(question, dim=-1).T
    best = every.max(dim=1).values
    same = weights * (best > SAME)
    mean = (weights * best).sum() / weights.sum().clamp(min=1e-9)
    return torch.stack((mean, same.max(), same.sum()))
