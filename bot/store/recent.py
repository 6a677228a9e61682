"""The newest facts, for whoever looks on: votes with where they came from, timings, outcomes.

Every question reads a bounded number of rows by their number, whatever the tables have grown to.
Facts only, as they came: which vote still holds and what it all comes to is made elsewhere.
"""

from __future__ import annotations

from sqlalchemy import func, select

from bot.store.access import Access
from bot.store.exchanges import timings_of
from bot.store.schema import bans, channels, exchanges, reviews, verdicts, votes
from bot.store.values import Cast, Outcome, Timed


class Recent(Access):
    """What happened last."""

    async def mark(self) -> tuple[int, ...]:
        """The numbers of the newest vote and of the newest decisions of an operator.

        While they are the same nobody has voted or decided. One step in each key.
        """
        newest = [
            select(func.max(table.c.id)).scalar_subquery() for table in (votes, reviews, bans)
        ]
        rows = await self._rows(select(*newest))
        return tuple(number or 0 for number in rows[0])

    async def newest_votes(self, limit: int) -> list[Cast]:
        """The last `limit` votes as they came, flips and withdrawals too, oldest first.

        Two look-ups by key for each.
        """
        newest = select(func.max(votes.c.id)).scalar_subquery()
        rows = await self._rows(
            select(
                votes.c.exchange_id, votes.c.rater, votes.c.value, votes.c.source, votes.c.time,
                exchanges.c.adapter, channels.c.platform, channels.c.guild,
            )
            .join(exchanges, exchanges.c.id == votes.c.exchange_id)
            .join(channels, channels.c.id == exchanges.c.channel_id)
            .where(votes.c.id > newest - limit)
            .order_by(votes.c.id)
        )  # fmt: skip
        return [
            Cast(
                row.exchange_id, row.rater, row.value, row.source, row.time, row.adapter,
                row.platform, row.guild,
            )
            for row in rows
        ]  # fmt: skip

    async def newest_timings(self, limit: int) -> list[Timed]:
        """Where the time of the last `limit` replies went, oldest first."""
        newest = select(func.max(exchanges.c.id)).scalar_subquery()
        table = exchanges.c
        rows = await self._rows(
            select(table.id, table.adapter, table.time, table.timings)
            .where(table.id > newest - limit)
            .order_by(table.id)
        )
        return [Timed(row.id, row.adapter, row.time, timings_of(row.timings)) for row in rows]

    async def outcomes(self) -> dict[str, Outcome]:
        """What the gate said last of every version; its checks and samples stay unread."""
        table = verdicts.c
        rows = await self._rows(
            select(table.adapter, table.champion, table.outcome, table.sentence).order_by(table.id)
        )
        return {row.adapter: Outcome(row.outcome, row.champion, row.sentence) for row in rows}

    async def last_sentence(self) -> str:
        """What the gate said last of all; empty where nothing was judged yet."""
        rows = await self._rows(
            select(verdicts.c.sentence).order_by(verdicts.c.id.desc()).limit(1)
        )
        return str(rows[0].sentence) if rows else ""
