"""How the replies of versions ended and how they were rated, for whoever watches a version.

Facts only; what they prove is decided elsewhere. Replies of another base model are left out:
they came from another mind of the same name.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import case, func, select

from bot.store.access import Access
from bot.store.schema import current_votes, exchanges, votes
from bot.store.values import Ending, Said
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

    async def votes_since(
        self, base: str, moment: datetime, on: Collection[int] | None = None
    ) -> dict[str, list[Vote]]:
        """The votes that hold for what was said from a moment on, by version.

        Args:
            on: only those on these exchanges.
        """
        # Nobody votes on a reply before it is given: so the newest votes are enough.
        lately = select(votes.c.exchange_id).where(votes.c.time >= moment)
        among = current_votes.c.exchange_id.in_(lately if on is None else on)
        rows = await self._rows(
            select(current_votes)
            .join(exchanges, exchanges.c.id == current_votes.c.exchange_id)
            .where(among, exchanges.c.base == base, exchanges.c.time >= moment)
        )
        found: dict[str, list[Vote]] = {}
        for row in rows:
            found.setdefault(row.adapter, []).append(as_vote(row))
        return found

    async def last_ends(self, adapter: str, base: str, limit: int, lately: int) -> list[Ending]:
        """How the newest `limit` replies of a version ended, among the last `lately` of all.

        Oldest first.
        """
        table = exchanges.c
        newest = select(func.max(table.id)).scalar_subquery()
        ids = case((table.finish == "length", table.reply_ids), else_=None)
        rows = await self._rows(
            select(table.finish, table.reply, ids.label("ids"))
            .where(table.adapter == adapter, table.base == base, table.id > newest - lately)
            .order_by(table.id.desc())
            .limit(limit)
        )
        return [Ending(row.finish, row.reply, row.ids or ()) for row in reversed(rows)]

    async def last_said(self, base: str, limit: int) -> list[Said]:
        """The newest `limit` replies of a base and its versions, oldest first."""
        first = (
            select(func.min(current_votes.c.time))
            .where(current_votes.c.exchange_id == exchanges.c.id)
            .scalar_subquery()
        )
        table = exchanges.c
        rows = await self._rows(
            select(table.adapter, table.time, first.label("rated"))
            .where(table.base == base)
            .order_by(table.id.desc())
            .limit(limit)
        )
        return [Said(row.adapter, row.time, row.rated) for row in reversed(rows)]
