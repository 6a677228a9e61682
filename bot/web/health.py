"""What machines ask: whether this process lives, whether it can talk, and how it does.

Three addresses without a page. Who may ask is the server's to decide, what the numbers are
`bot.metrics`', and what a platform waits for is its own knowledge; here they are answered in the
way that Kubernetes, Docker and Prometheus ask.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from bot.engine.base import Engine, EngineStats
from bot.errors import StoreError
from bot.metrics import Metrics
from bot.platforms.base import Platform
from bot.store import Store

OK = "ok"
CLOSED = "the model takes no more replies; see the log, and start Rapport again"
STUCK = "the model has not moved for {:.0f} s; the log says where it hangs"
GOOD = 1.0
"""Seconds for which an answer of the disk is good: anybody may ask."""
PATIENCE = 3.0
"""Seconds that the disk has to take a write."""


def health_routes(
    metrics: Metrics, store: Store, engine: Engine, platforms: Sequence[Platform],
    *, patience: float = PATIENCE, good: float = GOOD,
) -> APIRouter:
    """``/healthz``, ``/readyz`` and ``/metrics``.

    Args:
        platforms: those that talk; looked at anew each time.
        patience: seconds that the database has to take a write.
        good: seconds for which its answer is good.
    """
    router = APIRouter(include_in_schema=False)
    disk = _Disk(store, patience, good)

    @router.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse(OK)

    @router.get("/readyz")
    async def readyz() -> Response:
        checks = {"model": _state(engine.stats()), "database": await disk.state()}
        for platform in platforms:
            awaited = platform.waits_for()
            checks[platform.name] = f"waits for {awaited}" if awaited else OK
        ready = all(state == OK for state in checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)

    @router.get("/metrics")
    async def metrics_now() -> Response:
        text, media_type = await metrics.exposition()
        return Response(text, media_type=media_type)

    return router


def _state(stats: EngineStats) -> str:
    """Of the model: ``ok``, or what is wrong."""
    if not stats.open:
        return CLOSED
    return STUCK.format(stats.stuck) if stats.stuck else OK


class _Disk:
    """Whether the database can be written; asked once at a time, however many want to know."""

    def __init__(self, store: Store, patience: float, good: float) -> None:
        self._store = store
        self._patience = patience
        self._good = good
        self._write: asyncio.Task[None] | None = None
        self._begun = -math.inf

    async def state(self) -> str:
        """``ok``, or what is wrong."""
        fresh = time.monotonic() - self._begun < self._good
        if self._write is None or (self._write.done() and not fresh):
            self._begun = time.monotonic()
            self._write = asyncio.create_task(self._store.check_writable())
        write = self._write
        await asyncio.wait([write], timeout=self._patience)
        if not write.done():
            return (
                f"no write within {self._patience:g} s: the disk hangs, or another program holds "
                "the database"
            )
        try:
            write.result()
        except StoreError as error:
            return str(error)
        return OK
