"""Training rapport-tiny from scratch: how the built-in model was made.

``rapport pretrain`` reads dialogues (`learning.corpus`), trains a byte-level BPE
tokenizer and a small Llama on packed dialogues for a given number of minutes, and
writes a folder that any Hugging Face loader can open. Time, not steps, drives the
cosine schedule, so that the same command gives a finished model on any machine. The
run resumes from its last checkpoint when the output folder holds one.

Matrices are trained with Muon and everything else with AdamW (both from torch.optim).
This module does not know the bot; the bot only ever sees the folder it writes.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from learning.corpus import SYSTEM_PROMPTS, Dialogue, Split, dress, read_corpus

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{- bos_token }}{% for message in messages %}"
    "{{- '<|' + message['role'] + '|>' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{% generation %}{{- message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- else %}{{- message['content'] + '<|end|>' }}{% endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{% endif %}"
)


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
    everyday_last: float = 0.75
    checkpoint_minutes: float = 10.0
    seed: int = 0
    tensorboard: bool = False


@dataclass(frozen=True)
class Progress:
    """What a run reports after each step."""

    step: int
    minutes: float
    of_minutes: float
    loss: float
    tokens: int
    tokens_per_second: float


def train_tokenizer(texts: Iterator[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with the chat marks as special tokens and the chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BEGIN, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


class Stream:
    """An endless stream of packed token rows, with a share of everyday dialogues that grows.

    Dialogues of each source are visited in shuffled order, again and again; each visit
    chooses the system prompt and the alternative reply anew.
    """

    def __init__(self, dialogues: list[Dialogue], tokenizer: Tokenizer, seed: int) -> None:
        self._rng = random.Random(seed)
        self._tokenizer = tokenizer
        self._everyday = [d for d in dialogues if d.source == "everyday"]
        self._answered = [d for d in self._everyday if d.replies]
        self._other = self._visits([d for d in dialogues if d.source != "everyday"])
        self._own = self._visits(self._everyday)
        self._rest: list[int] = []
        self._ids = {mark: tokenizer.token_to_id(mark) for mark in (BEGIN, END, *ROLES)}

    def _visits(self, dialogues: list[Dialogue]) -> Iterator[Dialogue]:
        for order in cycle([list(range(len(dialogues)))]):
            self._rng.shuffle(order)
            for i in order:
                yield dialogues[i]

    def batch(self, rows: int, length: int, everyday_share: float) -> Tensor:
        """Packed rows, int64 [rows, length + 1]; `everyday_share` counts tokens."""
        need = rows * (length + 1)
        own = other = 1
        while len(self._rest) < need:
            everyday = own <= everyday_share * (own + other)
            ids = self.encode(next(self._own if everyday else self._other))
            own, other = (own + len(ids), other) if everyday else (own, other + len(ids))
            self._rest += ids
        taken, self._rest = self._rest[:need], self._rest[need:]
        return torch.tensor(taken).view(rows, length + 1)

    def encode(self, dialogue: Dialogue) -> list[int]:
        """Token ids of one visit, as the chat template would render them."""
        dressed = dress(dialogue, self._rng, self._answered)
        reply = self._rng.choice(dialogue.replies) if dialogue.replies else None
        ids = [self._ids[BEGIN]]
        for message in dressed.messages(reply):
            ids.append(self._ids[f"<|{message['role']}|>"])
            ids += self._tokenizer.encode(message["content"], add_special_tokens=False).ids
            ids.append(self._ids[END])
        return ids


def new_model(settings: PretrainSettings, vocabulary: int) -> LlamaForCausalLM:
    """A Llama with random weights."""
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
        attn_implementation="sdpa",
    )
    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            torch.nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * settings.layers))
    return model


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton-Schulz (Jordan et al. 2024), RMS-matched to AdamW
    (Liu et al. 2025, 2502.16982, eq. 4).

    torch.optim.Muon orthogonalises in bf16, which CPUs without bf16 units emulate four times
    slower than fp32; this one works in fp32 and takes all matrices of a shape at once.
    """

    def __init__(self, parameters: list[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    momentum = state.setdefault("momentum", torch.zeros_like(parameter))
                    momentum.lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(momentum, group["momentum"]))
                step = group["lr"] * 0.2 * math.sqrt(max(shape))
                for parameter, update in zip(
                    parameters, orthogonalise(torch.stack(updates)), strict=True
                ):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-step)


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices, roughly, by a quintic Newton-Schulz; [n, rows, columns]."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


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


def rate(progress: float, warmup: float) -> float:
    """The share of the peak learning rate at `progress` in [0, 1]: warm-up, then cosine to 2 %."""
    if progress < warmup:
        return max(progress, 1e-4) / warmup
    through = min(1.0, (progress - warmup) / (1 - warmup))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through))


def pretrain(
    data: Path, out: Path, settings: PretrainSettings,
    report: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Train a model from the dialogues in `data` and write it to `out`.

    Raises:
        DataError: there is nothing to train on.
    """
    dialogues = read_corpus(data)
    train = [d for d in dialogues if d.split() == "train" and d.source != "persona_test"]
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _load_or_train_tokenizer(out, train, settings)
    model = new_model(settings, len(tokenizer))
    optims = optimizers(model, settings)
    state = _resume(out / "checkpoint.pt", model, optims)
    stream = Stream(train, tokenizer._tokenizer, settings.seed + state["step"])
    writer = _tensorboard(out) if settings.tensorboard else None
    base_rates = [optim.param_groups[0]["lr"] for optim in optims]
    if state["step"] == 0:
        state["rates"] = base_rates
    last_saved = state["seconds"]
    model.train()
    while state["seconds"] < settings.minutes * 60:
        began = time.monotonic()
        progress = state["seconds"] / (settings.minutes * 60)
        for optim, peak in zip(optims, state["rates"], strict=True):
            for group in optim.param_groups:
                group["lr"] = peak * rate(progress, settings.warmup)
        share = settings.everyday_first + progress * (
            settings.everyday_last - settings.everyday_first
        )
        length = settings.context if state["step"] % 8 == 0 else settings.context // 2
        batch = stream.batch(settings.batch_tokens // length, length, share)
        loss = _step(model, optims, batch)
        seconds = time.monotonic() - began
        state["step"] += 1
        state["seconds"] += seconds
        state["tokens"] += batch.shape[0] * length
        report(
            Progress(
                state["step"], state["seconds"] / 60, settings.minutes, loss, state["tokens"],
                batch.shape[0] * length / seconds,
            )
        )
        if writer is not None:
            writer.add_scalar("loss", loss, state["tokens"])
        if state["seconds"] - last_saved > settings.checkpoint_minutes * 60:
            last_saved = state["seconds"]
            _checkpoint(out, model, optims, state)
            write_model(model, tokenizer, out)
    write_model(model, tokenizer, out)
    figures = {
        "settings": asdict(settings), "steps": state["step"], "tokens": state["tokens"],
        "minutes": round(state["seconds"] / 60, 1),
        "held_out": held_out_losses(model, tokenizer, dialogues),
    }
    (out / "training.json").write_text(json.dumps(figures, indent=2) + "\n")
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return out


def _load_or_train_tokenizer(
    out: Path, train: list[Dialogue], settings: PretrainSettings
) -> PreTrainedTokenizerFast:
    if (out / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(out)
    texts = [t for d in train for t in (d.system, *d.replies, *(c for _, c in d.turns)) if t]
    everyday = [t for d in train if d.source == "everyday" for _, t in d.turns]
    tokenizer = train_tokenizer(
        iter([*texts, *everyday * 4, *SYSTEM_PROMPTS]), settings.vocabulary
    )
    tokenizer.save_pretrained(out)
    return tokenizer


def _step(
    model: LlamaForCausalLM, optims: list[torch.optim.Optimizer], batch: Tensor
) -> float:
    bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(input_ids=batch[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), batch[:, 1:].flatten()
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optim in optims:
        optim.step()
        optim.zero_grad(set_to_none=True)
    return float(loss.detach())


@torch.inference_mode()
def held_out_losses(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, dialogues: list[Dialogue],
    split: Split = "test", limit: int = 200,
) -> dict[str, dict[str, float]]:
    """Mean loss per token, and perplexity, of held-out dialogues, by source; one by one."""
    model.eval()
    result: dict[str, dict[str, float]] = {}
    held_out = [d for d in dialogues if d.split() == split or d.source == "persona_test"]
    for source in sorted({d.source for d in held_out}):
        total = count = 0.0
        for dialogue in [d for d in held_out if d.source == source][:limit]:
            text = tokenizer.apply_chat_template(dialogue.messages(), tokenize=False)
            ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"][:1024]])
            logits = model(input_ids=ids[:, :-1]).logits.float()[0]
            total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
        result[source] = {
            "loss": round(total / count, 4), "perplexity": round(math.exp(total / count), 2),
            "tokens": int(count),
        }
    return result


def write_model(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Save weights in bf16 safetensors beside the tokenizer; the training copy stays as it is."""
    state = {k: v.to(torch.bfloat16) for k, v in model.state_dict().items()}
    model.config.dtype = torch.bfloat16
    model.save_pretrained(out, state_dict=state)
    model.generation_config.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _checkpoint(
    out: Path, model: LlamaForCausalLM, optims: list[torch.optim.Optimizer],
    state: dict[str, Any],
) -> None:
    temporary = out / "checkpoint.tmp"
    torch.save(
        {"model": model.state_dict(), "optims": [o.state_dict() for o in optims], "state": state},
        temporary,
    )
    os.replace(temporary, out / "checkpoint.pt")


def _resume(
    path: Path, model: LlamaForCausalLM, optims: list[torch.optim.Optimizer]
) -> dict[str, Any]:
    if not path.exists():
        return {"step": 0, "seconds": 0.0, "tokens": 0}
    saved = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    for optim, state in zip(optims, saved["optims"], strict=True):
        optim.load_state_dict(state)
    return dict(saved["state"])


def _tensorboard(out: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))
