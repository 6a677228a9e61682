"""What runs of `benchmarks.learning` came to: rows, their means, a table, and on what machine.

Arithmetic and words only. The base needs no measuring: its ratio to itself is 0 everywhere, so
its AUC is that of a coin, and on its own replies nothing has changed.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import bot
from bot.engine.base import ModelInfo

PACKAGES = ("torch", "transformers", "numpy")


@dataclass(frozen=True)
class Case:
    """What is measured once."""

    objective: str
    votes: int
    flipped: float
    """Share of raters."""
    seed: int

    def __str__(self) -> str:
        flipped = f", {self.flipped:.0%} flipped" if self.flipped else ""
        return f"{self.objective} by {self.votes} votes{flipped}, seed {self.seed}"


@dataclass(frozen=True)
class Row(Case):
    """One run."""

    trained_by: str
    """What the objective came to: votes may be too few for it."""
    why: str
    liked: int
    """Replies learned from."""
    disliked: int
    drawn: int
    """Replies of the base that were chosen to learn from as well."""
    reward: float
    """Nats a token."""
    auc: float
    head_auc: float | None
    """On the hold-out; None where no head chose anything."""
    head_left_out: float | None
    """On the votes the head learned from, each left out in turn."""
    anchor_rise: float | None
    """A share of the base's NLL; None where the base's replies did not end by themselves."""
    kl: float | None
    """To the base on those replies, in nats a token."""
    steps: int
    preparing_s: float
    """For replies of the base."""
    training_s: float


BASE_ROW = Row(
    "base", 0, 0.0, 0, "none", "nothing was learned", 0, 0, 0, 0.0, 0.5, None, None, 0.0,
    0.0, 0, 0.0, 0.0,
)  # fmt: skip
FIGURES = ("reward", "auc", "head_auc", "anchor_rise", "kl", "preparing_s", "training_s")


@dataclass(frozen=True)
class Mean:
    """A figure over the seeds."""

    value: float
    error: float | None
    """Standard error; None of a single run."""
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """Of one value at least."""
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        return cls(statistics.fmean(values), error, len(values))


def means(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Every objective, size and share of flipped raters over its seeds; None where not measured."""
    found = []
    for (objective, votes, flipped), some in _groups(rows).items():
        figures: dict[str, Any] = {}
        for name in FIGURES:
            values = [value for one in some if (value := getattr(one, name)) is not None]
            figures[name] = asdict(Mean.of(values)) if values else None
        trained_by = dict(Counter(one.trained_by for one in some))
        about = {"objective": objective, "votes": votes, "flipped": flipped, "runs": len(some)}
        found.append(about | {"trained_by": trained_by} | figures)
    return found


def table(rows: Iterable[Row]) -> str:
    """Means with their standard errors, for a terminal."""
    lines = [
        f"{'objective':9} {'votes':>5} {'flipped':>7} {'runs':>4} {'Δreward, nats':>18} "
        f"{'AUC':>13} {'head AUC':>13} {'anchor NLL':>16} {'training, s':>13}  trained by"
    ]
    for one in means(rows):
        ways = ", ".join(
            name if times == one["runs"] else f"{name} {times}x"
            for name, times in one["trained_by"].items()
        )
        lines.append(
            f"{one['objective']:9} {one['votes'] or '':>5} {one['flipped']:7.0%} "
            f"{one['runs']:4} {_said(one['reward'], '+.4f', '.4f'):>18} "
            f"{_said(one['auc'], '.3f', '.3f'):>13} {_said(one['head_auc'], '.3f', '.3f'):>13} "
            f"{_said(one['anchor_rise'], '+.2%', '.2%'):>16} "
            f"{_said(one['training_s'], '.1f', '.1f'):>13}  {ways}"
        )
    return "\n".join(lines)


def _groups(rows: Iterable[Row]) -> dict[tuple[str, int, float], list[Row]]:
    """By size and share, the base first, and the objectives as they were named."""
    groups: defaultdict[tuple[str, int, float], list[Row]] = defaultdict(list)
    for one in rows:
        groups[one.objective, one.votes, one.flipped].append(one)
    return dict(sorted(groups.items(), key=lambda item: item[0][1:]))


def _said(figure: dict[str, Any] | None, form: str, error_form: str) -> str:
    if figure is None:
        return "-"
    value = format(figure["value"], form)
    return value if figure["error"] is None else f"{value} ± {format(figure['error'], error_form)}"


def machine(info: ModelInfo) -> dict[str, Any]:
    """Where it was measured, and on what model."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "system": platform.platform(), "processor": (names or [platform.processor()])[0],
        "cores": os.cpu_count(), "threads": torch.get_num_threads(), "device": info.device,
        "dtype": info.dtype, "model": info.name, "parameters": info.parameters,
        "fingerprint": info.fingerprint, "context": info.context,
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Of Rapport, Python, and what computes."""
    found = {"rapport": bot.__version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in PACKAGES}
