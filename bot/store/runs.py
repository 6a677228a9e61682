"""Learning runs, their curves, and the names of the versions they make.

A run is unfinished until `finished` is set, whatever its status says: after a crash
that is how the learning room finds what it must go on with or give up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from bot.errors import StoreError
from bot.store.access import Access
from bot.store.conversations import inserted
from bot.store.schema import curve_points, runs, versions
from bot.store.values import Run


class Runs(Access):
    """What the learning room did and is doing."""

    async def start_run(self, trigger: str, settings: dict[str, Any]) -> int:
        """Begin a run, as of now, with status ``running``; its id."""
        row = {
            "trigger": trigger,
            "settings": settings,
            "status": "running",
            "stage": "",
            "progress": 0.0,
            "message": "",
            "started": datetime.now(UTC),
            "metrics": {},
        }
        return await self._write(
            lambda connection: inserted(connection.execute(insert(runs).values(row)))
        )

    async def update_run(
        self,
        run_id: int,
        *,
        status: str | None = None,
        stage: str | None = None,
        progress: float | None = None,
        adapter: str | None = None,
        snapshot: str | None = None,
        message: str | None = None,
        finished: datetime | None = None,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        """Change what is given and leave the rest; `metrics` are replaced as a whole.

        Raises:
            StoreError: there is no such run.
        """
        given = {
            "status": status,
            "stage": stage,
            "progress": progress,
            "adapter": adapter,
            "snapshot": snapshot,
            "message": message,
            "finished": finished,
            "metrics": metrics,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        if not changes:
            return

        def write(connection: Connection) -> None:
            statement = update(runs).where(runs.c.id == run_id).values(changes)
            if connection.execute(statement).rowcount == 0:
                raise StoreError(f"there is no run {run_id}")

        await self._write(write)

    async def add_curve_points(self, run_id: int, points: Sequence[tuple[int, str, float]]) -> None:
        """Add (step, name, value) points; a resumed run may say a point again.

        Raises:
            StoreError: there is no such run.
        """
        values = {(step, name): value for step, name, value in points}

        def write(connection: Connection) -> None:
            for (step, name), value in values.items():
                place = {"run_id": run_id, "step": step, "name": name}
                connection.execute(
                    delete(curve_points).where(
                        *(curve_points.c[column] == item for column, item in place.items())
                    )
                )
                kept = None if math.isnan(value) else value
                connection.execute(insert(curve_points).values(place | {"value": kept}))

        if values:
            await self._write(write)

    async def curve(self, run_id: int, since: int = 0) -> list[tuple[int, str, float]]:
        """The (step, name, value) points of a run from a step on, by step, then name."""
        rows = await self._rows(
            select(curve_points)
            .where(curve_points.c.run_id == run_id, curve_points.c.step >= since)
            .order_by(curve_points.c.step, curve_points.c.name)
        )
        return [(row.step, row.name, math.nan if row.value is None else row.value) for row in rows]

    async def runs(self, limit: int = 20) -> list[Run]:
        """The newest `limit` runs, newest first."""
        return await self._runs(select(runs).order_by(runs.c.id.desc()).limit(limit))

    async def run(self, run_id: int) -> Run | None:
        """One run."""
        found = await self._runs(select(runs).where(runs.c.id == run_id))
        return found[0] if found else None

    async def unfinished_runs(self) -> list[Run]:
        """The runs that were never said to be finished, oldest first."""
        return await self._runs(select(runs).where(runs.c.finished.is_(None)).order_by(runs.c.id))

    async def _runs(self, query: Select[Any]) -> list[Run]:
        return [_run(row) for row in await self._rows(query)]

    async def next_version(self) -> str:
        """A version name (``v0001``, ...) that was never given before and never will be."""
        row = {"time": datetime.now(UTC)}
        number = await self._write(
            lambda connection: inserted(connection.execute(insert(versions).values(row)))
        )
        return f"v{number:04d}"


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        trigger=row.trigger,
        settings=row.settings,
        status=row.status,
        stage=row.stage,
        progress=row.progress,
        adapter=row.adapter,
        snapshot=row.snapshot,
        message=row.message,
        started=row.started,
        finished=row.finished,
        metrics=row.metrics,
    )
