"""Beam search: several beginnings of one reply are pursued, and the best that ended is said.

What transformers' ``generate(num_beams=n, do_sample=False, early_stopping=False)`` says, token by
token. A beginning's score is the sum of its tokens' log-probabilities, with biases, penalty and
bans applied to them; of all that could follow the `n` beginnings the `n` best that do not end are
pursued. A reply that ends while it is among the `n` best is kept with its score divided by
``length ** length_penalty``. The search is over once `n` have been kept and the best beginning,
taken at its present length, would not do better than the last of them.

What ends a reply ends one here: an end mark, the limit of tokens, and a text of `Sampling.stop`,
whose tokens count towards the score. An id that opens another turn does so too, as an end mark
would, but what is said of it is cut before it, with the finish ``length``. Whatever was best is
given whole, in the reply's only delta.

A search is a row of the batch that reads its prompt as every row does, and holds the first
beginning. The other rows join it when the prompt is read; until then their places are kept free.
Where keys and values lie is not known here: who asks is told which rows need those of which.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bot.engine.base import Request
from bot.engine.histogram import Meters
from bot.engine.prefix import common
from bot.engine.row import Emit, Row
from bot.engine.sampling import Draw
from bot.engine.stops import Stops
from bot.types import FinishReason, Sampling, Timings

Decode = Callable[[Sequence[int]], str]


@dataclass(slots=True)
class Beginning:
    """What the reply may begin with."""

    row: Row
    """Who holds it; of what may follow, who holds all but the last token."""
    text: Stops
    ids: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    score: float = 0.0
    shown: str = ""

    def then(self, token: int, score: float, log_prob: float, silent: bool) -> Beginning:
        """This and a token, which has no text where it is `silent`."""
        text = self.text.copy()
        shown = self.shown if silent else self.shown + text.add(token)
        log_probs = (*self.log_probs, log_prob)
        return Beginning(self.row, text, (*self.ids, token), log_probs, score, shown)


@dataclass(frozen=True, slots=True)
class Ended:
    """A reply that came to its end."""

    value: float
    """Its score for its length."""
    finish: FinishReason
    found: Beginning
    length: int
    """How many of its tokens are said."""


class Search(Row):
    """The row of a reply that is searched for; takes what a `Row` takes."""

    def __init__(
        self, request: Request, context: int, decode: Decode, emit: Emit,
        clock: Callable[[], float] = time.monotonic, meters: Meters | None = None,
    ) -> None:  # fmt: skip
        super().__init__(request, context, decode, emit, clock, meters)
        others = range(1, request.sampling.beams)
        self.beams: list[Row] = [self, *(Beam(self, context, decode) for _ in others)]
        """All rows that it has once its prompt is read."""
        self._held = [Beginning(self, self._text)]
        self._ended: list[Ended] = []
        """The best, and no more than there are beams."""
        self._replied = 0
        """Tokens of the reply that was given."""

    @property
    def places(self) -> int:
        """Rows of the batch that are its own, or kept free for its beams."""
        return 1 if self.replied else len(self.beams)

    @property
    def settled(self) -> int:
        """Of its ids, how many stay what they are."""
        return self.prompt

    @property
    def holding(self) -> list[Row]:
        """The rows whose successors `advance` is to be given, in that order."""
        return [one.row for one in self._held]

    def advance(
        self, plain: Tensor, logits: Tensor, ends: Collection[int], turns: Collection[int]
    ) -> list[tuple[Row, Row]]:
        """Choose what is pursued from now on, or give the reply that was found.

        Args:
            plain: log-probabilities of what follows each of `holding`, ``[b, vocabulary]``.
            logits: the same with biases, penalty and bans.
            ends: ids that end a reply.
            turns: ids that open a turn.

        Returns:
            Rows whose keys and values another row needs, each with that one; none of these is a
            source as well.
        """
        how = self.request.sampling
        scores = torch.tensor([one.score for one in self._held], device=logits.device)
        total = (logits + scores[:, None]).flatten()
        # As many that go on as there are beams are among these, if no stop text comes up.
        best = total.topk(min(len(total), how.beams * (2 + len(ends) + len(turns))))
        found = zip(
            best.values.tolist(), best.indices.tolist(), plain.flatten()[best.indices].tolist(),
            strict=True,
        )  # fmt: skip
        running: list[Beginning] = []
        for rank, (score, index, log_prob) in enumerate(found):
            if score == -math.inf or (rank >= how.beams and len(running) == how.beams):
                break
            parent, token = divmod(index, logits.shape[-1])
            mark = token in ends or token in turns
            one = self._held[parent].then(token, score, log_prob, silent=mark)
            finish = self._finish(one, ends, turns)
            if finish is None:
                running.append(one)
            elif rank < how.beams:
                said = len(one.ids) - (token in turns)
                self._ended.append(Ended(self._value(one), finish, one, said))
        self._ended = sorted(self._ended, key=lambda one: -one.value)[: how.beams]
        full = len(self._ended) == how.beams
        if not running or (full and self._value(running[0]) <= self._ended[-1].value):
            self._give(self._ended[0])
            return []
        return self._hold(running)

    def end(
        self, finish: FinishReason, ids: tuple[int, ...] = (), text: str = "", error: str = "",
        log_probs: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        """Emit the last delta, once, and let all rows go."""
        for row in self.beams[1:]:
            row.finished = True
        super().end(finish, ids, text, error, log_probs)

    def expire(self) -> None:
        """End because its time is up: with the best that has ended, or the likeliest beginning."""
        likeliest = self._held[0]
        if self._ended:
            self._give(self._ended[0])
        elif likeliest.ids:
            self._give(Ended(0.0, "timeout", likeliest, len(likeliest.ids)))
        else:
            super().expire()

    def timings(self) -> Timings:
        """Where the time went until now."""
        return replace(super().timings(), reply_tokens=self._replied)

    def _finish(
        self, one: Beginning, ends: Collection[int], turns: Collection[int]
    ) -> FinishReason | None:
        if one.ids[-1] in ends or one.text.stopped:
            return "stop"
        return "length" if one.ids[-1] in turns or len(one.ids) >= self.limit else None

    def _value(self, one: Beginning) -> float:
        return float(one.score / len(one.ids) ** self.request.sampling.length_penalty)

    def _hold(self, running: list[Beginning]) -> list[tuple[Row, Row]]:
        """Give every beginning a row: as a rule the one that holds all but its last token."""
        parents = {one.row for one in running}
        free = [row for row in self.beams if row not in parents]
        moves = []
        for one in running:
            if one.row in parents:
                parents.remove(one.row)
            else:
                moves.append((one.row, free.pop()))
                one.row = moves[-1][1]
        # Where stop texts left too few beginnings, the likeliest is held more than once.
        moves += [(running[0].row, row) for row in free]
        for one in (*running, *(replace(running[0], row=row) for row in free)):
            one.row.ids[self.prompt :] = one.ids
            one.row.slot, one.row.known = self.slot, self.known
        self._held = running
        return moves

    def _give(self, best: Ended) -> None:
        one, kept, said = best.found, self.keep, best.length
        nearest = max(self.holding, key=lambda row: common(row.ids[self.prompt :], one.ids))
        self.keep = False
        nearest.keep = kept
        self._replied = said
        log_probs = one.log_probs[:said] if self.request.log_probs else ()
        text = one.shown + one.text.finish()
        self.end(best.finish, one.ids[:said], text, log_probs=log_probs)


class Beam(Row):
    """A row beside the one of a search: nobody hears of it, and it ends with that."""

    def __init__(self, search: Search, context: int, decode: Decode) -> None:
        super().__init__(search.request, context, decode, search.emit)
        self._search = search
        self.keep = False
        self.expires = math.inf  # that of the search is looked at

    @property
    def settled(self) -> int:
        """Of its ids, how many stay what they are."""
        return self.prompt

    def draw(self) -> Draw:
        """Nothing is drawn here."""
        return 0.0, 0.0

    def end(
        self, finish: FinishReason, ids: tuple[int, ...] = (), text: str = "", error: str = "",
        log_probs: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        """What ends one of the rows ends the search."""
        self._search.end(finish, ids, text, error, log_probs)


def refused(sampling: Sampling, rows: int) -> str:
    """Why a reply cannot be searched for so; empty where it can, or is not searched for.

    Args:
        rows: of the engine.
    """
    if not 1 <= sampling.beams <= rows:
        return (
            f"{sampling.beams} beams need as many rows, at least one, and there are {rows}: take "
            "fewer beams or raise engine.rows"
        )
    if sampling.beams > 1 and sampling.temperature:
        return "a search with beams draws nothing by chance: set its temperature to 0"
    return ""
