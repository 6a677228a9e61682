"""What it costs to serve adapters beside the weights and not within them.

At each number of rows three ways take turns on the same prompts: a copy of the model with an
adapter merged into its weights, which serves nothing else; one version for all rows; and a mix of
versions and the base, row by row. Each turn has an engine of its own, because two engines in a
process take the cores from each other. The cost is what the merged copy is faster by: the median
of the repeats' ratios, so that it holds on a noisy machine.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.scenarios.channels import greedy, hear, words
from benchmarks.scenarios.models import RANK, endless, merged, write_adapters
from bot.config import EngineConfig
from bot.engine.apart import apart
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel
from bot.types import BASE

ROWS = (1, 8, 32)
PROMPT, REPLY = 100, 48
"""Tokens."""
VERSIONS = 3
MERGED, ONE, MIX = "merged", "one version", "mix"


@dataclass(frozen=True)
class Row:
    """One way at one number of rows: medians over the repeats."""

    rows: int
    way: str
    versions: int
    """Adapters in the batch; the base is in a mix as well."""
    tokens_per_s: float
    cost: float
    """How many times faster the merged weights are, less 1."""


@dataclass(frozen=True)
class Result:
    """All ways at all numbers of rows."""

    rank: int
    rows: list[Row]

    def __str__(self) -> str:
        return "\n".join([f"adapters of rank {self.rank}:"] + [
            f"lora {one.rows:3d} rows {one.way:>11}: {one.tokens_per_s:8.1f} tokens/s"
            + ("" if one.way == MERGED else f"  {one.cost:+.1%} beside merged weights")
            for one in self.rows
        ])


async def measure(
    loaded: LoadedModel, repeats: int, rows: Sequence[int] = ROWS, reply: int = REPLY
) -> Result:
    """All ways in turn, `repeats` times after a warm-up."""
    with TemporaryDirectory() as folder:
        places = apart(lambda: write_adapters(loaded, Path(folder), VERSIONS))
        config = EngineConfig(rows=max(rows), queue=max(rows), adapter_rank=RANK)
        named = {f"v{number}": place for number, place in enumerate(places)}
        within, beside = apart(lambda: endless(merged(loaded, places[0]))), endless(loaded)
        ways: Ways = {
            MERGED: (within, {}, [BASE]),
            ONE: (beside, named, [*named][:1]),
            MIX: (beside, named, [*named, BASE]),
        }
        found = []
        for count in rows:
            found += await _compared(ways, config, count, repeats, reply)
    return Result(RANK, found)


Ways = dict[str, tuple[LoadedModel, dict[str, Path], list[str]]]
"""A model, the versions beside it, and what the rows are served by in turn."""


async def _compared(
    ways: Ways, config: EngineConfig, rows: int, repeats: int, reply: int
) -> list[Row]:
    rng = random.Random(rows)
    # A single row is no mix.
    asked = {way: found for way, found in ways.items() if rows > 1 or way != MIX}
    speeds: dict[str, list[float]] = {way: [] for way in asked}
    for _ in range(repeats):
        for way, (loaded, versions, served) in asked.items():
            vocabulary = int(loaded.model.config.vocab_size)
            engine = LocalEngine(loaded, config, share=0.25)
            try:
                for name, place in versions.items():
                    await engine.load(name, place)
                for _ in ("to warm up", "to measure"):
                    prompts = [words(rng, PROMPT, vocabulary) for _ in range(rows)]
                    speed = await _speed(engine, prompts, served, reply)
            finally:
                await engine.close()
            speeds[way].append(speed)
    return [
        Row(
            rows, way, 0 if way == MERGED else len({*islice(cycle(asked[way][2]), rows)} - {BASE}),
            round(statistics.median(found), 1),
            round(statistics.median(
                fast / slow for fast, slow in zip(speeds[MERGED], found, strict=True)
            ) - 1, 3),
        )
        for way, found in speeds.items()
    ]  # fmt: skip


async def _speed(
    engine: LocalEngine, prompts: Sequence[Sequence[int]], adapters: Sequence[str], reply: int
) -> float:
    """Tokens a second over all rows, prefill included."""
    heard = await asyncio.gather(*(
        hear(engine, Request(prompt, adapter, greedy(reply)))
        for prompt, adapter in zip(prompts, cycle(adapters), strict=False)
    ))
    began = min(one.began for one in heard)
    return sum(len(one.ids) for one in heard) / (max(one.times[-1] for one in heard) - began)
