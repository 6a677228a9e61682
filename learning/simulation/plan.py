"""What a simulation was asked for, and the people and prompts it is made with.

Values and the reading of files only: nothing here knows a store, a model or a run, so that
a mistake in a file is found before anything is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.config import Config, ScheduleConfig
from bot.errors import DataError
from learning.simulation.crowd import Crowd, Trolls, load_rater
from learning.simulation.questions import Question, read_questions, split


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """What `rapport simulate` was asked for."""

    rater: Path
    prompts: Path | None = None
    votes: int = 300
    every: int = 60
    raters: int = 10
    trolls: tuple[Trolls, ...] = ()
    seed: int = 0
    held_out: int = 200
    """Held-out replies in a measurement, at least; more when there are more prompts."""
    json: Path | None = None
    plot: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            DataError: a number below 1, more trolls than people, or no folder for a result.
        """
        for name in ("votes", "every", "raters", "held_out"):
            if getattr(self, name) < 1:
                raise DataError(f"--{name.replace('_', '-')} must be at least 1")
        if sum(group.share for group in self.trolls) > 1.0:
            raise DataError("the shares of --trolls come to more than 1")
        for path in (self.json, self.plot):
            if path is not None and not path.parent.is_dir():
                raise DataError(f"cannot write {path}: there is no folder {path.parent}")

    @property
    def rounds(self) -> tuple[int, ...]:
        """How many votes each round has; the last may have fewer."""
        full, rest = divmod(self.votes, self.every)
        return (self.every,) * full + ((rest,) if rest else ())

    def summary(self) -> dict[str, Any]:
        """The settings as JSON values, for the record."""
        return {
            "rater": self.rater.stem,
            "prompts": self.prompts.name if self.prompts else "everyday.txt",
            "votes": self.votes,
            "every": self.every,
            "raters": self.raters,
            "trolls": [f"{group.share:g}:{group.behaviour}" for group in self.trolls],
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The people and the prompts of a simulation, read from their files."""

    crowd: Crowd
    voted: list[Question]
    held_out: list[Question]


def plan(settings: SimulationSettings) -> Plan:
    """Read the rater and the prompts; call it early to learn of mistakes early. Blocks.

    Raises:
        DataError: one of the files cannot be used.
    """
    crowd = Crowd(load_rater(settings.rater), settings.raters, settings.trolls, settings.seed)
    return Plan(crowd, *split(read_questions(settings.prompts)))


def config_for(config: Config) -> Config:
    """The configuration to open the app with: runs start when the simulation says so only.

    Nobody sits there to approve of anything.
    """
    learning = config.learning.model_copy(
        update={"schedule": ScheduleConfig(), "enabled": True, "approval": "auto"}
    )
    return config.model_copy(update={"learning": learning})
