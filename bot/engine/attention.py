"""One pass of the model over the tokens of many replies, and what each token sees.

The tokens of a pass lie one behind the other with no padding between: first one for each row that
decodes, then the spans, pieces of prompts that are read. To a linear layer they are one matrix;
only attention has to know whose they are. Decoding rows are looked up together in the arena, each
span by itself. With no arena every span is a text of its own, read from its beginning, and nothing
is kept: that is how given replies are scored.

Nothing here knows the model around the attention, requests or adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bot.engine.kernels import Kernels
from bot.engine.kv import Arena


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a prompt: so many tokens of a row, from a position on."""

    start: int
    count: int


class Pass:
    """Tokens that go through the model together.

    Rows ``0..n`` decode one token each, and the spans belong to the rows after them.

    Args:
        starts: of the decoding rows, the positions of their tokens.
        spans: of the rows that follow.
        arena: where keys and values are kept; None where every span begins at 0.
        ladder: ``arange`` over all positions, on the model's device.
        dtype: of the model.
        kernels: for rows that decode, where they can be had.
        pause: called in every layer; others may pass through the model meanwhile.
    """

    def __init__(
        self,
        starts: Sequence[int],
        spans: Sequence[Span],
        arena: Arena | None,
        ladder: Tensor,
        dtype: torch.dtype,
        kernels: Kernels | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._kernels = kernels
        self._pause = pause
        self._decoding = len(starts)
        self._spans = tuple(spans)
        self._arena = arena
        positions = torch.tensor(starts, dtype=ladder.dtype, device=ladder.device)
        rows = ladder[: len(starts)]
        if spans:
            counts = ladder.new_tensor([span.count for span in spans])
            place = ladder[len(starts) : len(starts) + len(spans)]
            rows = torch.cat((rows, place.repeat_interleave(counts)))
            pieces = [ladder[span.start : span.start + span.count] for span in spans]
            positions = torch.cat((positions, *pieces))
        self.rows = rows
        """Whose every token is, ``[t]``."""
        self.positions = positions
        """``[t]``."""
        self._length = max(starts, default=-1) + 1
        self._mask: Tensor | None = None
        if starts and kernels is None and min(starts) + 1 < self._length:
            unseen = ladder[: self._length] > positions[: len(starts), None]
            self._mask = _hidden(unseen, dtype)[:, None, None]
        self._masks = [_earlier(span, ladder, dtype) if span.start else None for span in spans]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        """What the tokens take from those that they see; writes the keys and values of all.

        Args:
            q: ``[t, heads, head_dim]``, rotated.
            k: ``[t, kv_heads, head_dim]``, rotated; `v` likewise.

        Returns:
            ``[t, heads, head_dim]``.
        """
        self._pause()
        at = self._decoding
        if not self._spans:
            return self._decode(layer, q, k, v, scale)
        if self._arena is not None:
            self._arena.write(layer, self.rows[at:], self.positions[at:], k[at:], v[at:])
        found = torch.empty_like(q, memory_format=torch.contiguous_format)
        if at:
            found[:at] = self._decode(layer, q[:at], k[:at], v[:at], scale)
        for number, span in enumerate(self._spans):
            own = slice(at, at + span.count)
            found[own] = self._read(layer, number, q[own], k[own], v[own], scale)
            at += span.count
        return found

    def _decode(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None
    ) -> Tensor:
        """One token a row."""
        assert self._arena is not None
        at = self._decoding
        if self._kernels is not None:
            kept = self._arena.pair(layer, k, v)
            scale = scale or q.shape[-1] ** -0.5
            return self._kernels.attend(q, (k, v), kept, self.positions[:at], scale)
        self._arena.write(layer, self.rows[:at], self.positions[:at], k, v)
        keys, values = self._arena.rows(layer, 0, at, self._length)
        # The heads that share keys stand where further tokens would.
        grouped = q.reshape(len(q), k.shape[1], -1, q.shape[-1])
        found = functional.scaled_dot_product_attention(
            grouped, keys, values, attn_mask=self._mask, scale=scale
        )
        return found.reshape(q.shape[0], q.shape[1], -1)

    def _read(
        self, layer: int, number: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None
    ) -> Tensor:
        """One span: all that its row had before, and itself up to each token."""
        span, mask = self._spans[number], self._masks[number]
        if mask is None:
            keys, values = (t.transpose(0, 1)[None] for t in (k, v))
        else:
            assert self._arena is not None
            row = self._decoding + number
            keys, values = self._arena.rows(layer, row, row + 1, span.start + span.count)
        found = functional.scaled_dot_product_attention(
            q.transpose(0, 1)[None], keys, values, attn_mask=mask, is_causal=mask is None,
            scale=scale, enable_gqa=q.shape[1] != k.shape[1],
        )  # fmt: skip
        return found[0].transpose(0, 1)


def ladder(length: int, device: torch.device) -> Tensor:
    """Positions ``0..length-1``, of which every pass takes what it needs."""
    return torch.arange(length, device=device)


def _earlier(span: Span, ladder: Tensor, dtype: torch.dtype) -> Tensor:
    """What a span that does not begin its row must not see, ``[count, start + count]``."""
    length = span.start + span.count
    return _hidden(ladder[:length] > ladder[span.start : length, None], dtype)


def _hidden(unseen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores: nothing, or minus infinity where a token is not seen."""
    mask = torch.zeros(unseen.shape, dtype=dtype, device=unseen.device)
    return mask.masked_fill_(unseen, -torch.inf)
