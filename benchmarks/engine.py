"""How fast the engine talks in many channels at once, beside `generate()` in turn.

    python -m benchmarks.engine --channels 1 4 16 --json engine.json

Both peers get the same weights, prompts, threads and dtype, and answer in turns within one
run, so that the ratio holds on a noisy machine. The engine is driven through its public
coroutines; nothing is measured inside it. Greedy, and every reply has the same number of
tokens: replies that would end earlier count no more.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bot.config import EngineConfig, ModelConfig
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel, load_model
from bot.types import Sampling

PROMPT_TOKENS = 100
REPLY_TOKENS = 48


@dataclass(frozen=True)
class Row:
    """One peer at one number of channels: medians over the repeats."""

    peer: str
    channels: int
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p95_ms: float
    itl_p95_ms: float


@dataclass(frozen=True)
class Spoken:
    """One reply as the listener saw it, in seconds from the start."""

    tokens: int
    first: float
    gaps: tuple[float, ...]


Peer = Callable[[list[list[int]]], Coroutine[Any, Any, list[Spoken]]]


def engine_peer(engine: LocalEngine) -> Peer:
    """All prompts at once through `Engine.stream`."""
    sampling = Sampling(temperature=0.0, repetition_penalty=1.0, max_tokens=REPLY_TOKENS)

    async def listen(prompt: list[int], start: float) -> Spoken:
        times: list[float] = []
        tokens = 0
        async for delta in engine.stream(Request(prompt, sampling=sampling)):
            tokens += len(delta.ids)
            times.append(time.perf_counter())
        gaps = tuple(b - a for a, b in itertools.pairwise(times))
        return Spoken(tokens, times[0] - start, gaps)

    async def speak(prompts: list[list[int]]) -> list[Spoken]:
        start = time.perf_counter()
        return list(await asyncio.gather(*(listen(prompt, start) for prompt in prompts)))

    return speak


def generate_peer(loaded: LoadedModel) -> Peer:
    """One prompt after another through transformers' `generate`, as most bots do."""
    from transformers.generation.streamers import BaseStreamer

    class Clock(BaseStreamer):
        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: Any) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    def answer(prompt: list[int], start: float) -> Spoken:
        clock = Clock()
        ids = torch.tensor([prompt])
        model: Any = loaded.model
        with torch.inference_mode():
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, streamer=clock,
                max_new_tokens=REPLY_TOKENS, pad_token_id=0,
            )
        # The streamer is handed the prompt first.
        times = clock.times[1:]
        gaps = tuple(b - a for a, b in itertools.pairwise(times))
        return Spoken(output.shape[1] - len(prompt), times[0] - start, gaps)

    async def speak(prompts: list[list[int]]) -> list[Spoken]:
        start = time.perf_counter()
        return [await asyncio.to_thread(answer, prompt, start) for prompt in prompts]

    return speak


PEERS: dict[str, Callable[[LoadedModel], Peer]] = {"generate": generate_peer}
"""Whom one can be measured beside."""


async def measure(
    peers: dict[str, Peer], channels: Sequence[int], repeats: int, vocabulary: int
) -> list[Row]:
    """Every peer at every number of channels, in turn, `repeats` times after a warm-up."""
    rng = random.Random(0)
    rows = []
    for count in channels:
        runs: dict[str, list[Row]] = {name: [] for name in peers}
        for repeat in range(repeats + 1):
            prompts = [
                [rng.randrange(10, vocabulary) for _ in range(PROMPT_TOKENS)]
                for _ in range(count)
            ]
            for name, peer in peers.items():
                start = time.perf_counter()
                spoken = await peer(prompts)
                if repeat:
                    runs[name].append(row(name, spoken, time.perf_counter() - start))
        rows += [median(runs[name]) for name in peers]
    return rows


def row(peer: str, spoken: list[Spoken], seconds: float) -> Row:
    """One run as a row; milliseconds."""
    first = sorted(one.first * 1e3 for one in spoken)
    gaps = sorted(gap * 1e3 for one in spoken for gap in one.gaps)
    return Row(
        peer, len(spoken), sum(one.tokens for one in spoken) / seconds,
        quantile(first, 0.5), quantile(first, 0.95), quantile(gaps, 0.95),
    )  # fmt: skip


def median(rows: list[Row]) -> Row:
    """The median of each figure over repeats of one case."""
    figures = {
        name: round(statistics.median(getattr(one, name) for one in rows), 1)
        for name in ("tokens_per_s", "ttft_p50_ms", "ttft_p95_ms", "itl_p95_ms")
    }
    return Row(rows[0].peer, rows[0].channels, **figures)


def quantile(values: list[float], share: float) -> float:
    """A quantile of sorted values; 0.0 of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


async def main(arguments: argparse.Namespace) -> None:
    """Load the model once, let the peers take turns, print and write the rows."""
    model = ModelConfig(name=arguments.model, dtype="float32", threads=arguments.threads)
    config = EngineConfig(rows=max(arguments.channels), queue=max(arguments.channels))
    loaded = load_model(model, config)
    # Random prompts may be answered by a mark at once; here nobody ends early.
    loaded.model.generation_config.eos_token_id = None
    endless = replace(loaded, info=replace(loaded.info, end_ids=(), turn_ids=()))
    # One model for both: the peers take turns, and never run it at the same time.
    engine = LocalEngine(endless, config, share=0.25)
    try:
        peers = {"rapport": engine_peer(engine)}
        peers |= {name: PEERS[name](loaded) for name in arguments.peers}
        vocabulary = int(loaded.model.config.vocab_size)
        rows = await measure(peers, arguments.channels, arguments.repeats, vocabulary)
    finally:
        await engine.close()
    for one in rows:
        print(
            f"{one.peer:>9} {one.channels:3d} channels {one.tokens_per_s:8.1f} tokens/s  "
            f"TTFT {one.ttft_p50_ms:.0f}/{one.ttft_p95_ms:.0f} ms  ITL p95 {one.itl_p95_ms:.1f} ms"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(one) for one in rows], indent=2) + "\n")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description="The engine beside generate() in turn."
    )
    parser.add_argument("--model", default="rapport-tiny", help="built-in name, folder or hub id")
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--peers", nargs="*", default=["generate"], choices=sorted(PEERS),
                        help="measured beside Rapport in the same run; none with nothing behind it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    parser.add_argument("--json", type=Path, help="write the rows there")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
