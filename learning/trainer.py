"""One training run, as a generator of micro-batches on the engine's own thread.

`training_job` turns a frozen snapshot into a LoRA adapter: supervised fine-tuning on the
liked replies, with a share of the base's own replies replayed under a KL term that holds
the candidate near to where it started. The run wraps a twin of the serving model (the same
weight tensors, another module tree), so what serves is never touched. It knows nothing of
votes, conversations, other jobs or whether its adapter will ever serve: the gate decides.

A run is a pure function of (snapshot, settings, seed): the same adapter bytes on the same
machine and thread count, whether or not it was interrupted and resumed on the way.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor
from transformers import PreTrainedModel

from bot.config import SftConfig
from bot.engine.base import Job, Resident
from bot.errors import LearningError
from learning.adapter import Adapter
from learning.batches import Batch, Row, collate
from learning.checkpoint import State, drop_checkpoint, read_checkpoint, write_checkpoint
from learning.objectives import kl_divergence, reply_log_probs, sft
from learning.supervision import Supervision
from learning.types import Snapshot, TrainProgress, TrainResult

SMALL_HIDDEN = 512
SMALL_RATE, RATE = 1e-3, 2e-4
"""Learning rates by `learning_rate = 0`: a small model wants a higher one ('LoRA Without
Regret' and our measurements on the built-in model, learning.md)."""

WARM_UP = 0.1
"""Share of the steps in which the rate rises."""

CLIP = 1.0
"""Largest norm of a step's gradient."""


def training_job(
    snapshot: Snapshot,
    settings: SftConfig,
    folder: Path,
    seed: int,
    end_ids: Sequence[int],
    *,
    digest: str,
    checkpoint_every: int = 20,
) -> Job:
    """A run for `Engine.run`: yields a TrainProgress a micro-batch, at last a TrainResult.

    Args:
        snapshot: liked examples of `train` are learned from, liked ones of `validation`
            stop the run early, `replay` holds it near to the base.
        settings: `learning_rate` 0 chooses by the model's hidden size (see `RATE`).
        folder: receives ``adapter_config.json`` and ``adapter_model.safetensors``, as PEFT
            would have written them, and ``checkpoint/`` while the run lasts.
        seed: of LoRA's initialisation and of the order of the rows.
        end_ids: ids that end a reply; replies that were cut are not learned from.
        digest: of the snapshot: a checkpoint of another one is not resumed.
        checkpoint_every: optimiser steps between checkpoints; each epoch's end is one too.

    Raises:
        LearningError: (from the job) nothing to supervise, a loss that is not finite, or a
            micro-batch of one row that does not fit in memory.
    """

    def job(resident: Resident) -> Iterator[TrainProgress | TrainResult]:
        rows = Supervision.of(snapshot, end_ids)
        run = _Run(resident, rows, settings, folder, seed, digest, checkpoint_every)
        try:
            yield from run.slices()
        finally:
            run.free()

    return job


class _Run:
    """The state of one run between two slices."""

    def __init__(
        self,
        resident: Resident,
        rows: Supervision,
        settings: SftConfig,
        folder: Path,
        seed: int,
        digest: str,
        checkpoint_every: int,
    ) -> None:
        self.rows, self.settings, self.folder, self.seed = rows, settings, folder, seed
        self.device, self.checkpoint_every = resident.device, checkpoint_every
        self.steps = settings.epochs * rows.steps(settings)
        self.adapter = Adapter(resident.twin(), resident.device, settings, seed)
        self.rate = settings.learning_rate or learning_rate(self.adapter.model)
        self.optimiser = torch.optim.AdamW(
            self.adapter.parameters(), lr=self.rate, weight_decay=0.0, fused=True
        )
        self.best: dict[str, Tensor] = {}
        self.state = State(_identity(digest, settings, seed))
        self._resume()
        self.resumed_at, self.started = self.state.step, perf_counter()

    def slices(self) -> Iterator[TrainProgress | TrainResult]:
        """The whole run: epochs of steps, each epoch measured on the held-out replies."""
        state = self.state
        while not state.finished:
            steps = self.rows.epoch(self.settings, f"{self.seed}/{state.epoch}")
            for micro_batches in steps[state.position :]:
                yield from self._step(micro_batches)
                if state.step % self.checkpoint_every == 0:
                    self._save()
            yield from self._measure()
            state.epoch, state.position = state.epoch + 1, 0
            state.finished = (
                state.epoch >= self.settings.epochs or state.stale >= self.settings.patience
            )
            self._save()
        self.adapter.write(self.folder, self.best or self.adapter.tensors())
        drop_checkpoint(self.folder)
        yield TrainResult(
            steps=state.step,
            epochs=state.epoch,
            loss=state.loss,
            held_out=state.held_out if state.best is None else state.best,
            tokens=state.tokens,
            seconds=state.seconds,
        )

    def free(self) -> None:
        """Let go of everything the run holds on the device; the checkpoint stays."""
        self.optimiser.state.clear()
        self.best = {}
        del self.optimiser, self.adapter
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _step(self, micro_batches: list[list[Row]]) -> Iterator[TrainProgress]:
        """One optimiser step; a slice for each micro-batch, smaller ones when memory is short."""
        state = self.state
        rows = [row for piece in micro_batches for row in piece]
        total = math.fsum(row.weight * len(row.reply_ids) for row in rows)
        replayed = sum(len(row.reply_ids) for row in rows if row.replay)
        done = False
        while not done:
            loss = seen = 0.0
            self.optimiser.zero_grad(set_to_none=True)
            pieces = [cut for piece in micro_batches for cut in _cut(piece, state.pieces)]
            for number, piece in enumerate(pieces, 1):
                started = perf_counter()
                try:
                    loss += self._backward(piece, total, replayed)
                except torch.OutOfMemoryError:
                    self._halve(len(piece))
                    break
                state.tokens += sum(row.width for row in piece)
                seen += math.fsum(row.weight * len(row.reply_ids) for row in piece)
                done = number == len(pieces)
                if done:
                    self._apply(loss)
                elif not state.step:
                    state.loss = loss * total / seen
                self._clock(started)
                yield self._progress(None)

    def _backward(self, rows: list[Row], total: float, replayed: int) -> float:
        """Add one micro-batch's gradient; its share of the step's NLL a token."""
        batch = collate(rows, self.device)
        first = sum(len(row.reply_ids) for row in rows if not row.replay)
        use_kl = self.settings.kl > 0 and first < len(batch.targets)
        if use_kl:
            old = collate([row for row in rows if row.replay], self.device)
            with torch.no_grad(), self.adapter.off():
                base_logits = self.adapter.logits(old.input_ids, old.positions)
        with torch.enable_grad():
            logits = self.adapter.logits(batch.input_ids, batch.positions)
            nll = _nll(logits, batch, total)
            loss = nll
            if use_kl:
                divergence = kl_divergence(logits[first:], base_logits).sum() / replayed
                loss = loss + self.settings.kl * divergence
            loss.backward()  # type: ignore[no-untyped-call]
        return float(nll.detach())

    def _apply(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise LearningError(
                f"the training loss is {loss} after {self.state.step} steps; lower "
                "learning.sft.learning_rate"
            )
        state = self.state
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * schedule(state.step, self.steps)
        torch.nn.utils.clip_grad_norm_(self.adapter.parameters(), CLIP)
        self.optimiser.step()
        state.loss = loss
        state.step += 1
        state.position += 1

    def _measure(self) -> Iterator[TrainProgress]:
        """NLL a token of the held-out liked replies; keeps the weights of the best epoch.

        With fewer than `stop_items` of them the figure is mostly luck: it is reported, and
        decides nothing.
        """
        state, rows = self.state, sorted(self.rows.validation, key=lambda row: row.width)
        if not rows:
            return
        total = math.fsum(row.weight * len(row.reply_ids) for row in rows)
        size, nll, start = self.settings.micro_batch, 0.0, 0
        while start < len(rows):
            started = perf_counter()
            piece = rows[start : start + (state.pieces or size)]
            try:
                with torch.no_grad():
                    batch = collate(piece, self.device)
                    logits = self.adapter.logits(batch.input_ids, batch.positions)
                    nll += float(_nll(logits, batch, total))
            except torch.OutOfMemoryError:
                self._halve(len(piece))
                continue
            start += len(piece)
            state.tokens += sum(row.width for row in piece)
            last = start >= len(rows)
            if last:
                self._remember(nll)
            self._clock(started)
            yield self._progress(nll if last else None)

    def _remember(self, held_out: float) -> None:
        state = self.state
        state.held_out = held_out
        if len(self.rows.validation) < self.settings.stop_items:
            return
        if state.best is None or held_out < state.best:
            state.best, state.stale = held_out, 0
            self.best = {name: one.clone() for name, one in self.adapter.tensors().items()}
        else:
            state.stale += 1

    def _halve(self, rows: int) -> None:
        if rows == 1:
            raise LearningError(
                "a micro-batch of one example does not fit in memory; free some (fewer "
                "engine.rows) or shorten conversation.history_tokens"
            )
        self.optimiser.zero_grad(set_to_none=True)
        self.state.pieces = max(1, rows // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _clock(self, started: float) -> None:
        self.state.seconds += perf_counter() - started

    def _progress(self, held_out: float | None) -> TrainProgress:
        state = self.state
        taken = max(1, state.step - self.resumed_at)
        pace = (perf_counter() - self.started) / taken
        return TrainProgress(
            step=state.step,
            steps=self.steps,
            epoch=state.epoch,
            loss=state.loss,
            held_out=held_out,
            tokens_per_second=state.tokens / state.seconds if state.seconds else 0.0,
            eta_seconds=pace * (self.steps - state.step),
        )

    def _save(self) -> None:
        named = {f"adapter/{name}": one for name, one in self.adapter.tensors().items()}
        named |= {f"best/{name}": one for name, one in self.best.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser/{number}/{key}": one for key, one in moments.items()}
        write_checkpoint(self.folder, self.state, named)

    def _resume(self) -> None:
        found = read_checkpoint(self.folder, self.state.identity)
        if found is None:
            drop_checkpoint(self.folder)
            return
        self.state, tensors = found
        moments: dict[int, dict[str, Tensor]] = {}
        adapter: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "adapter":
                adapter[rest] = tensor
            elif kind == "best":
                self.best[rest] = tensor
            else:
                number, _, key = rest.partition("/")
                moments.setdefault(int(number), {})[key] = tensor
        self.adapter.read(adapter)
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**whole, "state": moments})


def _nll(logits: Tensor, batch: Batch, total: float) -> Tensor:
    said = reply_log_probs(logits, batch.targets, batch.owners, len(batch.weights))
    return sft(said, batch.weights, batch.tokens, total)


def _cut(piece: list[Row], rows: int) -> list[list[Row]]:
    size = rows or len(piece)
    return [piece[i : i + size] for i in range(0, len(piece), size)]


def learning_rate(model: PreTrainedModel) -> float:
    """The rate that `learning_rate = 0` stands for."""
    return SMALL_RATE if int(model.config.hidden_size) <= SMALL_HIDDEN else RATE


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short rise, then half a cosine down to zero."""
    rise = max(1, min(10, round(WARM_UP * steps)))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _identity(digest: str, settings: SftConfig, seed: int) -> str:
    key = json.dumps([digest, settings.model_dump(), seed], sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()
