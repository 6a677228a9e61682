"""The rows that run together: admit, prefill, decode, sample, and take off what has ended.

Arena row ``i`` belongs to ``rows[i]``. Rows ``:ready`` decode one token a step; the rest
still have prompt to read, in the order they came. A row that ends is replaced by the
last one, so that both parts stay contiguous and nothing is ever gathered. A row whose
prompt begins as another's does waits until that one has read the beginning, and copies it:
several replies to one prompt read it once.

The batch knows no threads, no queue and no adapter names: slots of the bank come with
the rows, and everything happens when `local` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bot.engine.bias import refused
from bot.engine.kv import PackedCache, Window, ladder
from bot.engine.lora import LoraBank
from bot.engine.prefix import WORTHWHILE, PrefixStore, common
from bot.engine.row import Row
from bot.engine.sampling import Settings, choose

log = logging.getLogger(__name__)


class Batch:
    """Up to `size` replies on one model."""

    def __init__(
        self,
        model: PreTrainedModel,
        bank: LoraBank,
        prefixes: PrefixStore,
        *,
        size: int,
        chunk: int,
        context: int,
        ends: Sequence[int],
        turns: Sequence[int],
    ) -> None:
        self.size = size
        self.rows: list[Row] = []
        self.ready = 0
        """How many rows, from the front, are decoding."""
        self._model = model
        self._bank = bank
        self._prefixes = prefixes
        self._chunk = chunk
        self._context = context
        self._ends = frozenset(ends)
        self._turns = frozenset(turns)
        self._device = next(model.parameters()).device
        self._entries, self._vocabulary = vocabulary_sizes(model)
        self._marks = [one for one in {*ends, *turns} if one < self._vocabulary]
        self._cache = PackedCache(model.config.num_hidden_layers, size, context + chunk)
        self._seen = torch.zeros(size, self._vocabulary, dtype=torch.bool, device=self._device)
        self._ladder = ladder(max(self._cache.capacity, size), self._device)
        self._settings: Settings | None = None
        """Of the decoding rows; None when they changed."""

    @property
    def free(self) -> int:
        """Rows that can still be admitted."""
        return self.size - len(self.rows)

    def admit(self, row: Row) -> bool:
        """Give a row its place and the part of its prompt that is kept; False if it ended."""
        row.admit()
        if not all(0 <= token < self._entries for token in row.ids):
            row.end("error", error="the prompt has token ids that the model does not know")
            return False
        if why := refused(row.request.sampling, self._vocabulary):
            row.end("error", error=why)
            return False
        place = len(self.rows)
        kept, row.known = self._prefixes.find(
            row.request.adapter, row.request.cache_key, row.ids
        )
        row.reused = row.known
        if kept is not None and row.known:
            self._reserve(row.known)
            self._cache.restore(place, kept.saved, row.known)
        self._seen[place].zero_()
        if row.request.sampling.repetition_penalty != 1.0:
            ids = [token for token in row.ids if token < self._vocabulary]
            self._seen[place, torch.tensor(ids, device=self._device)] = True
        self.rows.append(row)
        self._follow(row)
        return True

    def prefill(self) -> None:
        """Read one chunk of prompt; rows whose prompt ends there get their first token."""
        for place in range(self.ready, len(self.rows)):
            self._borrow(place)
        while self.ready < len(self.rows) and self.rows[self.ready].remaining == 1:
            self.ready += 1  # one token is what a decoding row reads
            self._settings = None
        waiting = self.rows[self.ready :]
        if not waiting:
            return
        waiting[0].follows = None  # whoever is first waits for nobody
        group, width = [waiting[0]], min(waiting[0].remaining, self._chunk)
        for row in waiting[1:]:
            wider = max(width, row.remaining)
            if width < group[0].remaining or wider * (len(group) + 1) > self._chunk or row.follows:
                break
            group.append(row)
            width = wider
        first = self.ready
        try:
            counts = [min(row.remaining, width) for row in group]
            logits = self._forward(first, group, counts)
            done = all(not row.remaining for row in group)
            if done:
                self.ready += len(group)
                self._settings = None
                self._sample(first, group, logits, self._settings_of(group))
        except Exception as error:  # noqa: BLE001  # the border of a step: logged in _fail
            self._fail(group, error)

    def decode(self) -> None:
        """One more token for every decoding row."""
        if not self.ready:
            return
        group = self.rows[: self.ready]
        try:
            logits = self._forward(0, group, [1] * len(group))
            if self._settings is None:
                self._settings = self._settings_of(group)
            self._sample(0, group, logits, self._settings)
        except Exception as error:  # noqa: BLE001  # the border of a step: logged in _fail
            self._fail(group, error)

    def sweep(self) -> list[Row]:
        """Take off the rows that have ended or were cancelled, and keep their beginnings."""
        gone = []
        for place in range(len(self.rows) - 1, -1, -1):
            row = self.rows[place]
            if row.cancelled:
                row.end("cancelled")
            if row.finished:
                gone.append(row)
                self._take_off(place)
        return gone

    def fail(self, error: Exception) -> None:
        """End all rows with an error and forget them, when even `sweep` cannot be trusted."""
        gone, self.rows, self.ready, self._settings = self.rows, [], 0, None
        self._fail(gone, error)
        for place in range(self.size):
            self._cache.clear_row(place)

    def _follow(self, row: Row) -> None:
        """Find the row with the longest beginning in common, where waiting for it is worthwhile."""
        row.follows, row.lent = None, row.known + WORTHWHILE - 1
        for other in self.rows:
            if other is not row and other.slot == row.slot and not other.spoiled:
                shared = min(common(row.ids, other.ids), row.prompt - 1)
                if shared > row.lent:
                    row.follows, row.lent = other, shared

    def _borrow(self, place: int) -> None:
        """Copy what the row that is followed has read, once it has read all that is shared."""
        row = self.rows[place]
        if row.follows and (row.follows.spoiled or row.follows not in self.rows):
            self._follow(row)
        if row.follows and row.follows.known >= row.lent:
            self._cache.copy_row(self.rows.index(row.follows), place, row.lent)
            row.known = row.reused = row.lent
            row.follows = None

    def _forward(self, first: int, group: Sequence[Row], counts: Sequence[int]) -> Tensor:
        """Pass each row's next `counts` tokens; logits after its last, ``[m, vocabulary]``.

        Shorter rows are padded on the right. Padding writes behind its row's length, where
        the next real token overwrites it, and nobody sees it meanwhile.
        """
        width = max(counts)
        starts = [row.known for row in group]
        length = max(starts) + width
        self._reserve(length)
        tokens = torch.tensor(
            [
                row.ids[row.known : row.known + count] + [0] * (width - count)
                for row, count in zip(group, counts, strict=True)
            ],
            device=self._device,
        )
        start = torch.tensor(starts, device=self._device)[:, None]
        positions = start + self._ladder[:width]
        rows = self._ladder[first : first + len(group), None]
        window = Window(first, first + len(group), length, rows, positions)
        last = torch.tensor(counts, device=self._device)[:, None] - 1
        self._cache.aim(window)
        with self._bank.rows([row.slot for row in group]):
            logits: Tensor = self._model(
                input_ids=tokens,
                attention_mask=window.mask(self._ladder),
                position_ids=positions.clamp(max=self._context - 1) if width > 1 else positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=last,
            ).logits
        for row, count in zip(group, counts, strict=True):
            row.known += count
        return logits[:, 0]

    def _settings_of(self, group: Sequence[Row]) -> Settings:
        settings = [row.request.sampling for row in group]
        return Settings.of(settings, self._vocabulary, self._device, self._ends)

    def _sample(
        self, first: int, group: Sequence[Row], logits: Tensor, settings: Settings
    ) -> None:
        last = first + len(group)
        seen = self._seen[first:last]
        banned = [
            (place, token) for place in settings.watched
            for token in group[place].banned(self._marks)
        ]
        chosen = choose(logits, seen, settings, [row.draw() for row in group], banned)
        if settings.penalty is not None:
            seen.scatter_(1, chosen.clamp(min=0)[:, None], True)
        for row, token in zip(group, chosen.tolist(), strict=True):
            if token < 0:
                row.spoiled = True
                row.end("error", error="the model's output was not a finite number")
            elif token in self._turns:  # cut: no end was said that one could learn from
                row.end("length")
            else:
                row.add(token, token in self._ends)

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
            self._cache.clear_row(place)
        if place < self.ready:
            self._settings = None
            self.ready -= 1
            self._move(self.ready, place)
            place = self.ready
        self._move(len(self.rows) - 1, place)
        self.rows.pop()

    def _keep(self, place: int, row: Row) -> None:
        try:
            saved = self._cache.save(place, row.known)
        except (RuntimeError, MemoryError):
            # The next turn then reads its prompt anew; nothing else is lost.
            log.warning("no memory to keep the prefix of a reply", exc_info=True)
            return
        key = row.request.cache_key
        self._prefixes.keep(row.request.adapter, key, row.ids[: row.known], saved)

    def _move(self, source: int, target: int) -> None:
        if source != target:
            self._cache.copy_row(source, target, self.rows[source].known)
            self._seen[target] = self._seen[source]
            self.rows[target] = self.rows[source]

    def _reserve(self, length: int) -> None:
        self._cache.reserve(length)
        if len(self._ladder) < max(self._cache.capacity, self.size):
            self._ladder = ladder(max(self._cache.capacity, self.size), self._device)


def vocabulary_sizes(model: PreTrainedModel) -> tuple[int, int]:
    """How many ids the model knows, and how many it can say; padding may set them apart."""
    known = model.get_input_embeddings().weight
    said = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]  # transformers' own
    assert isinstance(known, Tensor)
    return known.shape[0], said.shape[0]


@torch.inference_mode()
def agrees_with_plain_forward(model: PreTrainedModel) -> bool:
    """Whether the model gives the same logits on packed rows as without any cache.

    Two rows of different lengths are read and then continued by one token: enough to show
    an architecture that builds its own mask, positions or state.
    """
    device = model.device
    vocabulary, _ = vocabulary_sizes(model)
    ids = (torch.arange(22, device=device).view(2, 11) * 7919 + 11) % vocabulary
    cache = PackedCache(model.config.num_hidden_layers, 2, 11)
    steps = ladder(11, device)
    rows = steps[:2, None]
    starts = torch.tensor([[10], [6]], device=device)

    def forward(tokens: Tensor, positions: Tensor) -> Tensor:
        last = torch.full((2, 1), tokens.shape[1] - 1, device=device)
        window = Window(0, 2, int(positions.max()) + 1, rows, positions)
        cache.aim(window)
        logits: Tensor = model(
            input_ids=tokens,
            attention_mask=window.mask(steps),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=last,
        ).logits
        return logits[:, -1].float()

    try:
        forward(ids[:, :10], steps[:10].expand(2, 10))
        packed = forward(ids.gather(1, starts), starts)
        plain = model(input_ids=ids, use_cache=False).logits.float()
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        log.debug("the packed forward pass failed", exc_info=error)
        return False
    expected = plain[torch.arange(2, device=device), starts[:, 0]]
    tolerance = 1e-2 if expected.dtype == model.dtype else 0.3
    return bool((packed - expected).abs().max() <= tolerance * expected.std().clamp(min=1e-6))
