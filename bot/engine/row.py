"""One reply on its way: from the queue to its last token.

A row holds what is its own: ids, settings, randomness, the text held back, its times.
It knows nothing of the other rows or of where its keys and values lie.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence

import torch

from bot.engine.base import Delta, Request
from bot.engine.bias import LongWords
from bot.engine.detokenise import Detokeniser
from bot.engine.histogram import Meters
from bot.engine.sampling import Draw
from bot.engine.stops import Stops
from bot.types import FinishReason, Timings

Emit = Callable[[Delta], None]
"""Called on the engine's thread with each delta of a reply."""


class Row:
    """The state of one reply.

    Args:
        request: what was asked.
        context: longest prompt plus reply, in tokens.
        decode: ids to text, marks left out.
        emit: where the deltas go.
        clock: seconds that only grow.
        meters: where its times are counted; without, nowhere.
    """

    def __init__(
        self,
        request: Request,
        context: int,
        decode: Callable[[Sequence[int]], str],
        emit: Emit,
        clock: Callable[[], float] = time.monotonic,
        meters: Meters | None = None,
    ) -> None:
        self.request = request
        self.slot: int | None = None
        """Place of its adapter in the bank; None is the base."""
        self.emit = emit
        self.ids = list(request.prompt_ids)
        """Prompt and reply so far."""
        self.prompt = len(self.ids)
        self.limit = max(1, min(request.sampling.max_tokens, context - self.prompt))
        """Reply tokens at most."""
        self.known = 0
        """Tokens whose keys and values are in the row; of an unfinished prompt, a part."""
        self.reused = 0
        self.follows: Row | None = None
        """Who reads the beginning of the same prompt just now, and lends `lent` tokens of it."""
        self.lent = 0
        self.keep = bool(request.cache_key)
        """Whether the row's beginning goes to the prefix store at the end."""
        self.cancelled = False
        """Set from the event loop, read by the engine's thread."""
        self.finished = False
        self.spoiled = False
        """Whether the keys and values may hold numbers that are not finite."""
        self._text = Stops(Detokeniser(decode), request.sampling.stop)
        self._words = LongWords(request.sampling.bad_words)
        self._draws: list[Draw] = []
        self._clock = clock
        self._meters = meters or Meters()
        self._submitted = clock()
        self._admitted = self._first = self._last = self._worst = 0.0
        self.expires = self._submitted + request.deadline if request.deadline else math.inf
        """When its time is up, by the clock."""

    @property
    def replied(self) -> int:
        """Reply tokens so far."""
        return len(self.ids) - self.prompt

    @property
    def places(self) -> int:
        """Rows of the batch that it needs."""
        return 1

    @property
    def settled(self) -> int:
        """Of its ids, how many stay what they are."""
        return len(self.ids)

    @property
    def remaining(self) -> int:
        """Tokens that still have to pass through the model before the next one is known."""
        return len(self.ids) - self.known

    def draw(self) -> Draw:
        """The randomness of the next token, numbers in [0, 1)."""
        return self._draws[self.replied]

    def banned(self, marks: Collection[int]) -> list[int]:
        """The tokens that must not come next because of what was said, or `marks` so early."""
        early = self.replied < self.request.sampling.min_tokens
        return [*self._words.completed(self.ids), *(marks if early else ())]

    def admit(self) -> None:
        """Leave the queue."""
        self._admitted = self._clock()
        self._meters.queued.add(self._admitted - self._submitted)
        self._draws = _draws(self.request.sampling.seed, self.limit)

    def add(self, token: int, ends: bool, log_probs: tuple[float, ...] = ()) -> None:
        """Append a sampled token and emit it; `ends` says that it ends the reply.

        A stop text ends it as well; its ids are emitted and stay in the row, its text is not.
        `log_probs` has the token's own, where it was asked for.
        """
        now = self._clock()
        if not self.replied:
            self._first = now
            self._meters.first_token.add(now - self._submitted)
        else:
            gap = now - self._last
            self._worst = max(self._worst, gap)
            self._meters.token_gap.add(gap)
        self._last = now
        self.ids.append(token)
        text = "" if ends else self._text.add(token)
        if ends or self._text.stopped:
            self.end("stop", (token,), text, log_probs=log_probs)
        elif self.replied >= self.limit:
            self.end("length", (token,), text, log_probs=log_probs)
        else:
            self.emit(Delta((token,), text, log_probs=log_probs))

    def end(
        self, finish: FinishReason, ids: tuple[int, ...] = (), text: str = "", error: str = "",
        log_probs: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        """Emit the last delta, once."""
        if self.finished:
            return
        self.finished = True
        text += self._text.finish()
        self.emit(Delta(ids, text, finish, self.timings(), error, log_probs))

    def expire(self) -> None:
        """End because its time is up, with what has been said."""
        if not self._admitted:
            self._meters.queued.add(self._clock() - self._submitted)
        self.end("timeout" if self.replied else "expired")

    def timings(self) -> Timings:
        """Where the time went until now."""
        now = self._clock()
        return Timings(
            queued=(self._admitted or now) - self._submitted,
            first_token=(self._first or now) - self._submitted,
            total=now - self._submitted,
            prompt_tokens=self.prompt,
            reused_tokens=self.reused,
            reply_tokens=self.replied,
            mean_gap=(self._last - self._first) / (self.replied - 1) if self.replied > 1 else 0.0,
            worst_gap=self._worst,
        )


def _draws(seed: int | None, count: int) -> list[Draw]:
    """A reply's randomness, drawn at once so that no other row can come between."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    first, second = torch.rand(2, count, generator=generator).tolist()
    return list(zip(first, second, strict=True))
