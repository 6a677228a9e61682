"""The rows that run together: admit, read prompts, decode, sample, and take off what has ended.

Arena row ``i`` belongs to ``rows[i]``. Rows ``:ready`` decode one token a step; the rest
still have prompt to read, in the order they came. Both go through the model in one pass: as much
of the prompts as the step has time for, and a token of every row that decodes. A row that ends is
replaced by the last one, so that both parts stay contiguous and nothing is ever gathered. A row
whose prompt begins as another's does waits until that one has read the beginning, and copies it:
several replies to one prompt read it once. The rows of a beam search (`bot.engine.beams`) decode
together, from the same step on, and leave together.

The batch knows no threads, no queue and no adapter names: slots of the bank come with
the rows, and everything happens when `bot.engine.worker` says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from bot.engine.attention import Pass, Span, ladder
from bot.engine.beams import Beam, Search
from bot.engine.bias import refused
from bot.engine.forward import Forward
from bot.engine.kv import Arena
from bot.engine.pace import Pace
from bot.engine.prefix import WORTHWHILE, PrefixStore, common
from bot.engine.reserve import Reserve
from bot.engine.row import Row
from bot.engine.sampling import Settings, adjust, choose, log_probs

log = logging.getLogger(__name__)

LONG = 256
"""Tokens that were read of a prompt, from which on it is kept before the reply to it has ended."""


class Batch:
    """Up to `size` replies on one model."""

    def __init__(
        self,
        forward: Forward,
        prefixes: PrefixStore,
        *,
        size: int,
        pace: Pace,
        context: int,
        room: Reserve | None,
        ends: Sequence[int],
        turns: Sequence[int],
    ) -> None:
        self.size = size
        self.rows: list[Row] = []
        self.ready = 0
        """How many rows, from the front, are decoding."""
        self._forward = forward
        self._prefixes = prefixes
        self._pace = pace
        self._ends = frozenset(ends)
        self._turns = frozenset(turns)
        self._marks = [one for one in {*ends, *turns} if one < forward.vocabulary]
        self._device = forward.device
        self._arena = Arena(forward.layers, size, context, room)
        self._seen: Tensor | None = None
        """Bool ``[size, vocabulary]``: what rows hold, once a penalty asks for it."""
        self._ladder = ladder(max(context, size), self._device)
        self._settings: Settings | None = None
        """Of the decoding rows; None when they changed."""
        self._searched: list[int] = []
        """Those of them that are of a search; with `_settings`."""
        self._measured: list[int] = []
        """Those of the others that are told how likely their tokens are; with `_settings`."""

    @property
    def free(self) -> int:
        """Rows that can still be admitted."""
        return self.size - sum(row.places for row in self.rows)

    @property
    def nbytes(self) -> int:
        """Memory of the rows."""
        return self._arena.nbytes

    def admit(self, row: Row) -> bool:
        """Give a row its place and the part of its prompt that is kept; False if it ended."""
        row.admit()
        if not all(0 <= token < self._forward.entries for token in row.ids):
            row.end("error", error="the prompt has token ids that the model does not know")
            return False
        if why := refused(row.request.sampling, self._forward.vocabulary):
            row.end("error", error=why)
            return False
        place = len(self.rows)
        kept, row.known = self._prefixes.find(
            row.request.adapter, row.request.cache_key, row.ids
        )
        row.reused = row.known
        if kept is not None and row.known:
            self._arena.reserve([row.known], place)
            self._arena.restore(place, kept.saved, row.known)
        if row.request.sampling.repetition_penalty != 1.0:
            self._see(place, row.ids)
        self.rows.append(row)
        self._follow(row)
        return True

    def step(self) -> None:
        """Read on in the prompts, and say one more token of every reply whose prompt is read."""
        for place in range(self.ready, len(self.rows)):
            self._borrow(place)
        while self.ready < len(self.rows) and self.rows[self.ready].remaining == 1:
            self._promote(1)  # one token is what a decoding row reads
        spans = self._spans()
        if not self.ready and not spans:
            return
        try:
            logits = self._pass(spans)
        except Exception as error:  # noqa: BLE001  # the border of a step: logged in _fail
            # A prompt may be too much for the memory; those who only decode try again alone.
            reading = self.rows[self.ready : self.ready + len(spans)]
            self._fail(reading or self.rows[: self.ready], error)
            return
        read = self.rows[self.ready : self.ready + len(spans)]
        self._promote(sum(not row.remaining for row in read))
        try:
            self._sample(logits)
        except Exception as error:  # noqa: BLE001  # the border of a step: logged in _fail
            self._fail(self.rows[: self.ready], error)

    def ended(self) -> list[Row]:
        """The rows that have ended or were cancelled; they stay until they are swept.

        Of a search, which leaves with all its rows, the one that was asked for is told.
        """
        for row in self.rows:
            if row.cancelled:
                row.end("cancelled")
        return [row for row in self.rows if row.finished and not isinstance(row, Beam)]

    def sweep(self) -> None:
        """Take off the rows that have ended, and keep their beginnings."""
        for place in range(len(self.rows) - 1, -1, -1):
            if self.rows[place].finished:
                self._take_off(place)
        self._arena.trim([row.known for row in self.rows])

    def keep_prompts(self) -> None:
        """Keep long prompts that have just been read, so that little is left to be kept later."""
        for place, row in enumerate(self.rows[: self.ready]):
            if row.replied == 1 and row.keep and row.prompt - row.reused >= LONG:
                self._keep(place, row)

    def fail(self, error: Exception) -> None:
        """End all rows with an error and forget them, when even `sweep` cannot be trusted."""
        gone, self.rows, self.ready, self._settings = self.rows, [], 0, None
        self._fail(gone, error)
        for place in range(self.size):
            self._arena.clear_row(place)

    def _see(self, place: int, ids: Sequence[int]) -> None:
        """Note which tokens a row holds, of those that can be said."""
        size = self._forward.vocabulary
        if self._seen is None:
            self._seen = torch.zeros(self.size, size, dtype=torch.bool, device=self._device)
        sayable = [token for token in ids if token < size]
        self._seen[place].zero_()
        self._seen[place, torch.tensor(sayable, device=self._device)] = True

    def _follow(self, row: Row) -> None:
        """Find the row with the longest beginning in common, where waiting for it is worthwhile."""
        row.follows, row.lent = None, row.known + WORTHWHILE - 1
        for other in self.rows:
            if other is not row and other.slot == row.slot and not other.spoiled:
                shared = min(common(row.ids, other.ids), row.prompt - 1, other.settled)
                if shared > row.lent:
                    row.follows, row.lent = other, shared

    def _borrow(self, place: int) -> None:
        """Copy what the row that is followed has read, once it has read all that is shared."""
        row = self.rows[place]
        if row.follows and (row.follows.spoiled or row.follows not in self.rows):
            self._follow(row)
        if row.follows and row.follows.known >= row.lent:
            self._arena.copy_row(self.rows.index(row.follows), place, row.lent)
            row.known = row.reused = row.lent
            row.follows = None

    def _promote(self, count: int) -> None:
        """The next rows decode from now on."""
        if count:
            self.ready += count
            self._settings = None

    def _spans(self) -> list[Span]:
        """What this step reads of the prompts, first come first; one span a row."""
        waiting, left = self.rows[self.ready :], self._pace.tokens(self.ready > 0)
        if waiting:
            waiting[0].follows = None  # whoever is first waits for nobody
        spans = []
        for row in waiting:
            if left <= 0 or row.follows:
                break
            spans.append(Span(row.known, min(row.remaining, left)))
            left -= spans[-1].count
        return spans

    def _pass(self, spans: Sequence[Span]) -> Tensor:
        """Pass the next tokens of the rows; logits after each row whose tokens are all read.

        Only the last span can leave a part of its prompt for the next step.
        """
        started = time.monotonic()
        group = self.rows[: self.ready + len(spans)]
        starts = [row.known for row in group[: self.ready]]
        counts = [1] * self.ready + [span.count for span in spans]
        reads = [(row, row.known + count) for row, count in zip(group, counts, strict=True)]
        self._arena.reserve([end for _, end in reads])
        tokens = [token for row, end in reads for token in row.ids[row.known : end]]
        ends = [end - 1 for end in accumulate(counts)]
        if group[-1].remaining > counts[-1] and len(ends) > 1:
            ends.pop()  # alone it is asked for what nobody needs, so that there is something to ask
        packed = Pass(
            starts, spans, self._arena, self._ladder, self._forward.dtype, self._forward.kernels
        )
        logits = self._forward(
            torch.tensor(tokens, device=self._device), packed, [row.slot for row in group],
            torch.tensor(ends, device=self._device),
        )  # fmt: skip
        for row, end in reads:
            row.known = end
        read = len(tokens) - self.ready
        self._pace.told(read, time.monotonic() - started)
        return logits

    def _sample(self, logits: Tensor) -> None:
        """Give the ready rows the token that follows, by logits ``[ready, vocabulary]``."""
        group = self.rows[: self.ready]
        if not group:
            return
        if self._settings is None:
            self._settings = self._collected(group)
        if some := self._searched:
            logits = logits.float()
            logits[some] = logits[some].log_softmax(dim=-1)
        seen = None
        if self._settings.penalty is not None and self._seen is not None:
            seen = self._seen[: self.ready]
        banned = [
            (place, token) for place in self._settings.watched
            for token in group[place].banned(self._marks)
        ]
        adjusted = adjust(logits, seen, self._settings, banned)
        chosen = choose(adjusted, self._settings, [row.draw() for row in group])
        if seen is not None:
            seen.scatter_(1, chosen.clamp(min=0)[:, None], True)
        likely = self._likely(logits, chosen)
        for place, (row, token) in enumerate(zip(group, chosen.tolist(), strict=True)):
            if token < 0:
                row.spoiled = True
                row.end("error", error="the model's output was not a finite number")
            elif isinstance(row, Search | Beam):
                pass  # searches come when none of their rows went wrong
            elif token in self._turns:  # cut: no end was said that one could learn from
                row.end("length")
            else:
                row.add(token, token in self._ends, likely.get(place, ()))
        for place in self._searched:
            row = group[place]
            if isinstance(row, Search) and not row.finished:
                self._search(row, logits, adjusted)

    def _collected(self, group: Sequence[Row]) -> Settings:
        """What the decoding rows ask for."""
        searched = [at for at, row in enumerate(group) if isinstance(row, Search | Beam)]
        asking = [at for at, row in enumerate(group) if row.request.log_probs]
        self._searched, self._measured = searched, sorted({*asking} - {*searched})
        sampling = [row.request.sampling for row in group]
        return Settings.of(sampling, self._forward.vocabulary, self._device, self._ends)

    def _likely(self, logits: Tensor, chosen: Tensor) -> dict[int, tuple[float, ...]]:
        """How likely their tokens are, for the places of those who asked for it."""
        if not (some := self._measured):
            return {}
        found = log_probs(logits[some], chosen[some].clamp(min=0))
        return {place: (one,) for place, one in zip(some, found, strict=True)}

    def _search(self, search: Search, logits: Tensor, adjusted: Tensor) -> None:
        """Let a search choose what its rows hold, and give them the keys and values for it."""
        places = [self.rows.index(row) for row in search.holding]
        moves = search.advance(logits[places], adjusted[places], self._ends, self._turns)
        if search.finished:
            return
        first = search.prompt  # its rows hold the same before it
        if search.beams[1] not in self.rows:
            self._join(search.beams[1:])
            first = 0
        at = {row: place for place, row in enumerate(self.rows)}
        sources, targets = ([at[pair[end]] for pair in moves] for end in (0, 1))
        self._arena.copy_rows(sources, targets, first, search.known)
        if search.request.sampling.repetition_penalty != 1.0:
            for row in search.beams:
                self._see(at[row], row.ids)

    def _join(self, rows: Sequence[Row]) -> None:
        """Let rows decode that had their places kept free; those that read stay in their order."""
        self.rows += rows
        for place in range(len(self.rows) - len(rows) - 1, self.ready - 1, -1):
            self._move(place, place + len(rows))
        self.rows[self.ready : self.ready + len(rows)] = rows
        self._promote(len(rows))

    def _fail(self, group: Sequence[Row], error: Exception) -> None:
        log.exception("a step of %d replies failed", len(group))
        for row in group:
            row.spoiled = True
            row.end("error", error=f"{type(error).__name__}: {error}")

    def _take_off(self, place: int) -> None:
        row = self.rows[place]
        if row.keep and row.known and not row.spoiled:
            self._keep(place, row)
        if row.spoiled:
            self._arena.clear_row(place)
        if place < self.ready:
            self._settings = None
            self.ready -= 1
            self._move(self.ready, place)
            place = self.ready
        self._move(len(self.rows) - 1, place)
        self.rows.pop()

    def _keep(self, place: int, row: Row) -> None:
        adapter, key, ids = row.request.adapter, row.request.cache_key, row.ids[: row.known]
        before = self._prefixes.take(adapter, key)
        try:
            saved = (
                self._arena.save(place, row.known) if before is None else
                self._arena.save(place, row.known, before.saved, common(before.ids, tuple(ids)))
            )  # fmt: skip
        except (RuntimeError, MemoryError):
            # The next turn then reads its prompt anew; nothing else is lost.
            log.warning("no memory to keep the prefix of a reply", exc_info=True)
            return
        self._prefixes.keep(adapter, key, ids, saved)

    def _move(self, source: int, target: int) -> None:
        if source != target:
            self._arena.copy_row(source, target, self.rows[source].known)
            if self._seen is not None:
                self._seen[target] = self._seen[source]
            self.rows[target] = self.rows[source]
