"""Events for the admins, and the few settings that survive a restart.

Neither knows what its values mean: they are JSON, kept and given back.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from bot.store.access import Access
from bot.store.schema import events, settings
from bot.store.values import Event


class Journal(Access):
    """What happened, and what was switched."""

    async def add_event(self, kind: str, data: dict[str, Any], time: datetime) -> None:
        """Keep an event."""
        row = {"kind": kind, "data": data, "time": time}
        await self._write(lambda connection: connection.execute(insert(events).values(row)))

    async def events(self, kind: str | None = None, limit: int = 50) -> list[Event]:
        """The newest `limit` events, of one kind or of all, newest first."""
        query = select(events).order_by(events.c.id.desc()).limit(limit)
        if kind is not None:
            query = query.where(events.c.kind == kind)
        return [Event(row.id, row.kind, row.data, row.time) for row in await self._rows(query)]

    async def get_setting(self, key: str) -> Any | None:
        """The value of a setting, or None where it was never set."""
        rows = await self._rows(select(settings.c.value).where(settings.c.key == key))
        return rows[0].value if rows else None

    async def set_setting(self, key: str, value: Any) -> None:
        """Keep a JSON value under `key`, in place of the one before."""

        def write(connection: Connection) -> None:
            connection.execute(delete(settings).where(settings.c.key == key))
            connection.execute(insert(settings).values(key=key, value=value))

        await self._write(write)
