"""A verdict made readable: what the store keeps of it, with a picture, as a `Report`.

It reads the store and draws; it knows neither the engine nor who asks. The picture is drawn
anew each time, in a thread: it is rarely wanted, and takes less than a second.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bot.errors import LearningError
from bot.learning_port import Report, ReportCheck, ReportState
from bot.store import Store
from bot.types import BASE
from learning.serving import called
from learning.verdict_picture import draw_verdict

_STATES: dict[str, ReportState] = {
    "champion": "serving", "waiting": "waiting", "rejected": "turned away", "shadow": "shadow",
    "retired": "retired", "broken": "retired",
}
_BECOMES: dict[str, ReportState] = {
    "promote": "serving", "shadow": "shadow", "reject": "turned away",
}
"""What becomes of a version that was judged a moment ago."""


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
        state=_STATES.get(status) or _BECOMES[verdict["outcome"]],
        sentence=verdict["sentence"],
        checks=tuple(
            ReportCheck(check["name"], bool(check["passed"]), check["reason"])
            for check in verdict["checks"]
        ),
        samples=tuple(verdict["samples"]),
        picture=await asyncio.to_thread(_picture, verdict, curve),
    )


def _picture(verdict: dict[str, Any], curve: list[tuple[int, str, float]]) -> bytes:
    try:
        return draw_verdict(
            verdict["sentence"], verdict["checks"], curve,
            adapter=verdict["adapter"], champion=called(verdict["champion"]),
        )
    except ImportError:  # matplotlib is absent
        return b""


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
