"""What a request asks of single tokens: a bias on their logits, and what must not be said.

As transformers' logits processors have it: `logit_bias` is a sequence bias of single ids,
`bad_words` are banned as by its bad-words processor (the last id of a sequence once the others
were just said, prompt included; an end mark alone is never banned). What is the same at every
token is made once for all rows that ask it; what depends on the reply so far is looked up by
the last token that was said. Nothing here knows text or a model.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.types import Sampling


@dataclass(frozen=True, slots=True)
class Bias:
    """What is added to logits, whatever was said before."""

    parts: tuple[tuple[Tensor, Tensor, Tensor], ...]
    """Rows ``[r, 1]``, tokens ``[k]``, and what is added to these tokens' logits ``[k]``."""

    @classmethod
    def of(
        cls, rows: Sequence[Sampling], ends: Collection[int], device: torch.device
    ) -> Bias | None:
        """Collect the rows' biases and banned tokens; None where there are none."""
        # By identity: rows of one configuration share their lists, and these may be long.
        alike: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for index, one in enumerate(rows):
            alike[id(one.logit_bias), id(one.bad_words)].append(index)
        parts = []
        for indices in alike.values():
            added = _added(rows[indices[0]], ends)
            if added:
                parts.append((
                    torch.tensor(indices, device=device)[:, None],
                    torch.tensor(list(added), device=device),
                    torch.tensor(list(added.values()), dtype=torch.float32, device=device),
                ))  # fmt: skip
        return cls(tuple(parts)) if parts else None

    def add(self, logits: Tensor) -> Tensor:
        """The logits ``[n, vocabulary]`` with it."""
        logits = logits.clone()
        for rows, tokens, values in self.parts:
            logits[rows, tokens] += values
        return logits


class LongWords:
    """The bad words of more than one token."""

    def __init__(self, words: Sequence[Sequence[int]]) -> None:
        self._by_last: defaultdict[int, list[tuple[list[int], int]]] = defaultdict(list)
        for word in words:
            if len(word) > 1:
                self._by_last[word[-2]].append((list(word[:-1]), word[-1]))

    def completed(self, ids: Sequence[int]) -> list[int]:
        """The tokens that would complete one behind `ids`."""
        found = self._by_last.get(ids[-1], ())
        return [last for before, last in found if ids[-len(before) :] == before]


def depends(sampling: Sampling) -> bool:
    """Whether what may not be said depends on the reply so far."""
    return sampling.min_tokens > 0 or any(len(word) > 1 for word in sampling.bad_words)


def forbid(logits: Tensor, banned: Sequence[tuple[int, int]]) -> Tensor:
    """The logits ``[n, vocabulary]`` with these tokens of these rows made impossible."""
    rows, tokens = torch.tensor(banned, device=logits.device).unbind(1)
    # A difference, because a row that went wrong has to stay wrong.
    return logits.index_put((rows, tokens), logits[rows, tokens] - torch.inf)


def refused(sampling: Sampling, vocabulary: int) -> str:
    """Why a reply cannot be drawn so; empty where it can.

    Args:
        vocabulary: how many ids the model can say.
    """
    named = [token for word in sampling.bad_words for token in word]
    named += [token for token, _ in sampling.logit_bias]
    wrong = next((token for token in named if not 0 <= token < vocabulary), None)
    if wrong is not None:
        return f"bad_words or logit_bias has token {wrong}; the model's end at {vocabulary - 1}"
    if not all(sampling.bad_words) or not all(sampling.stop):
        return "bad_words or stop has an empty entry, which is in every reply"
    if not all(math.isfinite(value) for _, value in sampling.logit_bias):
        return "logit_bias has a number that is not finite; to ban a token use bad_words"
    return ""


def _added(sampling: Sampling, ends: Collection[int]) -> dict[int, float]:
    """Token -> what is added to its logit; the biases of a token named twice add up."""
    added: defaultdict[int, float] = defaultdict(float)
    for token, value in sampling.logit_bias:
        added[token] += value
    for word in sampling.bad_words:
        if len(word) == 1 and word[0] not in ends:
            added[word[0]] = -math.inf
    return added
