"""A verdict made readable: what the store keeps of it, with a picture, as a `Report`.

It reads the store and draws; it knows neither the engine nor who asks. A picture is drawn in
a thread and takes less than a second; the last few are kept, because a report is asked for
again by everybody who presses a button below it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from bot.errors import LearningError
from bot.learning_port import Report, ReportCheck
from bot.store import Store
from bot.types import BASE
from learning.reports.picture import draw_verdict
from learning.reports.record import state_of
from learning.serving import called

KEPT = 8
"""Pictures that are kept."""


async def report_of(store: Store, name: str | None = None) -> Report:
    """The newest verdict, or the newest on one version.

    Raises:
        LearningError: there is none.
    """
    verdict = await _verdict(store, name)
    adapter = str(verdict["adapter"])
    run = await store.run_of(adapter)
    curve = [] if run is None else await store.curve(run)
    status = {ref.name: ref.status for ref in await store.adapters()}.get(adapter, "retired")
    return Report(
        adapter=adapter,
        champion=verdict["champion"],
        outcome=verdict["outcome"],
        state=state_of(status, verdict["outcome"]),
        sentence=verdict["sentence"],
        checks=tuple(
            ReportCheck(check["name"], bool(check["passed"]), check["reason"])
            for check in verdict["checks"]
        ),
        samples=tuple(verdict["samples"]),
        picture=await asyncio.to_thread(picture_of, verdict, curve),
    )


def picture_of(verdict: Mapping[str, Any], curve: Sequence[tuple[int, str, float]]) -> bytes:
    """The PNG of a verdict and of the run that made the version; empty without matplotlib."""
    shown = [verdict[name] for name in ("sentence", "checks", "adapter", "champion")]
    try:
        return _drawn(json.dumps(shown), tuple((step, name, at) for step, name, at in curve))
    except ImportError:  # matplotlib is absent
        return b""


@lru_cache(maxsize=KEPT)
def _drawn(shown: str, curve: tuple[tuple[int, str, float], ...]) -> bytes:
    sentence, checks, adapter, champion = json.loads(shown)
    return draw_verdict(sentence, checks, curve, adapter=adapter, champion=called(champion))


async def _verdict(store: Store, name: str | None) -> dict[str, Any]:
    if name is None:
        every = await store.verdicts()
        if not every:
            raise LearningError("nothing has been judged yet; /learn retrain starts a run")
        return every[-1]
    if name == BASE:
        raise LearningError("the base model is what versions are compared with; it has no verdict")
    verdict = await store.verdict(name)
    if verdict is None:
        raise LearningError(f"{name} was never judged; /learn adapters lists every version")
    return verdict
