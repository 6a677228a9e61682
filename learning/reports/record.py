"""What is still known of a version: from the store, and from its files while they are there.

A version's files may be pruned, or removed because words in it were forgotten; the store goes
on knowing its run, its curve and its verdict. Nothing is kept here, so that what people have
deleted is gone from every report as well. Who reads it, and in which form, is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.errors import AdapterError, LearningError
from bot.learning_port import ReportState
from bot.store import Judgement, Run, Store
from bot.types import BASE
from learning.registry import Registry
from learning.types import Manifest

STATES: Mapping[str, ReportState] = {
    "champion": "serving", "waiting": "waiting", "rejected": "turned away", "shadow": "shadow",
    "retired": "retired", "broken": "retired",
}
BECOMES: Mapping[str, ReportState] = {
    "promote": "serving", "shadow": "shadow", "reject": "turned away",
}
"""What becomes of a version that was judged a moment ago."""


@dataclass(frozen=True, slots=True)
class Record:
    """One version."""

    name: str
    status: str
    created: datetime
    likes: int
    votes: int
    """On its replies."""
    run: Run | None
    """The run that made it."""
    curve: tuple[tuple[int, str, float], ...]
    verdict: Mapping[str, Any] | None
    """The newest, as `Store.verdict` gives it."""
    manifest: Manifest | None
    missing: str = ""
    """Why there is no manifest."""
    judgements: tuple[Judgement, ...] = ()
    """What people said who compared it with others, blind."""

    @property
    def settings(self) -> dict[str, Any]:
        """What it was trained and judged with; ``gate.`` names are the gate's.

        Of a version without files only what its run was asked for is known.
        """
        asked = {} if self.run is None else dict(self.run.settings)
        trained = asked.pop("sft", {})
        found = flat({**asked, **trained})
        if self.manifest is not None:
            found |= flat({"seed": self.manifest.seed, **self.manifest.settings})
        return found

    @property
    def metrics(self) -> dict[str, float]:
        """All its figures: of its training, and those reported with its verdict."""
        found = {} if self.run is None else dict(self.run.metrics)
        # How often the run was begun is no figure of the version.
        found.pop("starts", None)
        trained = {} if self.manifest is None else self.manifest.metrics
        return {name: float(value) for name, value in {**trained, **found}.items()
                if isinstance(value, int | float)}

    def judged(self) -> Mapping[str, Any]:
        """The newest verdict.

        Raises:
            LearningError: there is none.
        """
        if self.verdict is None:
            raise LearningError(
                f"{self.name} was never judged; `rapport adapters list` shows what was"
            )
        return self.verdict

    @property
    def state(self) -> ReportState:
        """How it stands now."""
        return state_of(self.status, str(self.judged()["outcome"]))


async def record_of(store: Store, registry: Registry, name: str) -> Record:
    """What is known of one version.

    Raises:
        AdapterError: there is no such version.
    """
    if name == BASE:
        raise AdapterError("the base model is what versions are made from: nothing is kept of it")
    known = {ref.name: ref for ref in await store.adapters()}
    if name not in known:
        raise AdapterError(f"there is no {name}; `rapport adapters list` shows them")
    likes, votes = await store.like_rate(name)
    number = await store.run_of(name)
    manifest, missing = None, ""
    try:
        manifest = await asyncio.to_thread(registry.manifest, name)
    except AdapterError as error:
        missing = str(error)
    return Record(
        name, known[name].status, known[name].created, likes, votes,
        run=None if number is None else await store.run(number),
        curve=() if number is None else tuple(await store.curve(number)),
        verdict=await store.verdict(name), manifest=manifest, missing=missing,
        judgements=tuple(await store.judgements_of(name)),
    )


def state_of(status: str, outcome: str) -> ReportState:
    """How a version stands, by its status and what the gate said last."""
    return STATES.get(status) or BECOMES[outcome]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
