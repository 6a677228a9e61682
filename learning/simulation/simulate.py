"""`rapport simulate`: scripted raters drive the real loop, round by round, and it is measured.

A round is votes on fresh replies of whatever serves, one learning run, and a measurement
on held-out prompts when another version serves than before. Replies, votes and training
go through the same conversation and the same learning loop as on any day; only the people
are scripted. This module knows no rater's taste and no training method; it counts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from bot.config import Config
from bot.engine.base import Engine
from bot.errors import DataError
from bot.learning_port import Learning
from bot.likerate import LikeRate
from bot.store import Store
from bot.types import BASE, VoteValue
from learning.awaited import Outcome, train_once
from learning.durable import write_file
from learning.simulation.asking import SOURCE, Asked, Talk, ask_all, places
from learning.simulation.crowd import derived_seed
from learning.simulation.heldout import Drawn, HeldOut
from learning.simulation.plan import Plan, SimulationSettings, config_for, plan
from learning.simulation.plot import plot_simulation
from learning.simulation.questions import asked_in_turn

__all__ = ["SimulationProgress", "SimulationSettings", "config_for", "plan", "simulate"]

PATIENCE = 20
"""Replies asked for each vote wanted, before the rater is said to abstain too often."""

Stage = Literal["voting", "training", "evaluating"]


@dataclass(frozen=True, slots=True)
class SimulationProgress:
    """How far a simulation has come, for a progress bar."""

    stage: Stage
    round: int
    rounds: int
    done: int
    """Of this stage."""
    total: int
    like_rate: float | None
    """Of the version that served when it was last measured."""


class App(Protocol):
    """What is used of `bot.app`."""

    @property
    def config(self) -> Config:
        """What it was opened with."""

    @property
    def engine(self) -> Engine:
        """What serves."""

    @property
    def store(self) -> Store:
        """Where everything is kept."""

    @property
    def conversation(self) -> Talk:
        """The one way through."""

    @property
    def learning(self) -> Learning:
        """The learning half."""


async def simulate(
    app: App, settings: SimulationSettings, report: Callable[[SimulationProgress], None]
) -> dict[str, Any]:
    """Run a simulation in an empty data folder; the result is also written where asked.

    Returns:
        ``rounds`` (round 0 is the base before any vote), ``final`` and ``settings``.

    Raises:
        DataError: a file cannot be used, the rater fails, or the data folder is not empty.
        LearningError: a reply or a learning run failed.
    """
    known = await app.store.count_exchanges()
    if known:
        raise DataError(
            f"the data folder holds {known} replies already; a simulation needs an empty one: "
            "choose another with --data"
        )
    loaded = await asyncio.to_thread(plan, settings)
    result = await Simulation(app, settings, loaded, report).run()
    await asyncio.to_thread(_write, result, settings)
    return result


class Simulation:
    """One simulation, from its first vote to its last measurement."""

    def __init__(
        self,
        app: App,
        settings: SimulationSettings,
        loaded: Plan,
        report: Callable[[SimulationProgress], None],
    ) -> None:
        self._app = app
        self._settings = settings
        self._crowd = loaded.crowd
        self._report = report
        self._round = 0
        self._asked = 0
        self._questions = asked_in_turn(loaded.voted, settings.seed)
        self._held_out = HeldOut(
            app.engine, app.config, loaded.held_out, settings.held_out, settings.seed
        )
        self._measured: dict[str, LikeRate] = {}
        self._serving = BASE
        self._base_replies: list[Drawn] = []

    async def run(self) -> dict[str, Any]:
        """All rounds and the summary, as JSON values."""
        rollbacks: list[str] = []
        unlisten = self._app.learning.listen(
            lambda event: rollbacks.append(event.text) if event.kind == "rolled_back" else None
        )
        try:
            rounds = [await self._first_round()]
            for votes in self._settings.rounds:
                rounds.append(await self._next_round(votes, rounds[-1]["votes"]))
        finally:
            unlisten()
        outcomes = [one["verdict"] for one in rounds]
        change = await self._held_out.nll_change(self._base_replies, self._serving)
        final = {
            "like_rate": rounds[-1]["like_rate"],
            "base_like_rate": rounds[0]["like_rate"],
            "promotions": outcomes.count("promote"),
            "rejections": outcomes.count("reject"),
            "shadows": outcomes.count("shadow"),
            "rollbacks": len(rollbacks),
            "anchor_nll_change": round(change, 5),
        }
        return {"rounds": rounds, "final": final, "settings": self._settings.summary()}

    async def _first_round(self) -> dict[str, Any]:
        started = time.perf_counter()
        await self._evaluate()
        evaluated = time.perf_counter() - started
        return self._record(0, Outcome(None, ""), (0.0, 0.0, evaluated))

    async def _next_round(self, votes: int, before: int) -> dict[str, Any]:
        self._round += 1
        clock = [time.perf_counter()]
        await self._vote(votes)
        clock.append(time.perf_counter())
        self._tell("training", 0, 100)
        outcome = await train_once(
            self._app.learning, self._app.store,
            lambda share, _: self._tell("training", round(100 * share), 100),
        )
        clock.append(time.perf_counter())
        await self._evaluate()
        clock.append(time.perf_counter())
        spent = (clock[1] - clock[0], clock[2] - clock[1], clock[3] - clock[2])
        return self._record(before + votes, outcome, spent)

    async def _vote(self, wanted: int) -> None:
        """Ask until `wanted` votes are given; who abstains is made up for by more questions."""
        store, talk = self._app.store, self._app.conversation
        given, first = 0, self._asked
        while given < wanted:
            batch = [self._next_question() for _ in range(wanted - given)]
            earlier, all_in_all = batch[0].number - first, self._asked - first

            def answered(done: int, earlier: int = earlier, total: int = all_in_all) -> None:
                self._tell("voting", earlier + done, total)

            answers = await ask_all(talk, store, batch, places(self._app.config), answered)
            # In a thread: a rater may think as long as it likes.
            texts = [answer.text for answer in answers]
            values = await asyncio.to_thread(self._opinions, batch, texts)
            for asked, answer, value in zip(batch, answers, values, strict=True):
                if value is not None and answer.exchange_id is not None:
                    vote = cast(VoteValue, value)
                    await talk.ratings.vote(
                        asked.channel, answer.exchange_id, asked.user, vote, SOURCE
                    )
                    given += 1
            if given < wanted and self._asked - first > PATIENCE * (wanted + 3):
                raise DataError(
                    f"{self._settings.rater} voted on {given} of {self._asked - first} replies; "
                    "a rater must vote more often than that"
                )

    def _next_question(self) -> Asked:
        number = self._asked
        self._asked += 1
        seed = derived_seed(self._settings.seed, "reply", number)
        return Asked(number, self._crowd.user(number), next(self._questions), seed)

    def _opinions(self, batch: list[Asked], texts: list[str]) -> list[int | None]:
        return [
            self._crowd.vote(asked.number, asked.question.messages, text)
            for asked, text in zip(batch, texts, strict=True)
        ]

    async def _evaluate(self) -> None:
        """Measure what serves now, unless it has been measured."""
        self._serving = await self._app.store.champion()
        if self._serving in self._measured:
            return
        total = len(self._held_out)
        self._tell("evaluating", 0, total)
        replies = await self._held_out.draw(
            self._serving, lambda done: self._tell("evaluating", done, total)
        )
        rate = await asyncio.to_thread(self._held_out.rate, self._crowd, replies)
        self._measured[self._serving] = rate
        if self._serving == BASE:
            self._base_replies = replies

    def _record(
        self, votes: int, outcome: Outcome, spent: tuple[float, float, float]
    ) -> dict[str, Any]:
        rate = self._measured[self._serving]
        return {
            "round": self._round,
            "votes": votes,
            "adapter": self._serving,
            "like_rate": round(rate.value, 4),
            "ci": [round(end, 4) for end in rate.interval],
            "rated": rate.rated,
            "verdict": outcome.verdict,
            "reason": outcome.reason,
            "seconds": round(sum(spent), 2),
            "voting_seconds": round(spent[0], 2),
            "training_seconds": round(spent[1], 2),
            "evaluating_seconds": round(spent[2], 2),
        }

    def _tell(self, stage: Stage, done: int, total: int) -> None:
        rate = self._measured.get(self._serving)
        self._report(
            SimulationProgress(
                stage, self._round, len(self._settings.rounds), done, total,
                rate.value if rate else None,
            )
        )


def _write(result: dict[str, Any], settings: SimulationSettings) -> None:
    try:
        if settings.json is not None:
            write_file(settings.json, (json.dumps(result, indent=2) + "\n").encode())
        if settings.plot is not None:
            plot_simulation(result, settings.plot, f"Like-rate: {settings.rater.stem}")
    except OSError as error:
        raise DataError(f"cannot write {error.filename}: {error.strerror}") from error
