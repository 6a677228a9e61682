"""How likely given replies are, measured on the serving path.

A background job: each slice is one pass that mixes adapters and the base as the
conversations do. The same words under several adapters share a batch, with the
base beside them, because that is what the divergence compares. Knows nothing of what
the numbers are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.engine.attention import Pass, Span, ladder
from bot.engine.base import Job, Resident, Score, ScoreItem
from bot.engine.forward import Forward
from bot.types import BASE

ROWS = 16
"""Most rows of a batch."""
TOKENS = 1024
"""Most tokens of a batch, unless one group alone is longer: a slice stays short."""
NUMBERS = 1 << 26
"""Most log-probabilities held at once (256 MB in fp32), with the same exception."""

Words = tuple[tuple[int, ...], tuple[int, ...]]
"""A prompt and a reply."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The same words under some adapters; the base comes first where it is needed."""

    words: Words
    adapters: tuple[str, ...]

    @property
    def length(self) -> int:
        return len(self.words[0]) + len(self.words[1]) - 1


def score_job(
    items: Sequence[ScoreItem], forward: Forward, slots: Mapping[str, int | None]
) -> Job:
    """A job that yields ``(index, score)`` for every item, batch by batch."""

    def job(resident: Resident) -> Iterator[object]:
        wanted: dict[tuple[Words, str], list[int]] = {}
        for index, item in enumerate(items):
            words = (tuple(item.prompt_ids), tuple(item.reply_ids))
            wanted.setdefault((words, item.adapter), []).append(index)
        for batch in _batches(_groups(list(wanted)), forward.vocabulary):
            scores = _measure(forward, batch, slots, resident.pause)
            yield [
                (index, score)
                for key, score in scores.items()
                for index in wanted.get(key, ())
            ]

    return job


def _groups(wanted: Sequence[tuple[Words, str]]) -> list[_Group]:
    adapters: dict[Words, list[str]] = {}
    for words, adapter in wanted:
        adapters.setdefault(words, []).append(adapter)
    groups = []
    for words, names in adapters.items():
        others = [name for name in names if name != BASE]
        groups.append(_Group(words, (BASE, *others)))
    return sorted(groups, key=lambda group: group.length)


def _batches(groups: Sequence[_Group], vocabulary: int) -> Iterator[list[_Group]]:
    """Neighbours in length together, within the limits."""
    batch: list[_Group] = []
    for group in groups:
        rows = sum(len(g.adapters) for g in (*batch, group))
        numbers = sum(len(g.adapters) * len(g.words[1]) for g in (*batch, group)) * vocabulary
        tokens = sum(len(g.adapters) * g.length for g in (*batch, group))
        if batch and (rows > ROWS or tokens > TOKENS or numbers > NUMBERS):
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


@torch.inference_mode()
def _measure(
    forward: Forward, batch: Sequence[_Group], slots: Mapping[str, int | None],
    pause: Callable[[], None],
) -> dict[tuple[Words, str], Score]:
    rows = [(group.words, adapter) for group in batch for adapter in group.adapters]
    log_probs = _reply_log_probs(forward, rows, slots, pause)
    scores: dict[tuple[Words, str], Score] = {}
    base: Tensor | None = None
    for (words, adapter), row in zip(rows, log_probs, strict=True):
        targets = torch.tensor(words[1], dtype=torch.long, device=row.device)
        said = row.gather(1, targets[:, None])[:, 0].tolist()
        kl = 0.0
        if adapter == BASE:
            base = row
        elif base is not None and len(said):
            kl = max(0.0, float((row.exp() * (row - base)).sum(-1).mean()))
        scores[words, adapter] = Score(tuple(said), kl)
    return scores


def _reply_log_probs(
    forward: Forward, rows: Sequence[tuple[Words, str]], slots: Mapping[str, int | None],
    pause: Callable[[], None],
) -> tuple[Tensor, ...]:
    """Log-probabilities of every next token at each reply position, ``[reply, vocabulary]``."""
    ids = [[*prompt, *reply][:-1] or [0] for (prompt, reply), _ in rows]
    wanted, place = list[int](), 0
    for ((prompt, reply), _), own in zip(rows, ids, strict=True):
        first = place + len(prompt) - 1
        wanted += range(first, first + len(reply))
        place += len(own)
    if not wanted:
        return tuple(torch.zeros(0, forward.vocabulary) for _ in rows)
    device = forward.device
    steps = ladder(max(*map(len, ids), len(ids)), device)
    packed = Pass([], [Span(0, len(own)) for own in ids], None, steps, forward.dtype, pause=pause)
    logits = forward(
        torch.tensor([token for own in ids for token in own], device=device), packed,
        [slots[adapter] for _, adapter in rows], torch.tensor(wanted, device=device),
    )  # fmt: skip
    log_probs = logits.float().log_softmax(dim=-1)
    return torch.split(log_probs, [len(reply) for (_, reply), _ in rows])
