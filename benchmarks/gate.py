"""How often the gate would let through what nobody voted for.

    python -m benchmarks.gate --rater short_replies --votes 300 --permutations 1000 --json gate.json

A simulation is played as `rapport simulate` plays it, on the built-in model. Whenever the gate
judges, what candidate and champion make of each vote that may judge is noted. Then the votes
are dealt out anew, at random, over the same replies: whatever a candidate has learned, it has
nothing to do with such votes. How often they would have passed is the error of that gate; a
campaign errs when any of its gates does. Only the checks that look at votes are asked, so the
whole gate errs less often than this.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.outcome import machine, versions
from bot.app import ADAPTERS
from bot.config import Config, GateConfig
from bot.conversation import Conversation
from bot.engine.base import Engine, ModelInfo
from bot.engine.choosing import Choosing
from bot.engine.local import LocalEngine
from bot.engine.model import load_model
from bot.likerate import wilson
from bot.logs import quiet_libraries
from bot.store import Store
from bot.types import BASE, Sampling
from learning.gate.judge import held_out, judge
from learning.gate.voted import Voted, votes_checks
from learning.loop import LearningLoop
from learning.registry import Registry
from learning.simulation.simulate import (
    SimulationProgress,
    SimulationSettings,
    config_for,
    simulate,
)
from learning.taste.choosing import Liked
from learning.types import Snapshot, Verdict


@dataclass(frozen=True)
class Gate:
    """What one gate had to judge by."""

    voted: tuple[Voted, ...]
    gates_before: int
    over_base: bool
    outcome: str
    sentence: str


class Noting:
    """The gate, which notes what it was shown."""

    def __init__(self) -> None:
        self.gates: list[Gate] = []

    async def __call__(
        self, engine: Engine, snapshot: Snapshot, candidate: str, champion: str,
        config: GateConfig, gates_before: int, sampling: Sampling, persona: str, seed: int,
        forbidden: Any, besides: Sequence[Voted], heads: Any,
    ) -> Verdict:
        """As `learning.gate.judge.judge`."""
        verdict = await judge(
            engine, snapshot, candidate, champion, config, gates_before, sampling, persona, seed,
            forbidden, besides, heads,
        )
        voted = await held_out(
            engine, snapshot, candidate, champion, config, sampling, seed, heads
        )
        self.gates.append(
            Gate(
                (*voted, *besides), gates_before, champion == BASE, verdict.outcome,
                verdict.sentence,
            )
        )
        return verdict


@dataclass(frozen=True)
class World:
    """What a simulation needs of an app."""

    config: Config
    engine: Engine
    store: Store
    conversation: Conversation
    learning: LearningLoop


async def play(
    config: Config, settings: SimulationSettings
) -> tuple[list[Gate], dict[str, Any], ModelInfo]:
    """The gates of one simulation, its result, and the model it was played on."""
    noting = Noting()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        liked = Liked(LocalEngine(load_model(config.model, config.engine), config.engine, 1.0))
        engine = Choosing(liked, config.engine.rows, liked.ranker)
        async with await Store.open(data) as store:
            loop = LearningLoop(
                engine, store, Registry(data / ADAPTERS), config, data, judge=noting
            )
            await loop.recover()
            talk = Conversation(engine, store, config, loop.current, on_vote=loop.on_vote)
            running = asyncio.create_task(loop.run())
            try:
                world = World(config, engine, store, talk, loop)
                result = await simulate(cast(Any, world), settings, _show())
            finally:
                running.cancel()
                await asyncio.wait([running])
                await engine.close()
    return noting.gates, result, engine.info


def errors(gates: Sequence[Gate], config: GateConfig, permutations: int, seed: int) -> np.ndarray:
    """Whether votes dealt out at random would have passed: ``[permutations, gates]``."""
    rng = np.random.default_rng(seed)
    passed = np.zeros((permutations, len(gates)), dtype=bool)
    for place, gate in enumerate(gates):
        liked = [one.liked for one in gate.voted]
        if gate.outcome == "shadow":
            continue  # too few votes to judge by, whatever they say
        for number in range(permutations):
            dealt = rng.permutation(liked)
            voted = [
                replace(one, liked=bool(like)) for one, like in zip(gate.voted, dealt, strict=True)
            ]
            checks = votes_checks(voted, config, gate.gates_before, gate.over_base)
            passed[number, place] = all(check.passed for check in checks)
    return passed


def _show() -> Callable[[SimulationProgress], None]:
    """Says once of each stage that it is over."""
    said: set[tuple[int, str]] = set()

    def show(at: SimulationProgress) -> None:
        if at.done == at.total and (at.round, at.stage) not in said:
            said.add((at.round, at.stage))
            print(f"round {at.round} of {at.rounds}: {at.stage} done", flush=True)

    return show


def _share(passed: np.typing.NDArray[np.bool_]) -> dict[str, float]:
    low, high = wilson(int(passed.sum()), len(passed))
    return {"share": float(passed.mean()), "low": low, "high": high}


def main() -> None:
    """Measure, print, and write the file that was asked for."""
    parser = argparse.ArgumentParser(description="How often the gate lets luck through.")
    parser.add_argument("--rater", default="short_replies", help="a built-in rater")
    parser.add_argument("--votes", type=int, default=300)
    parser.add_argument("--every", type=int, default=60)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--held-out", type=int, default=1, help="replies to measure a version by")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    quiet_libraries()
    config = config_for(Config.model_validate({"model": {"threads": asked.threads}}))
    settings = SimulationSettings(
        Path(asked.rater), votes=asked.votes, every=asked.every, seed=asked.seed,
        held_out=asked.held_out,
    )
    gates, result, info = asyncio.run(play(config, settings))
    passed = errors(gates, config.learning.gate, asked.permutations, asked.seed)
    about = {
        "measured": datetime.now(UTC).isoformat(), "machine": machine(info), "versions": versions(),
        "settings": settings.summary() | {"permutations": asked.permutations},
        "gates": [
            {"votes": len(gate.voted), "liked": sum(one.liked for one in gate.voted),
             "outcome": gate.outcome, "sentence": gate.sentence, **_share(passed.T[place])}
            for place, gate in enumerate(gates)
        ],
        "campaign": _share(np.any(passed, axis=1)),
        "rounds": result["rounds"],
    }  # fmt: skip
    for place, gate in enumerate(about["gates"], 1):
        print(f"gate {place}: {gate['votes']} votes, {gate['liked']} liked, {gate['outcome']}; "
              f"votes at random pass {gate['share']:.1%} (to {gate['high']:.1%})")  # fmt: skip
    campaign = about["campaign"]
    print(f"campaign: {campaign['share']:.1%} (95 % interval {campaign['low']:.1%} to "
          f"{campaign['high']:.1%}) of {asked.permutations}")  # fmt: skip
    if asked.json:
        asked.json.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
