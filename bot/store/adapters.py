"""Adapter versions, which of them is champion, and how each was judged.

Only what is known about a version is here; its files are the registry's. The newest row
of `champions` says who serves; the status ``champion`` follows it in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, get_args, get_type_hints

from sqlalchemy import Connection, Row, insert, or_, select, update

from bot.errors import StoreError
from bot.store.access import Access
from bot.store.schema import adapters, champions, verdicts
from bot.types import BASE, AdapterRef

STATUSES: frozenset[str] = frozenset(get_args(get_type_hints(AdapterRef)["status"]))


class Adapters(Access):
    """The versions the model can answer with."""

    async def add_adapter(
        self,
        name: str,
        run_id: int | None,
        status: str,
        base: str,
        created: datetime,
        metrics: dict[str, Any],
    ) -> None:
        """Make a version known.

        Raises:
            StoreError: the name is taken, the run unknown, or the status not allowed here.
        """
        _check_status(name, status)
        row = {
            "name": name,
            "run_id": run_id,
            "status": status,
            "base": base,
            "created": created,
            "metrics": metrics,
        }

        def write(connection: Connection) -> None:
            if _exists(connection, name):
                raise StoreError(f"there is an adapter {name} already; versions never change")
            connection.execute(insert(adapters).values(row))

        await self._write(write)

    async def set_adapter_status(self, name: str, status: str) -> None:
        """Change the status of a version; only `set_champion` makes a champion.

        Raises:
            StoreError: there is no such adapter, or the status is not allowed here.
        """
        _check_status(name, status)

        def write(connection: Connection) -> None:
            statement = update(adapters).where(adapters.c.name == name).values(status=status)
            if connection.execute(statement).rowcount == 0:
                raise StoreError(f"there is no adapter {name}")

        await self._write(write)

    async def adapters(self) -> list[AdapterRef]:
        """Every version, newest last, with the sentence of its newest verdict."""
        sentence = (
            select(verdicts.c.sentence)
            .where(verdicts.c.adapter == adapters.c.name)
            .order_by(verdicts.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        rows = await self._rows(
            select(adapters, sentence.label("sentence")).order_by(adapters.c.id)
        )
        return [AdapterRef(row.name, row.status, row.created, row.sentence or "") for row in rows]

    async def run_of(self, adapter: str) -> int | None:
        """The run that made a version; None where none did, or there is no such version."""
        rows = await self._rows(select(adapters.c.run_id).where(adapters.c.name == adapter))
        return rows[0].run_id if rows else None

    async def champion(self) -> str:
        """The name of the version that serves, or `BASE`."""
        rows = await self._rows(select(champions.c.name).order_by(champions.c.id.desc()).limit(1))
        return rows[0].name if rows else BASE

    async def set_champion(self, name: str, reason: str, time: datetime) -> None:
        """Let `name` (or `BASE`) serve; the one before it retires, all in one transaction.

        Raises:
            StoreError: there is no such adapter.
        """

        def write(connection: Connection) -> None:
            if name != BASE and not _exists(connection, name):
                raise StoreError(f"there is no adapter {name}")
            connection.execute(
                update(adapters).where(adapters.c.status == "champion").values(status="retired")
            )
            connection.execute(
                update(adapters).where(adapters.c.name == name).values(status="champion")
            )
            connection.execute(insert(champions).values(name=name, reason=reason, time=time))

        await self._write(write)

    async def champions(self) -> list[tuple[str, str, datetime]]:
        """Who served, as (name, reason, since), newest last."""
        rows = await self._rows(select(champions).order_by(champions.c.id))
        return [(row.name, row.reason, row.time) for row in rows]

    async def add_verdict(
        self,
        adapter: str,
        champion: str,
        outcome: str,
        sentence: str,
        checks: list[dict[str, Any]],
        time: datetime,
        samples: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        """Keep what the gate said of `adapter` against `champion`.

        Args:
            samples: (prompt, the champion's reply, the adapter's reply), a few.
        """
        row = {
            "adapter": adapter,
            "champion": champion,
            "outcome": outcome,
            "sentence": sentence,
            "checks": checks,
            "time": time,
            "samples": [list(sample) for sample in samples],
        }
        await self._write(lambda connection: connection.execute(insert(verdicts).values(row)))

    async def wipe_samples(self, names: Collection[str]) -> None:
        """Empty the sample replies of every verdict in which one of these versions speaks."""
        some = list(names)
        spoke = or_(verdicts.c.adapter.in_(some), verdicts.c.champion.in_(some))
        await self._write(
            lambda connection: connection.execute(update(verdicts).where(spoke).values(samples=[]))
        )

    async def verdict(self, adapter: str) -> dict[str, Any] | None:
        """The newest verdict on an adapter; its keys are the arguments of `add_verdict`."""
        rows = await self._rows(
            select(verdicts)
            .where(verdicts.c.adapter == adapter)
            .order_by(verdicts.c.id.desc())
            .limit(1)
        )
        return _verdict(rows[0]) if rows else None

    async def verdicts(self, base: str | None = None) -> list[dict[str, Any]]:
        """Every verdict, newest last; with `base`, those on adapters of that base model."""
        query = select(verdicts).order_by(verdicts.c.id)
        if base is not None:
            query = query.join(adapters, adapters.c.name == verdicts.c.adapter)
            query = query.where(adapters.c.base == base)
        return [_verdict(row) for row in await self._rows(query)]


def _check_status(name: str, status: str) -> None:
    if status == "champion":
        raise StoreError(f"{name} becomes champion by set_champion only")
    if status not in STATUSES:
        raise StoreError(f"{status!r} is no adapter status; one of {', '.join(sorted(STATUSES))}")


def _exists(connection: Connection, name: str) -> bool:
    return connection.scalar(select(adapters.c.id).where(adapters.c.name == name)) is not None


def _verdict(row: Row[Any]) -> dict[str, Any]:
    return {
        "adapter": row.adapter,
        "champion": row.champion,
        "outcome": row.outcome,
        "sentence": row.sentence,
        "checks": row.checks,
        "time": row.time,
        "samples": [tuple(sample) for sample in row.samples],
    }
