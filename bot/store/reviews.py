"""What operators decided about replies that were to be looked at before they are learned from.

Decisions are facts: each is kept as it came, and the last one about an exchange counts.
They go with their exchange. Which exchanges wait for one is an opinion, and made elsewhere.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from bot.errors import StoreError
from bot.store.access import Access
from bot.store.schema import exchanges, reviews
from bot.store.values import Review


class Reviews(Access):
    """Operators' decisions."""

    async def add_review(self, exchange_id: int, keep: bool, by: str, time: datetime) -> None:
        """Keep what somebody decided about an exchange.

        Args:
            by: who, as ``platform/person``.

        Raises:
            StoreError: there is no such exchange.
        """
        row = {
            "exchange_id": exchange_id, "decision": "keep" if keep else "drop", "by": by,
            "time": time,
        }

        def write(connection: Connection) -> None:
            there = select(func.count()).where(exchanges.c.id == exchange_id)
            if not connection.scalar(there):
                raise StoreError(f"there is no exchange {exchange_id} to decide about")
            connection.execute(insert(reviews).values(row))

        await self._write(write)

    async def reviews(self) -> list[Review]:
        """Every decision as it came, oldest first."""
        rows = await self._rows(select(reviews).order_by(reviews.c.id))
        return [Review(row.exchange_id, row.decision == "keep", row.by, row.time) for row in rows]
