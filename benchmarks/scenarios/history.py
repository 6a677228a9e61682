"""How soon a reply begins after a long conversation, with and without what was read of it before.

For each length a channel says that much, is answered, and says something more. That second turn is
measured twice: in its channel, where all before it is kept, and for nobody, where all is read
anew. Lengths and both ways take turns, so that the ratios hold on a noisy machine.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scenarios.channels import Heard, greedy, hear, words
from benchmarks.scenarios.models import endless, with_room_for
from bot.config import EngineConfig
from bot.engine.base import Request
from bot.engine.local import LocalEngine
from bot.engine.model import LoadedModel

REPLY, TURN, FIRST_REPLY = 32, 16, 4
"""Tokens: of the reply that is measured, of what is said before it, of the reply before that."""
SHORT, LONG, GOAL = 256, 2048, 1.5
"""With the prefix kept, the first token after `LONG` tokens may take so many times as long as after
`SHORT`."""
KEPT_MB = 2048
"""So that a long conversation is kept at all."""


@dataclass(frozen=True)
class Row:
    """The second turn after one length of history: medians over the repeats."""

    history: int
    kept: bool
    """Whether what came before is kept from the turn before."""
    ttft_ms: float
    total_ms: float
    """Of the whole reply."""
    reused_tokens: int


@dataclass(frozen=True)
class Result:
    """All lengths on one model."""

    model: str
    parameters: int
    reply_tokens: int
    turn_tokens: int
    rows: list[Row]
    ratio_kept: float | None
    """TTFT after `LONG` tokens divided by that after `SHORT`; None where not both were asked."""
    ratio_not_kept: float | None
    goal: float = GOAL

    def __str__(self) -> str:
        lines = [
            f"history {one.history:6d} {'kept' if one.kept else 'read anew':>9}  "
            f"TTFT {one.ttft_ms:.0f} ms  {self.reply_tokens} tokens {one.total_ms:.0f} ms  "
            f"{one.reused_tokens} reused"
            for one in self.rows
        ]
        if self.ratio_kept is not None:
            lines.append(f"TTFT({LONG}) / TTFT({SHORT}): {self.ratio_kept} kept, "
                         f"{self.ratio_not_kept} read anew (goal: {GOAL} kept)")
        return "\n".join([f"history, on {self.model}:", *lines])


async def measure(loaded: LoadedModel, lengths: Sequence[int], repeats: int) -> Result:
    """Every length and both ways in turn, `repeats` times after a warm-up."""
    lengths = sorted(set(lengths))
    with with_room_for(lengths[-1] + TURN + REPLY, loaded) as model:
        config = EngineConfig(rows=2, prefix_cache_mb=KEPT_MB)
        engine = LocalEngine(endless(model), config, share=0.25)
        try:
            heard = await _turns(engine, lengths, repeats, int(model.model.config.vocab_size))
        finally:
            await engine.close()
        rows = [_row(length, kept, turns) for (length, kept), turns in heard.items()]
        first = {(one.history, one.kept): one.ttft_ms for one in rows}
        ratios = [
            round(first[LONG, kept] / first[SHORT, kept], 2)
            if (LONG, kept) in first and (SHORT, kept) in first else None
            for kept in (True, False)
        ]
        info = model.info
        return Result(info.name, info.parameters, REPLY, TURN, rows, ratios[0], ratios[1])


async def _turns(
    engine: LocalEngine, lengths: Sequence[int], repeats: int, vocabulary: int
) -> dict[tuple[int, bool], list[Heard]]:
    rng = random.Random(0)
    heard: defaultdict[tuple[int, bool], list[Heard]] = defaultdict(list)
    for repeat in range(repeats + 1):
        for length in lengths:
            said = words(rng, max(1, length - FIRST_REPLY), vocabulary)
            before = await hear(engine, Request(said, sampling=greedy(FIRST_REPLY), cache_key="a"))
            prompt = [*said, *before.ids, *words(rng, TURN, vocabulary)]
            for key in ("a", ""):
                turn = await hear(engine, Request(prompt, sampling=greedy(REPLY), cache_key=key))
                if repeat:
                    heard[length, bool(key)].append(turn)
            engine.forget_prefix("a")
    return heard


def _row(length: int, kept: bool, turns: list[Heard]) -> Row:
    return Row(
        length, kept, round(1e3 * statistics.median(one.first for one in turns), 1),
        round(1e3 * statistics.median(one.total for one in turns), 1),
        min(one.timings.reused_tokens for one in turns),
    )  # fmt: skip
