"""From logits to the next token of every row, each with its own settings.

Filters act in the order and with the meaning of transformers' logits processors: biases,
repetition penalty (CTRL, Keskar et al. 2019, section 4.1), what must not be said, temperature,
top-k, nucleus (Holtzman et al. 2020), min-p (Nguyen et al. 2024). Nothing is sorted as a rule: a
token is drawn from the whole vocabulary, and one look at what is likelier tells whether the filters
allow it. They mostly do; where not, the row is drawn once more, from what is allowed alone, which
makes the outcome exact. Equal tokens are allowed or refused together.

A row's randomness is two numbers in [0, 1) that its request drew from its own generator, one for
each of the two draws; so a seed gives the same reply whatever else is in the batch. Nothing here
knows requests, text or the model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bot.engine.bias import Bias, depends, forbid
from bot.types import Sampling

LEAST = 1e-30
"""A token that is less likely, as a share of the likeliest, counts as banned where some are."""

Draw = tuple[float, float]
"""The randomness of one token."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of ``n`` rows as tensors; made once for as long as the rows stay."""

    bias: Bias | None
    """None where no row has one."""
    penalty: Tensor | None
    """``[n, 1]``, or None where no row has one."""
    watched: tuple[int, ...]
    """Indices of the rows whose replies so far may ban a token."""
    drawn: Tensor | None
    """Indices of the ``m`` rows that are drawn, not greedy; None where there are none."""
    temperature: Tensor
    """``[m, 1]``."""
    filters: Filters | None
    """Of the drawn rows; None where none has any."""

    @classmethod
    def of(
        cls, rows: Sequence[Sampling], vocabulary: int, device: torch.device,
        ends: Collection[int] = (),
    ) -> Settings:  # fmt: skip
        """Collect the rows' settings for logits of `vocabulary` columns; `ends` end a reply."""
        drawn = [index for index, one in enumerate(rows) if one.temperature > 0]
        those = [rows[index] for index in drawn]
        return cls(
            bias=Bias.of(rows, ends, device),
            watched=tuple(index for index, one in enumerate(rows) if depends(one)),
            penalty=_column([one.repetition_penalty for one in rows], device)
            if any(one.repetition_penalty != 1.0 for one in rows)
            else None,
            drawn=torch.tensor(drawn, device=device) if drawn else None,
            temperature=_column([one.temperature for one in those], device),
            filters=Filters.of(those, vocabulary, device),
        )


@dataclass(frozen=True, slots=True)
class Filters:
    """Which tokens ``m`` rows may be given; every figure is ``[m, 1]``."""

    top_k: Tensor
    """The vocabulary's size where it is off."""
    top_p: Tensor
    """Infinite where it is off: sums of floats may be a little more than 1."""
    min_p: Tensor
    """0 where it is off."""
    widest: int
    """The largest top-k in force; 0 where there is none."""

    @classmethod
    def of(
        cls, rows: Sequence[Sampling], vocabulary: int, device: torch.device
    ) -> Filters | None:
        """Collect the filters of drawn rows; None where there is nothing to collect."""
        ks = [min(one.top_k, vocabulary) if one.top_k > 0 else vocabulary for one in rows]
        widest = max((k for k in ks if k < vocabulary), default=0)
        # A GPU's running sum may rise where nothing is added, and a banned token be drawn there.
        least = [
            max(one.min_p, LEAST if one.bad_words or one.min_tokens > 0 else 0.0) for one in rows
        ]
        if not widest and not any(least) and not any(one.top_p < 1.0 for one in rows):
            return None
        return cls(
            torch.tensor(ks, device=device)[:, None],
            _column([one.top_p if one.top_p < 1.0 else torch.inf for one in rows], device),
            _column(least, device),
            widest,
        )

    def rows(self, which: Tensor) -> Filters:
        """Those of some rows only."""
        return Filters(self.top_k[which], self.top_p[which], self.min_p[which], self.widest)

    def whole(self, mass: Tensor) -> Tensor:
        """The mass that a nucleus is a share of, ``[m, 1]``: what top-k leaves of ``[m, k]``."""
        if not self.widest:
            return torch.ones_like(self.top_p)
        likeliest = mass.topk(self.widest, dim=-1).values
        # Of what equals the last that fits, all is left.
        last = likeliest.gather(1, self.top_k.clamp(max=self.widest) - 1)
        left = torch.where(mass >= last, mass, 0.0).sum(-1, keepdim=True)
        return torch.where(self.top_k < mass.shape[-1], left, 1.0)

    def allow(
        self, peak: Tensor, mass: Tensor, before: Tensor, rank: Tensor, whole: Tensor
    ) -> Tensor:
        """Whether tokens may be given, by their mass and by what is likelier.

        Args:
            peak: the largest mass of each row.
            mass: of the tokens.
            before: the mass of all tokens that are likelier.
            rank: how many these are.
            whole: as `whole` gives it.
        """
        likeliest = rank == 0
        kept = (rank < self.top_k) & (before < self.top_p * whole) & (mass >= self.min_p * peak)
        return likeliest | kept


def adjust(
    logits: Tensor, seen: Tensor | None, settings: Settings,
    banned: Sequence[tuple[int, int]] = (),
) -> Tensor:  # fmt: skip
    """The logits ``[n, vocabulary]`` with what rows ask of single tokens, in float32.

    Args:
        logits: any float type.
        seen: bool ``[n, vocabulary]``, the tokens of each row's prompt and reply so far; may be
            missing, and wrong for a row, where no penalty asks for it.
        settings: of the same rows.
        banned: rows, each with a token that it must not be given now.
    """
    logits = logits.float()
    if settings.bias is not None:
        logits = settings.bias.add(logits)
    if settings.penalty is not None and seen is not None:
        logits = penalise(logits, seen, settings.penalty)
    return forbid(logits, banned) if banned else logits


def choose(logits: Tensor, settings: Settings, draws: Sequence[Draw]) -> Tensor:
    """The next token of every row, ``[n]``; -1 where a row's logits are not finite.

    Args:
        logits: ``[n, vocabulary]``, as `adjust` gives them.
        settings: of the same rows.
        draws: the randomness of each row; greedy rows ignore theirs.
    """
    peak, tokens = logits.max(dim=-1)
    if settings.drawn is not None:
        u = torch.tensor(draws, dtype=torch.float32, device=logits.device)[settings.drawn]
        mass = (logits[settings.drawn] / settings.temperature).softmax(dim=-1)
        tokens[settings.drawn] = draw(mass, u, settings.filters)
    # max() carries a NaN through, so one comparison finds rows that went wrong.
    return tokens.masked_fill_(~torch.isfinite(peak), -1)


def log_probs(logits: Tensor, tokens: Tensor) -> list[float]:
    """How likely the model itself finds a token ``[n]`` of each row ``[n, vocabulary]``."""
    found = logits.float().log_softmax(dim=-1).gather(1, tokens[:, None])
    return [float(one) for one in found[:, 0].tolist()]


def penalise(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Make tokens that were seen less likely, whatever the sign of their logit."""
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def draw(mass: Tensor, u: Tensor, filters: Filters | None) -> Tensor:
    """A token for each row of probabilities ``[m, vocabulary]``, by ``[m, 2]`` numbers."""
    tokens = invert(mass, u[:, :1])
    if filters is None:
        return tokens
    given = mass.gather(1, tokens[:, None])
    likelier = mass > given
    before = torch.where(likelier, mass, 0.0).sum(-1, keepdim=True)
    peak = mass.amax(-1, keepdim=True)
    rank = likelier.sum(-1, keepdim=True) if filters.widest else likelier.any(-1, keepdim=True)
    allowed = filters.allow(peak, given, before, rank, filters.whole(mass))[:, 0]
    if not bool(allowed.all()):
        again = (~allowed).nonzero()[:, 0]
        tokens[again] = draw_allowed(mass[again], u[again, 1:], filters.rows(again))
    return tokens


def draw_allowed(mass: Tensor, u: Tensor, filters: Filters) -> Tensor:
    """A token for each row of ``[m, vocabulary]`` from those that the filters allow."""
    values, order = mass.sort(dim=-1, descending=True)
    # Where the run of equal tokens begins that each is part of.
    places = torch.arange(values.shape[-1], device=values.device).expand_as(values)
    begins = torch.ones_like(values, dtype=torch.bool)
    begins[:, 1:] = values[:, 1:] != values[:, :-1]
    rank = torch.where(begins, places, 0).cummax(dim=-1).values
    before = (values.cumsum(dim=-1) - values).gather(1, rank)
    allowed = filters.allow(values[:, :1], values, before, rank, filters.whole(mass))
    return order.gather(1, invert(values * allowed, u)[:, None])[:, 0]


def invert(mass: Tensor, u: Tensor) -> Tensor:
    """Index where the cumulative mass of ``[m, k]`` passes ``u`` of its total, ``[m]``.

    It always has mass: nothing is at or beyond the total.
    """
    cumulative = mass.cumsum(dim=-1)
    total = cumulative[:, -1:]
    wanted = torch.minimum(u * total, torch.nextafter(total, torch.zeros_like(total)))
    index: Tensor = torch.searchsorted(cumulative, wanted, right=True)[:, 0]
    # Rows that went wrong have no such index; what they are given is not used.
    return index.clamp(max=mass.shape[-1] - 1)


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]
