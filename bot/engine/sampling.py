"""From logits to the next token of every row, each with its own settings.

Filters act in the order and with the meaning of transformers' logits processors:
repetition penalty (CTRL, Keskar et al. 2019, section 4.1), temperature, top-k, nucleus
(Holtzman et al. 2020). A row's randomness is a number in [0, 1) that its request drew
from its own generator, turned into a token through the cumulative distribution; so a
seed gives the same reply whatever else is in the batch. Nothing here knows requests,
text or the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.types import Sampling

CANDIDATES = 128
"""A nucleus almost always lies within this many tokens; the rest is sorted only if not."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of ``n`` rows as tensors; made once for as long as the rows stay."""

    penalty: Tensor | None
    """``[n, 1]``, or None where no row has one."""
    temperature: Tensor
    """``[n, 1]``; 1 for greedy rows."""
    top_k: Tensor
    """``[n, 1]``; the vocabulary's size where it is off."""
    top_p: Tensor
    """``[n, 1]``."""
    whole: Tensor | None
    """Indices of rows that sample from the whole vocabulary, or None."""
    filtered: Tensor | None
    """Indices of rows that sample within top-k or a nucleus, or None."""
    widest: int
    """The largest top-k in force."""

    @classmethod
    def of(cls, rows: Sequence[Sampling], vocabulary: int, device: torch.device) -> Settings:
        """Collect the rows' settings for logits of `vocabulary` columns."""

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

        def indices(values: list[int]) -> Tensor | None:
            return torch.tensor(values, device=device) if values else None

        ks = [min(s.top_k, vocabulary) if s.top_k > 0 else vocabulary for s in rows]
        narrow = [s.top_p < 1.0 or k < vocabulary for s, k in zip(rows, ks, strict=True)]
        drawn = [s.temperature > 0 for s in rows]
        return cls(
            penalty=column([s.repetition_penalty for s in rows])
            if any(s.repetition_penalty != 1.0 for s in rows)
            else None,
            temperature=column([s.temperature if s.temperature > 0 else 1.0 for s in rows]),
            top_k=torch.tensor(ks, device=device)[:, None],
            top_p=column([s.top_p for s in rows]),
            whole=indices([i for i, d in enumerate(drawn) if d and not narrow[i]]),
            filtered=indices([i for i, d in enumerate(drawn) if d and narrow[i]]),
            widest=max((k for k in ks if k < vocabulary), default=0),
        )


def choose(logits: Tensor, seen: Tensor, settings: Settings, draws: Sequence[float]) -> Tensor:
    """The next token of every row, ``[n]``; -1 where a row's logits are not finite.

    Args:
        logits: ``[n, vocabulary]``, any float type.
        seen: bool ``[n, vocabulary]``, the tokens of each row's prompt and reply so far.
        settings: of the same rows.
        draws: one number in [0, 1) for each row; greedy rows ignore theirs.
    """
    logits = logits.float()
    if settings.penalty is not None:
        logits = penalise(logits, seen, settings.penalty)
    peak, tokens = logits.max(dim=-1)
    for rows, draw in ((settings.whole, draw_whole), (settings.filtered, draw_filtered)):
        if rows is not None:
            u = torch.tensor(draws, dtype=torch.float32, device=logits.device)[:, None]
            scaled = logits[rows] / settings.temperature[rows]
            tokens[rows] = draw(scaled, u[rows], rows, settings)
    # max() carries a NaN through, so one comparison finds rows that went wrong.
    return tokens.masked_fill_(~torch.isfinite(peak), -1)


def penalise(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Make tokens that were seen less likely, whatever the sign of their logit."""
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def draw_whole(scaled: Tensor, u: Tensor, rows: Tensor, settings: Settings) -> Tensor:
    """Sample from the softmax of ``[m, vocabulary]``."""
    return invert(scaled.softmax(dim=-1), u)


def draw_filtered(scaled: Tensor, u: Tensor, rows: Tensor, settings: Settings) -> Tensor:
    """Sample within top-k and the nucleus of ``[m, vocabulary]``.

    Only the most likely tokens are sorted. Where they do not hold the whole nucleus, the
    row is done again with all of them: the outcome is exact either way.
    """
    top_k, top_p = settings.top_k[rows], settings.top_p[rows]
    vocabulary = scaled.shape[-1]
    width = min(vocabulary, max(CANDIDATES, settings.widest))
    tokens, complete = _draw_among(scaled, width, top_k, top_p, u)
    if width < vocabulary and not bool(complete.all()):
        again = (~complete).nonzero()[:, 0]
        redone, _ = _draw_among(scaled[again], vocabulary, top_k[again], top_p[again], u[again])
        tokens[again] = redone
    return tokens


def _draw_among(
    scaled: Tensor, width: int, top_k: Tensor, top_p: Tensor, u: Tensor
) -> tuple[Tensor, Tensor]:
    """Sample among the `width` likeliest; and whether they hold all that may be drawn."""
    vocabulary = scaled.shape[-1]
    values, order = scaled.topk(width, dim=-1)
    within = torch.arange(width, device=scaled.device) < top_k
    values = values.masked_fill(~within, -torch.inf)
    everything = torch.where(
        top_k < vocabulary, values.logsumexp(-1, keepdim=True), scaled.logsumexp(-1, keepdim=True)
    )
    mass = (values - everything).exp()
    reached = mass.cumsum(dim=-1)
    # A token is in the nucleus when those before it do not reach top_p, so the first always is.
    kept = mass * (reached - mass < top_p)
    kept[:, 0] = mass[:, 0]
    complete = ((top_k <= width) | (reached[:, -1:] >= top_p))[:, 0]
    return order.gather(1, invert(kept, u)[:, None])[:, 0], complete


def invert(mass: Tensor, u: Tensor) -> Tensor:
    """Index where the cumulative mass of ``[m, k]`` passes ``u`` of its total, ``[m]``."""
    cumulative = mass.cumsum(dim=-1)
    index = (cumulative <= u * cumulative[:, -1:]).sum(dim=-1, keepdim=True)
    # Rounding can push u's share onto the total; the last token with any mass is meant then.
    last = mass.shape[-1] - 1 - (mass > 0).flip(-1).int().argmax(dim=-1, keepdim=True)
    return torch.minimum(index, last)[:, 0]
