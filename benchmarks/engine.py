"""How fast the engine talks in many channels at once, beside others on the same weights.

    python -m benchmarks.engine --channels 1 4 16 --json engine.json --plot engine.png
    python -m benchmarks.engine --swap --soak 1000 --json engine.json

All peers get the same weights, prompts, threads and dtype, and answer in turns within one
run, so that the ratio holds on a noisy machine. The engine is driven through its public
coroutines; nothing is measured inside it. Greedy, and every reply has the same number of
tokens: replies that would end earlier count no more.

What happens beside plain talking is measured by the scenarios (`benchmarks.scenarios`), which are
asked for one by one. The JSON is an object: the machine, the rows of the table, and a key for
each scenario; it is written anew after each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers.utils.logging import disable_progress_bar

from benchmarks.figures import quantile
from benchmarks.outcome import machine, versions
from benchmarks.peers import PEERS, Peer, Spoken, check, engine_peer
from benchmarks.picture import draw
from benchmarks.processes.start import PROCESSES, opened
from benchmarks.scenarios.asked import add_options, asked, measured, refuse_nonsense
from benchmarks.scenarios.models import endless
from benchmarks.training import made_135m
from bot.config import EngineConfig, ModelConfig
from bot.engine.apart import apart
from bot.engine.local import LocalEngine
from bot.engine.model import BUILT_IN, LoadedModel, load_model
from bot.errors import RapportError

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
            prompts = random_prompts(rng, count, vocabulary)
            for name, peer in peers.items():
                spoken = await peer(prompts)
                if repeat:
                    runs[name].append(row(name, spoken))
        rows += [median(runs[name]) for name in peers]
    return rows


def random_prompts(rng: random.Random, count: int, vocabulary: int) -> list[list[int]]:
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


async def table(loaded: LoadedModel, arguments: argparse.Namespace) -> list[Row]:
    """The engine and its peers on one model."""
    config = EngineConfig(rows=max(arguments.channels), queue=max(arguments.channels))
    pythons = {name: getattr(arguments, name) for name in arguments.peers if name in PROCESSES}
    async with opened(pythons, loaded, max(arguments.channels)) as others:
        # One model for both: the peers take turns, and never run it at the same time.
        engine = LocalEngine(endless(loaded), config, share=0.25)
        try:
            peers = {"rapport": engine_peer(engine)}
            peers |= {name: PEERS[name](loaded) for name in arguments.peers if name in PEERS}
            peers |= others
            vocabulary = int(loaded.model.config.vocab_size)
            for count in arguments.channels:
                prompts = random_prompts(random.Random(count), count, vocabulary)
                await check(peers, loaded, prompts)
            rows = await measure(peers, arguments.channels, arguments.repeats, vocabulary)
        finally:
            await engine.close()
    for one in rows:
        print(
            f"{one.peer:>9} {one.channels:3d} channels {one.tokens_per_s:8.1f} tokens/s  "
            f"TTFT {one.ttft_p50_ms:.0f}/{one.ttft_p95_ms:.0f} ms  ITL p95 {one.itl_p95_ms:.1f} ms"
        )
    return rows


@contextmanager
def named(model: str) -> Iterator[str]:
    """What the engine knows a model by; one of random weights is there meanwhile."""
    with TemporaryDirectory() as folder:
        if model == "135m":
            model = apart(lambda: made_135m(Path(folder) / "135m"))
        yield BUILT_IN if model == "tiny" else model


async def main(arguments: argparse.Namespace) -> None:
    """Load the model once, measure what is asked for, print it and write it down."""
    with named(arguments.model) as name:
        await _measured_on(name, arguments)


async def _measured_on(name: str, arguments: argparse.Namespace) -> None:
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' own
    model = ModelConfig(name=name, dtype="float32", threads=arguments.threads)
    loaded = load_model(model, EngineConfig())
    # Random prompts may be answered by a mark at once; here nobody ends early.
    loaded.model.generation_config.eos_token_id = None
    found: dict[str, Any] = {"machine": machine(loaded.info) | versions(), "rows": []}

    def write() -> None:
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=2) + "\n")

    if arguments.channels:
        found["rows"] = [asdict(one) for one in await table(loaded, arguments)]
        write()
        if arguments.plot:
            draw(found["rows"], arguments.plot)
    async for name, result in measured(arguments, loaded):
        print(result, flush=True)
        found[name] = asdict(result)
        write()


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description="The engine beside others on the same weights: generate() in turn, "
                    "transformers' continuous batching (cb), vLLM and llama.cpp.",
    )
    parser.add_argument("--model", default="tiny",
                        help="tiny (built in), 135m (random weights in that shape), a folder or a "
                             "hub id")
    parser.add_argument("--channels", type=int, nargs="+",
                        help="1 4 16, or no table where a scenario is asked for")
    parser.add_argument("--peers", nargs="*", default=["generate"],
                        choices=sorted([*PEERS, *PROCESSES]),
                        help="measured beside Rapport in the same run; none with nothing behind it")
    for name, packages in PROCESSES.items():
        parser.add_argument(f"--{name}", metavar="PYTHON", default=sys.executable,
                            help=f"a Python that has {packages}; by itself the one that runs this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the process may use")
    parser.add_argument("--json", type=Path, help="write what was measured there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the table there")
    add_options(parser)
    arguments = parser.parse_args(words)
    refuse_nonsense(parser, arguments)
    if arguments.channels is None:
        arguments.channels = [] if asked(arguments) and not arguments.plot else [1, 4, 16]
    return arguments


if __name__ == "__main__":
    try:
        asyncio.run(main(parse()))
    except RapportError as error:
        sys.exit(f"error: {error}")
