"""One training run, as a generator of micro-batches on the engine's own thread.

`training_job` turns a frozen snapshot into a LoRA adapter: it minimises the objective it is
given on the rated replies, with a share of the base's own replies replayed under a KL term
that holds the candidate near to where it started. The run wraps a twin of the serving model
(the same weight tensors, another module tree), so what serves is never touched; switched off,
the adapter leaves the base itself, which is the reference of every comparison. It knows
nothing of votes, formulas, conversations, other jobs or whether its adapter will ever serve:
the gate decides.

A run is a pure function of (snapshot, settings, seed): the same adapter bytes on the same
machine and thread count, whether or not it was interrupted and resumed on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor

from bot.config import SftConfig
from bot.engine.base import Job, Resident
from bot.errors import LearningError
from learning.training.adapter import Adapter, scaled
from learning.training.batches import Row, Unit, collate, in_pieces, tokens
from learning.training.checkpoint import State, drop_checkpoint, read_checkpoint, write_checkpoint
from learning.training.choice import identity
from learning.training.objectives import kl_divergence, kto_baseline, reply_log_probs
from learning.training.preference import Objective, Said
from learning.training.rate import learning_rate, schedule
from learning.training.supervision import SFT, Choice, Supervision, flat
from learning.types import Snapshot, TrainProgress, TrainResult

STRENGTH_STEP = 1 / 32
"""How finely the strength of an adapter is set."""

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
    choice: Choice = SFT,
    checkpoint_every: int = 20,
) -> Job:
    """A run for `Engine.run`: yields a TrainProgress a micro-batch, at last a TrainResult.

    Args:
        snapshot: examples of `train` are learned from, liked ones of `validation` stop the
            run early, `replay` holds it near to the base.
        settings: `learning_rate` 0 chooses by the model's hidden size (see `RATE`).
        folder: receives ``adapter_config.json`` and ``adapter_model.safetensors``, as PEFT
            would have written them, and ``checkpoint/`` while the run lasts.
        seed: of LoRA's initialisation and of the order of the rows.
        end_ids: ids that end a reply; replies that were cut are not learned from.
        digest: of the snapshot: a checkpoint of another one is not resumed.
        choice: the losses that are minimised; where they compare replies, its learning rate
            stands for that of `settings`.
        checkpoint_every: optimiser steps between checkpoints; each epoch's end is one too.

    Raises:
        LearningError: (from the job) nothing to supervise or to compare, a loss that is not
            finite, or a micro-batch of one example that does not fit in memory.
    """

    def job(resident: Resident) -> Iterator[TrainProgress | TrainResult]:
        rows = Supervision.of(snapshot, end_ids, choice, seed)
        run = _Run(resident, rows, choice, settings, folder, seed, digest, checkpoint_every)
        try:
            yield from run.slices()
        finally:
            run.free()

    return job


T = TypeVar("T")
Slices = Generator[TrainProgress, None, T]
"""Work that ends with a value."""


class _Run:
    """The state of one run between two slices."""

    def __init__(
        self,
        resident: Resident,
        rows: Supervision,
        choice: Choice,
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
        self.choice, self.objective = choice, Objective.of(choice, rows.train)
        asked = choice.settings if choice.compares else settings
        self.rate = asked.learning_rate or learning_rate(self.adapter.model, choice)
        self.optimiser = torch.optim.AdamW(
            self.adapter.parameters(), lr=self.rate, weight_decay=0.0, fused=True
        )
        self.best: dict[str, Tensor] = {}
        self.reference: dict[Row, float] = {}
        self.state = State(identity(digest, settings, choice, seed))
        self._resume()
        self.resumed_at, self.started = self.state.step, perf_counter()

    def slices(self) -> Iterator[TrainProgress | TrainResult]:
        """The whole run: epochs of steps, each epoch measured on the held-out replies."""
        state = self.state
        if self.choice.compares and not self.reference:
            self.reference = yield from self._likely(self.rows.compared(), self.adapter.off)
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
        strength, kept = yield from self._weakened()
        self.adapter.write(self.folder, kept)
        drop_checkpoint(self.folder)
        yield TrainResult(
            steps=state.step,
            epochs=state.epoch,
            loss=state.loss,
            held_out=state.held_out if state.best is None else state.best,
            tokens=state.tokens,
            seconds=state.seconds,
            strength=strength,
        )

    def free(self) -> None:
        """Let go of everything the run holds on the device; the checkpoint stays."""
        self.optimiser.state.clear()
        self.best = {}
        del self.optimiser, self.adapter
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _step(self, micro_batches: list[list[Unit]]) -> Iterator[TrainProgress]:
        """One optimiser step; a slice for each micro-batch, smaller ones when memory is short."""
        state = self.state
        units = [unit for piece in micro_batches for unit in piece]
        totals, weight = self.objective.totals(units), tokens(flat(units))
        replayed = sum(len(unit[0].reply_ids) for unit in units if unit[0].replay)
        baseline = yield from self._baseline(units)
        done = False
        while not done:
            loss = seen = 0.0
            self.optimiser.zero_grad(set_to_none=True)
            pieces = [cut for piece in micro_batches for cut in in_pieces(piece, state.pieces)]
            for number, piece in enumerate(pieces, 1):
                started = perf_counter()
                try:
                    loss += self._backward(piece, totals, replayed, baseline)
                except torch.OutOfMemoryError:
                    self._halve(len(piece))
                    break
                state.tokens += sum(row.width for row in flat(piece))
                seen += tokens(flat(piece))
                done = number == len(pieces)
                if done:
                    self._apply(loss)
                elif not state.step:
                    state.loss = loss * weight / seen
                self._clock(started)
                yield self._progress(None)

    def _backward(
        self, units: list[Unit], totals: list[float], replayed: int, baseline: float
    ) -> float:
        """Add one micro-batch's gradient; its share of the step's loss, the KL term aside."""
        rows = flat(units)
        batch = collate(rows, self.device)
        first = sum(len(row.reply_ids) for row in rows if not row.replay)
        use_kl = self.settings.kl > 0 and first < len(batch.targets)
        if use_kl:
            old = collate([row for row in rows if row.replay], self.device)
            with torch.no_grad(), self.adapter.off():
                base_logits = self.adapter.logits(old)
        with torch.enable_grad():
            logits = self.adapter.logits(batch)
            said = reply_log_probs(logits, batch.targets, batch.owners, len(rows))
            reference = said.new_tensor([self.reference.get(row, 0.0) for row in rows])
            objective = self.objective.loss(Said(units, said, reference, baseline), totals)
            loss = objective
            if use_kl:
                divergence = kl_divergence(logits[first:], base_logits).sum() / replayed
                loss = loss + self.settings.kl * divergence
            loss.backward()  # type: ignore[no-untyped-call]
        return float(objective.detach())

    def _baseline(self, units: list[Unit]) -> Slices[float]:
        """KTO's reference point of a step: how much likelier mismatched replies have become."""
        known = self.rows.mismatched
        rows = [known[row] for row in flat(units) if row in known]
        if not rows:
            return 0.0
        likely = yield from self._likely(rows)
        return kto_baseline(torch.tensor([likely[row] - self.reference[row] for row in rows]))

    def _likely(
        self, rows: Sequence[Row], mode: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Slices[dict[Row, float]]:
        """Log-probability of each reply in nats; with `Adapter.off`, under the base."""
        rows = sorted(rows, key=lambda row: row.read_ids)
        found: dict[Row, float] = {}
        start = 0
        while start < len(rows):
            started = perf_counter()
            piece = rows[start : start + (self.state.pieces or self.settings.micro_batch)]
            try:
                with torch.no_grad(), mode():
                    batch = collate(piece, self.device)
                    logits = self.adapter.logits(batch)
                    said = reply_log_probs(logits, batch.targets, batch.owners, len(piece))
                    found |= zip(piece, said.tolist(), strict=True)
            except torch.OutOfMemoryError:
                self._halve(len(piece))
                continue
            start += len(piece)
            self.state.tokens += sum(row.width for row in piece)
            self._clock(started)
            yield self._progress(None)
        return found

    def _apply(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise LearningError(
                f"the training loss is {loss} after {self.state.step} steps; lower learning."
                f"{'preference' if self.choice.compares else 'sft'}.learning_rate"
            )
        state = self.state
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * schedule(state.step, self.steps)
        torch.nn.utils.clip_grad_norm_(self.adapter.parameters(), CLIP)
        self.optimiser.step()
        state.loss = loss
        state.step += 1
        state.position += 1

    def _weakened(self) -> Slices[tuple[float, dict[str, Tensor]]]:
        """The adapter as it is kept, as strong as `most_drift` lets it be, by bisection.

        What a run has learned and what it has forgotten on the way both grow with the size of
        B, so a run that went too far need not be thrown away.
        """
        trained = {name: one.clone() for name, one in self.adapter.tensors().items()} | self.best
        rows, most = self.rows.gauge, self.settings.most_drift
        if not rows or not most:
            return 1.0, trained
        base = math.fsum((yield from self._likely(rows, self.adapter.off)).values())
        fits, strength, step = 0.0, 1.0, 1.0
        while fits < 1.0 and step > STRENGTH_STEP:
            self.adapter.read(scaled(trained, strength))
            said = math.fsum((yield from self._likely(rows)).values())
            if said / base - 1 <= most:
                fits = strength
            step /= 2
            strength += step if fits == strength else -step
        return fits, scaled(trained, fits)

    def _measure(self) -> Iterator[TrainProgress]:
        """NLL a token of the held-out liked replies; keeps the weights of the best epoch.

        With fewer than `stop_items` of them the figure is mostly luck: it is reported, and
        decides nothing.
        """
        rows = self.rows.validation
        if not rows:
            return
        likely = yield from self._likely(rows)
        held_out = -math.fsum(row.weight * likely[row] for row in rows) / tokens(rows)
        self._remember(held_out)
        yield self._progress(held_out)

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

    def _halve(self, examples: int) -> None:
        if examples == 1:
            if not self.adapter.spare_memory():
                raise LearningError(
                    "a micro-batch of one example does not fit in memory; free some (fewer "
                    "engine.rows) or shorten conversation.history_tokens"
                )
            self.state.sparing = True
        self.optimiser.zero_grad(set_to_none=True)
        self.state.pieces = max(1, examples // 2)
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
            learning_rate=self.rate * schedule(state.step - 1, self.steps) if state.step else None,
        )

    def _save(self) -> None:
        named = {f"adapter/{name}": one for name, one in self.adapter.tensors().items()}
        named |= {f"best/{name}": one for name, one in self.best.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser/{number}/{key}": one for key, one in moments.items()}
        if self.reference:
            named["reference"] = torch.tensor(
                [self.reference[row] for row in self.rows.compared()]
            )
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
            elif kind == "reference":
                compared = self.rows.compared()
                self.reference = dict(zip(compared, tensor.tolist(), strict=True))
            else:
                number, _, key = rest.partition("/")
                moments.setdefault(int(number), {})[key] = tensor
        if self.state.sparing:
            self.adapter.spare_memory()
        self.adapter.read(adapter)
        whole = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**whole, "state": moments})
