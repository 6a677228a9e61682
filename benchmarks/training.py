"""How fast a run learns, and in how much memory, beside TRL's trainers.

    python -m benchmarks.training --model tiny --objectives sft kto --peers trl --json training.json

Every peer lives in a process of its own, with the same weights, examples, batch size, dtype,
threads and LoRA, and they train in turns, so that ratios hold on a noisy machine. Rapport
trains as in production: `training_job`, driven to its end. Neither replays nor pulls towards
the base, so that the work is the same; both begin with token ids and end with an adapter.
Memory is the peak of the process above what it held when model and examples were loaded.

TRL checkpoints activations unless told not to, which saves memory and costs time: `trl` does
not, `trl-checkpointing` does.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import learning.pretraining.corpus as corpus
from bot.config import EngineConfig, ModelConfig, PreferenceConfig, SftConfig
from bot.engine.background import ResidentModel
from bot.engine.model import BUILT_IN, LoadedModel, load_model, resolve
from bot.types import Turn
from learning.training.supervision import Choice
from learning.training.trainer import training_job
from learning.types import Example, Snapshot, TrainResult

PERSONA = Turn("system", "You are Rapport, a friendly chatbot.")
BATCH, RANK, ALPHA, RATE = 8, 16, 32, 1e-3
MODELS = ("tiny", "135m")
PEERS = ("trl", "trl-checkpointing")
RAPPORT = "rapport"


@dataclass(frozen=True)
class Work:
    """What every peer is given."""

    model: str
    examples: int
    epochs: int
    threads: int


@dataclass(frozen=True)
class Run:
    """One training by one peer."""

    seconds: float
    peak_mb: float
    """Above the loaded model."""
    steps: int


@dataclass(frozen=True)
class Row:
    """One peer with one objective: medians over the repeats."""

    model: str
    objective: str
    peer: str
    supervised: int
    """Supervised tokens of a run, each as often as it was learned from."""
    seconds: float
    tokens_per_s: float
    """Of those."""
    peak_mb: float
    speed: float
    """Rapport's tokens a second divided by this peer's: the median of the repeats' ratios."""
    memory: float
    """Rapport's peak divided by this peer's."""


def examples_of(loaded: LoadedModel, number: int) -> tuple[Example, ...]:
    """Two-turn conversations of the built-in corpus; every other one is disliked."""
    found = list(corpus.read_everyday(Path(corpus.__file__).parent / "everyday"))
    random.Random(0).shuffle(found)
    return tuple(islice(_examples(loaded, found), number))


def _examples(loaded: LoadedModel, found: Sequence[corpus.Dialogue]) -> Iterator[Example]:
    number = 0
    for dialogue in found:
        said = [*dialogue.turns, *(("assistant", one) for one in dialogue.replies[:1])][:4]
        # Lines with choices and slots would have to be filled first.
        if len(said) < 4 or any(mark in text for _, text in said for mark in "|{["):
            continue
        turns = (PERSONA, *(Turn(role, text) for role, text in said))  # type: ignore[arg-type]  # the corpus checks roles
        template = loaded.template
        prompt = template.encode(template.render(turns[:-1]))
        whole = template.encode(template.render(turns, reply_follows=False))
        assert whole[: len(prompt)] == prompt
        number += 1
        yield Example(
            number, f"conversation {number}", "train", tuple(prompt),
            tuple(whole[len(prompt) :]), number % 2 == 0, 1.0, (f"rater {number}",),
        )  # fmt: skip


def made_135m(folder: Path) -> str:
    """Random weights in the shape of SmolLM-135M, with the built-in tokenizer."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=2048,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    built_in = Path(resolve(BUILT_IN))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((built_in / name).read_bytes())
    return str(folder)


Train = Callable[[str, Sequence[Example]], int]
"""One training with an objective; the number of its optimiser steps."""


def rapport(loaded: LoadedModel, work: Work) -> Train:
    """The training job as the engine's thread runs it."""
    resident = ResidentModel(loaded.model)
    settings = SftConfig(
        learning_rate=RATE, epochs=work.epochs, batch=BATCH, micro_batch=BATCH, rank=RANK,
        alpha=ALPHA, replay=0.0, kl=0.0,
    )  # fmt: skip

    def train(objective: str, examples: Sequence[Example]) -> int:
        choice = Choice(
            kto=objective == "kto", settings=PreferenceConfig(learning_rate=RATE, nll=0.0)
        )
        snapshot = Snapshot("bench", tuple(examples), (), ())
        with tempfile.TemporaryDirectory() as folder, torch.enable_grad():
            job = training_job(
                snapshot, settings, Path(folder) / "run", 0, loaded.info.end_ids,
                digest="bench", choice=choice,
            )  # fmt: skip
            *_, result = job(resident)
        assert isinstance(result, TrainResult)
        return result.steps

    return train


def trl(loaded: LoadedModel, work: Work, checkpointing: bool) -> Train:
    """TRL's trainer on a fresh copy of the weights, which it would alter."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback, ProgressCallback
    from trl import KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(resolve(work.model))
    resident = ResidentModel(loaded.model)
    kinds: dict[str, tuple[Any, Any]] = {
        "sft": (SFTTrainer, SFTConfig), "kto": (KTOTrainer, KTOConfig),
    }

    def data(objective: str, chosen: Sequence[Example]) -> Any:
        if objective == "sft":
            return Dataset.from_list([
                {
                    "input_ids": [*one.prompt_ids, *one.reply_ids],
                    "labels": [-100] * len(one.prompt_ids) + list(one.reply_ids),
                }
                for one in chosen
            ])  # fmt: skip
        decode = tokenizer.decode
        return Dataset.from_list([
            {"prompt": decode(one.prompt_ids), "completion": decode(one.reply_ids),
             "label": one.liked}
            for one in chosen
        ])  # fmt: skip

    def train(objective: str, examples: Sequence[Example]) -> int:
        trainer_kind, settings_kind = kinds[objective]
        with tempfile.TemporaryDirectory() as folder:
            extra = {} if objective == "sft" else {"precompute_ref_log_probs": True}
            settings = settings_kind(
                output_dir=folder, per_device_train_batch_size=BATCH, learning_rate=RATE,
                num_train_epochs=work.epochs, gradient_checkpointing=checkpointing,
                max_length=None, lr_scheduler_type="cosine", warmup_steps=0.1, weight_decay=0.0,
                max_grad_norm=1.0, report_to=[], save_strategy="no", logging_strategy="no",
                disable_tqdm=True, use_cpu=True, bf16=False, seed=0,
                dataloader_pin_memory=False, **extra,
            )  # fmt: skip
            trainer = trainer_kind(
                model=resident.twin(), args=settings, train_dataset=data(objective, examples),
                processing_class=tokenizer,
                peft_config=LoraConfig(
                    r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear",
                    task_type="CAUSAL_LM",
                ),
            )  # fmt: skip
            trainer.remove_callback(PrinterCallback)
            trainer.remove_callback(ProgressCallback)
            result = trainer.train()
            trainer.save_model(folder)
        return int(result.global_step)

    return train


def serve(peer: str, work: Work, pipe: Connection) -> None:
    """A peer's process: trains whenever it is told an objective, until it is told none."""
    warnings.simplefilter("ignore")
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    torch.set_num_threads(work.threads)
    loaded = load_model(
        ModelConfig(name=work.model, dtype="float32", device="cpu", threads=work.threads),
        EngineConfig(),
    )
    examples = examples_of(loaded, work.examples)
    train = (
        rapport(loaded, work) if peer == RAPPORT
        else trl(loaded, work, peer.endswith("checkpointing"))
    )
    pipe.send(sum(len(one.reply_ids) for one in examples))
    while objective := pipe.recv():
        # For sft all are liked, so that both objectives learn from as many.
        given = [replace(one, liked=one.liked or objective == "sft") for one in examples]
        # What is loaded at the first use belongs to nobody's run.
        train(objective, given[:BATCH])
        before = forget_peak()
        started = time.perf_counter()
        steps = train(objective, given)
        seconds = time.perf_counter() - started
        pipe.send(Run(seconds, (_status("VmHWM") - before) / 1024, steps))


def forget_peak() -> int:
    """What the process holds now, in KiB; its peak is counted from here on (Linux, glibc)."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def measure(work: Work, name: str, arguments: argparse.Namespace) -> list[Row]:
    """All peers in turn with each objective, `repeats` times."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    for peer in (RAPPORT, *arguments.peers):
        pipes[peer], far = context.Pipe()
        processes.append(context.Process(target=serve, args=(peer, work, far), daemon=True))
        processes[-1].start()
        far.close()
    supervised = {peer: int(pipe.recv()) for peer, pipe in pipes.items()}[RAPPORT] * work.epochs
    rows = []
    for objective in arguments.objectives:
        runs: dict[str, list[Run]] = {peer: [] for peer in pipes}
        for _ in range(arguments.repeats):
            for peer, pipe in pipes.items():
                pipe.send(objective)
                runs[peer].append(pipe.recv())
        assert len({run.steps for repeats in runs.values() for run in repeats}) == 1, runs
        found = [row(name, objective, peer, supervised, runs) for peer in pipes]
        for one in found:
            print(f"{one.model:6} {one.objective:5} {one.peer:18} {one.tokens_per_s:9.1f} "
                  f"{one.seconds:7.2f} {one.peak_mb:7.0f} {one.speed:16.2f} "
                  f"{one.memory:9.2f}", flush=True)
        rows += found
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send("")
        process.join()
    return rows


def row(
    model: str, objective: str, peer: str, supervised: int, runs: dict[str, list[Run]]
) -> Row:
    """A peer's repeats as medians, and beside Rapport's."""
    own, theirs = runs[RAPPORT], runs[peer]
    seconds = statistics.median(run.seconds for run in theirs)
    peak = statistics.median(run.peak_mb for run in theirs)
    ratios = [b.seconds / a.seconds for a, b in zip(own, theirs, strict=True)]
    return Row(
        model, objective, peer, supervised, round(seconds, 2), round(supervised / seconds, 1),
        round(peak, 1), round(statistics.median(ratios), 2),
        round(statistics.median(run.peak_mb for run in own) / peak, 2),
    )  # fmt: skip


def main() -> None:
    """Measure, print a table, and write the rows where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description="Training beside TRL's trainers."
    )
    parser.add_argument("--model", choices=MODELS, default="tiny")
    parser.add_argument("--objectives", nargs="+", choices=("sft", "kto"), default=["sft"])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=["trl"])
    parser.add_argument("--examples", type=int, default=0, help="0: 320, or 32 for 135m")
    parser.add_argument("--epochs", type=int, default=0, help="0: 3, or 1 for 135m")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    large = arguments.model == "135m"
    print(f"{'model':6} {'loss':5} {'peer':18} {'tokens/s':>9} {'s':>7} {'MB':>7} "
          f"{'Rapport: x speed':>16} {'x memory':>9}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(
            made_135m(Path(folder)) if large else BUILT_IN,
            arguments.examples or (32 if large else 320),
            arguments.epochs or (1 if large else 3), arguments.threads,
        )
        rows = measure(work, arguments.model, arguments)
    if arguments.json:
        text = json.dumps([asdict(one) for one in rows], indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
