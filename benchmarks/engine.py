"""How fast the engine talks in many channels at once, beside others on the same weights.

    python -m benchmarks.engine --channels 1 4 16 --json engine.json

All peers get the same weights, prompts, threads and dtype, and answer in turns within one
run, so that the ratio holds on a noisy machine. The engine is driven through its public
coroutines; nothing is measured inside it. Greedy, and every reply has the same number of
tokens: replies that would end earlier count no more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.peers import PEERS, Peer, Spoken, check, engine_peer
from benchmarks.processes.start import PROCESSES, opened
from bot.config import EngineConfig, ModelConfig
from bot.engine.local import LocalEngine
from bot.engine.model import load_model

PROMPT_TOKENS = 100


@dataclass(frozen=True)
class Row:
    """One peer at one number of channels: medians over the repeats."""

    peer: str
    channels: int
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p95_ms: float
    itl_p95_ms: float


async def measure(
    peers: dict[str, Peer], channels: Sequence[int], repeats: int, vocabulary: int
) -> list[Row]:
    """Every peer at every number of channels, in turn, `repeats` times after a warm-up."""
    rng = random.Random(0)
    rows = []
    for count in channels:
        runs: dict[str, list[Row]] = {name: [] for name in peers}
        for repeat in range(repeats + 1):
            prompts = draw(rng, count, vocabulary)
            for name, peer in peers.items():
                spoken = await peer(prompts)
                if repeat:
                    runs[name].append(row(name, spoken))
        rows += [median(runs[name]) for name in peers]
    return rows


def draw(rng: random.Random, count: int, vocabulary: int) -> list[list[int]]:
    """Random prompts."""
    return [[rng.randrange(10, vocabulary) for _ in range(PROMPT_TOKENS)] for _ in range(count)]


def row(peer: str, spoken: list[Spoken]) -> Row:
    """One run as a row; milliseconds."""
    first = sorted(one.first * 1e3 for one in spoken)
    gaps = sorted(gap * 1e3 for one in spoken for gap in one.gaps)
    return Row(
        peer, len(spoken), sum(one.tokens for one in spoken) / max(one.last for one in spoken),
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
    pythons = {name: getattr(arguments, name) for name in arguments.peers if name in PROCESSES}
    endless = replace(loaded, info=replace(loaded.info, end_ids=(), turn_ids=()))
    async with opened(pythons, loaded, max(arguments.channels)) as apart:
        # One model for both: the peers take turns, and never run it at the same time.
        engine = LocalEngine(endless, config, share=0.25)
        try:
            peers = {"rapport": engine_peer(engine)}
            peers |= {name: PEERS[name](loaded) for name in arguments.peers if name in PEERS}
            peers |= apart
            vocabulary = int(loaded.model.config.vocab_size)
            for count in arguments.channels:
                await check(peers, loaded, draw(random.Random(count), count, vocabulary))
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
        prog="python -m benchmarks.engine",
        description="The engine beside others on the same weights: generate() in turn, "
                    "transformers' continuous batching (cb), vLLM and llama.cpp.",
    )
    parser.add_argument("--model", default="rapport-tiny", help="built-in name, folder or hub id")
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--peers", nargs="*", default=["generate"],
                        choices=sorted([*PEERS, *PROCESSES]),
                        help="measured beside Rapport in the same run; none with nothing behind it")
    for name, packages in PROCESSES.items():
        parser.add_argument(f"--{name}", metavar="PYTHON", default=sys.executable,
                            help=f"a Python that has {packages}; by itself the one that runs this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    parser.add_argument("--json", type=Path, help="write the rows there")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
