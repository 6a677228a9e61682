"""How the replies of versions ended and how they were rated, for whoever watches a version.

Facts only; what they prove is decided elsewhere. Replies of another base model are left out:
they came from another mind of the same name.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from bot.store.access import Access
from bot.store.schema import current_votes, exchanges, votes
from bot.store.values import Said
from bot.store.votes import as_vote
from bot.types import Vote


class Rated(Access):
    """The votes on versions, and how their replies ended."""

    async def votes_before(self, adapter: str, base: str, moment: datetime) -> list[Vote]:
        """The votes that hold for what a version said before a moment."""
        rows = await self._rows(
            select(current_votes)
            .join(exchanges, exchanges.c.id == current_votes.c.exchange_id)
            .where(
                current_votes.c.adapter == adapter,
                exchanges.c.base == base,
                exchanges.c.time < moment,
            )
        )
        return [as_vote(row) for row in rows]

    async def votes_since(self, base: str, moment: datetime) -> dict[str, list[Vote]]:
        """The votes that hold for what was said from a moment on, by version."""
        # Nobody votes on a reply before it is given: so the newest votes are enough.
        lately = select(votes.c.exchange_id).where(votes.c.time >= moment)
        rows = await self._rows(
            select(current_votes)
            .join(exchanges, exchanges.c.id == current_votes.c.exchange_id)
            .where(
                current_votes.c.exchange_id.in_(lately),
                exchanges.c.base == base,
                exchanges.c.time >= moment,
            )
        )
        found: dict[str, list[Vote]] = {}
        for row in rows:
            found.setdefault(row.adapter, []).append(as_vote(row))
        return found

    async def last_said(self, base: str, limit: int) -> list[Said]:
        """The newest `limit` replies of a base and its versions, oldest first."""
        first = (
            select(func.min(current_votes.c.time))
            .where(current_votes.c.exchange_id == exchanges.c.id)
            .scalar_subquery()
        )
        table = exchanges.c
        rows = await self._rows(
            select(
                table.adapter, table.finish, table.time, table.reply, table.reply_ids,
                first.label("rated"),
            )
            .where(table.base == base)
            .order_by(table.id.desc())
            .limit(limit)
        )  # fmt: skip
        return [
            Said(row.adapter, row.finish, row.reply, row.reply_ids, row.time, row.rated)
            for row in reversed(rows)
        ]
