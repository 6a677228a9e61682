"""Training rapport-tiny from scratch: how the built-in model was made.

``rapport pretrain`` reads dialogues (`learning.pretraining.corpus`), trains a byte-level BPE
tokenizer and a small Llama on packed dialogues (`learning.pretraining.packing`) for a given
number of minutes, and writes a folder that any Hugging Face loader can open. Time, not steps,
drives the cosine schedule, so that the same command gives a finished model on any machine. The
run resumes from its last checkpoint when the output folder holds one.

This module does not know the bot; the bot only ever sees the folder it writes.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bot.errors import DataError
from learning.pretraining.corpus import SYSTEM_PROMPTS, Dialogue, Split, read_corpus
from learning.pretraining.evaluate import openers
from learning.pretraining.muon import Muon
from learning.pretraining.packing import Batch, Stream, train_tokenizer
from learning.tracking.tensorboard import TensorBoard

CHECKPOINT = "checkpoint.pt"
FIGURES = "training.json"
NOISE_ENDS = 0.92
"""Share of the time after which no word is dropped any more."""
PAD_ID, MARKS = 0, 6
"""The padding token, and how many of the first ids are marks, which are never dropped."""


@dataclass(frozen=True)
class PretrainSettings:
    """What a pretraining run is made of; the defaults are those of rapport-tiny."""

    minutes: float = 60.0
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    intermediate: int = 640
    vocabulary: int = 6144
    context: int = 1024
    batch_tokens: int = 4096
    learning_rate: float = 3e-3
    muon_learning_rate: float = 5e-3
    weight_decay: float = 0.05
    warmup: float = 0.02
    everyday_first: float = 0.25
    everyday_last: float = 0.70
    heard_weight: float = 0.25
    """What a token that a person said weighs in the loss beside one that the bot is to say."""
    token_dropout: float = 0.1
    checkpoint_minutes: float = 10.0
    seed: int = 0
    tensorboard: bool = False
    compile: bool = False
    start: str = ""
    """A finished model to begin with, its tokenizer included; empty: random weights."""


@dataclass(frozen=True)
class Progress:
    """What a run reports after each step."""

    step: int
    minutes: float
    of_minutes: float
    loss: float
    tokens: int
    tokens_per_second: float


def new_model(settings: PretrainSettings, vocabulary: int) -> LlamaForCausalLM:
    """A Llama with random weights, or those of `settings.start`; fp32."""
    if settings.start:
        return LlamaForCausalLM.from_pretrained(settings.start, dtype=torch.float32)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * settings.layers))
    return model


def optimizers(model: LlamaForCausalLM, settings: PretrainSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings and norms."""
    inside = [p for n, p in model.named_parameters() if p.ndim == 2 and "layers" in n]
    chosen = set(map(id, inside))
    outside = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(inside, settings.muon_learning_rate, settings.weight_decay),
        torch.optim.AdamW(
            outside, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True
        ),
    ]


def reading_loss(
    model: LlamaForCausalLM, ids: Tensor, dialogue: Tensor, targets: Tensor, weights: Tensor
) -> Tensor:
    """Weighted mean loss a token, in nats; all tensors are [rows, length].

    A token sees its own dialogue only (2402.13991 measures what that gains): a bot is
    asked at the beginning of a text and not after nine strangers' conversations.
    """
    length = ids.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
    seen = (dialogue[:, None, :, None] == dialogue[:, None, None, :]) & earlier
    logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits.float()
    losses = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none"
    )
    return (losses * weights.flatten()).sum() / weights.sum()


def rate(progress: float, warmup: float) -> float:
    """The share of the peak learning rate at `progress` in [0, 1]: warm-up, then cosine to 2 %."""
    if progress < warmup:
        return max(progress, 1e-4) / warmup
    through = min(1.0, (progress - warmup) / (1 - warmup))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through))


def pretrain(
    data: Path,
    out: Path,
    settings: PretrainSettings,
    report: Callable[[Progress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Path:
    """Train a model from the dialogues in `data` and write it to `out`.

    `clock` tells the seconds that the schedule goes by; it is asked twice a step.

    Raises:
        DataError: there is nothing to train on, or `out` holds a finished model.
    """
    if (out / FIGURES).exists():
        raise DataError(f"{out} holds a finished model; choose another --out or remove it")
    dialogues = read_corpus(data)
    train = [d for d in dialogues if d.split() == "train" and d.source != "persona_test"]
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _load_or_train_tokenizer(out, train, settings)
    run = _Run(out, settings, len(tokenizer), clock)
    # The model is judged by what it answers to the openers: it is not to know them.
    stream = Stream(train, tokenizer.backend_tokenizer, settings.seed + run.step, openers())
    curves = TensorBoard(out, "--tensorboard") if settings.tensorboard else None
    if curves is not None:
        curves.run("tensorboard", datetime.now(UTC), asdict(settings))
    saved = run.seconds
    while run.progress < 1:
        progress = run.advance(stream)
        report(progress)
        if curves is not None:
            speed = {"tokens_per_second": progress.tokens_per_second}
            curves.point(progress.tokens, {"loss": progress.loss, **speed})
        if run.seconds - saved > settings.checkpoint_minutes * 60:
            saved = run.seconds
            run.checkpoint()
            write_model(run.model, tokenizer, out)
    if curves is not None:
        curves.close({})
    write_model(run.model, tokenizer, out)
    figures = {
        "settings": asdict(settings),
        "steps": run.step,
        "tokens": run.tokens,
        "minutes": round(run.seconds / 60, 1),
        "held_out": held_out_losses(run.model, tokenizer, dialogues),
    }
    (out / FIGURES).write_text(json.dumps(figures, indent=2) + "\n")
    (out / CHECKPOINT).unlink(missing_ok=True)
    return out


class _Run:
    """A model in training: weights, optimisers, and how far it has come."""

    def __init__(
        self, out: Path, settings: PretrainSettings, vocabulary: int,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._clock = clock
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = new_model(settings, vocabulary)
        self.model.to(self.device)  # type: ignore[arg-type]  # typed for modules only
        self.model.train()
        self.optimisers = optimizers(self.model, settings)
        self.peaks = [one.param_groups[0]["lr"] for one in self.optimisers]
        self.step = self.tokens = 0
        self.seconds = 0.0
        self._path = out / CHECKPOINT
        # Two shapes of batches: two compilations of about half a minute each.
        self._loss = (
            torch.compile(reading_loss, dynamic=False) if settings.compile else reading_loss
        )
        self._bf16 = self.device.type == "cuda" or (
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )
        if self._path.exists():
            self._resume()

    @property
    def progress(self) -> float:
        """How much of the time is over."""
        return self.seconds / (self.settings.minutes * 60)

    def advance(self, stream: Stream) -> Progress:
        """One optimiser step; most rows are half a context long, every eighth batch's whole."""
        began, settings = self._clock(), self.settings
        for optimiser, peak in zip(self.optimisers, self.peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate(self.progress, settings.warmup)
        grown = self.progress * (settings.everyday_last - settings.everyday_first)
        length = settings.context // (1 if self.step % 8 == 0 else 2)
        rows = settings.batch_tokens // length
        # Without noise at the end: the model is to be used on whole sentences.
        dropout = settings.token_dropout if self.progress < NOISE_ENDS else 0.0
        loss = self._learn(stream.batch(rows, length, settings.everyday_first + grown), dropout)
        seconds = self._clock() - began
        self.step += 1
        self.seconds += seconds
        self.tokens += rows * length
        return Progress(
            self.step, self.seconds / 60, settings.minutes, loss, self.tokens,
            rows * length / seconds,
        )  # fmt: skip

    def _learn(self, batch: Batch, dropout: float) -> float:
        ids, replied, dialogue = (
            one.to(self.device) for one in (batch.ids, batch.replied, batch.dialogue)
        )
        read, targets = ids[:, :-1], ids[:, 1:].contiguous()
        if dropout:
            # Word dropout (1511.06349, section 3.1), on what people say: a model that misses
            # some of their words learns to answer the rest, and not one wording by heart.
            missed = torch.rand(read.shape, device=self.device) < dropout
            read = read.masked_fill(missed & (read >= MARKS) & ~replied[:, :-1], PAD_ID)
        weights = torch.where(replied[:, 1:], 1.0, self.settings.heard_weight)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            loss = self._loss(
                self.model, read.contiguous(), dialogue[:, :-1].contiguous(), targets, weights
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return float(loss.detach())

    def checkpoint(self) -> None:
        """Write everything needed to go on, or leave the last checkpoint as it was."""
        temporary = self._path.with_suffix(".tmp")
        torch.save(
            {
                "model": self.model.state_dict(),
                "optims": [one.state_dict() for one in self.optimisers],
                "state": {"step": self.step, "tokens": self.tokens, "seconds": self.seconds},
            },
            temporary,
        )
        os.replace(temporary, self._path)

    def _resume(self) -> None:
        saved = torch.load(self._path, weights_only=True, map_location=self.device)
        self.model.load_state_dict(saved["model"])
        for optimiser, state in zip(self.optimisers, saved["optims"], strict=True):
            optimiser.load_state_dict(state)
        state = saved["state"]
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]


def _load_or_train_tokenizer(
    out: Path, train: list[Dialogue], settings: PretrainSettings
) -> PreTrainedTokenizerFast:
    found = (out / "tokenizer.json").exists()
    if folder := (str(out) if found else settings.start):
        return cast(PreTrainedTokenizerFast, PreTrainedTokenizerFast.from_pretrained(folder))
    rng = random.Random(settings.seed)
    said = [d.said(rng) for d in train for _ in range(4 if d.source == "everyday" else 1)]
    texts = [t for d in said for t in (d.system, *d.replies, *(c for _, c in d.turns)) if t]
    tokenizer = train_tokenizer(iter([*texts, *SYSTEM_PROMPTS]), settings.vocabulary)
    tokenizer.save_pretrained(out)
    return tokenizer


@torch.inference_mode()
def held_out_losses(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    dialogues: list[Dialogue],
    split: Split = "test",
    limit: int = 200,
) -> dict[str, dict[str, float]]:
    """Mean loss per token, and perplexity, of held-out dialogues, by source; one by one."""
    model.eval()  # type: ignore[no-untyped-call]
    result: dict[str, dict[str, float]] = {}
    held_out = [d for d in dialogues if d.split() == split or d.source == "persona_test"]
    for source in sorted({d.source for d in held_out}):
        total = count = 0.0
        for dialogue in [d for d in held_out if d.source == source][:limit]:
            said = dialogue.said(random.Random(0))
            text = str(tokenizer.apply_chat_template(said.messages(), tokenize=False))
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"][:1024]
            ids = torch.tensor([tokens], device=model.device)
            logits = model(input_ids=ids[:, :-1]).logits.float()[0]
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
        result[source] = {
            "loss": round(total / count, 4),
            "perplexity": round(math.exp(total / count), 2),
            "tokens": int(count),
        }
    return result


def write_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Save weights in bf16 safetensors beside the tokenizer; the training copy stays as it is."""
    # The head is the embedding; once converted they would be two tensors, and both be written.
    state = {
        k: v.to(torch.bfloat16) for k, v in model.state_dict().items() if k != "lm_head.weight"
    }
    model.save_pretrained(out, state_dict=state)
    # save_pretrained writes down the dtype of the copy in training.
    model.config.dtype = torch.bfloat16
    model.config.save_pretrained(out)
    tokenizer.save_pretrained(out)
