"""Whose votes count no more because an operator said so, and whose count again.

Decisions are facts: each is kept as it came, and the last one about a person counts. What a
banned person votes is kept as well, but is not among the votes that hold, from the moment of the
ban until it is lifted; so nothing that is worked out from votes knows of bans.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, ScalarSelect, Select, delete, func, insert, select

from bot.errors import StoreError
from bot.store.access import Access
from bot.store.schema import bans, current_votes, exchanges, votes
from bot.store.values import Ban


class Bans(Access):
    """Raters who are banned."""

    async def ban(self, rater: str, by: str, time: datetime) -> int:
        """Let somebody's votes count no more; how many held until now.

        Args:
            by: who says so, as ``platform/person``.

        Raises:
            StoreError: nobody of that name has voted, or they are banned already.
        """

        def write(connection: Connection) -> int:
            voted = select(func.count()).where(votes.c.rater == rater)
            if not connection.scalar(voted):
                raise StoreError(f"nobody who is known as {rater} has voted")
            if is_banned(connection, rater):
                raise StoreError(f"{rater} is banned already")
            _record(connection, rater, True, by, time)
            given = select(votes.c.exchange_id).where(votes.c.rater == rater)
            gone = delete(current_votes).where(  # by its key, which begins with the exchange
                current_votes.c.exchange_id.in_(given), current_votes.c.rater == rater
            )
            return connection.execute(gone).rowcount

        return await self._write(write)

    async def unban(self, rater: str, by: str, time: datetime) -> int:
        """Let somebody's votes count again; how many hold now.

        Raises:
            StoreError: they are not banned.
        """

        def write(connection: Connection) -> int:
            if not is_banned(connection, rater):
                raise StoreError(f"{rater} is not banned")
            _record(connection, rater, False, by, time)
            held = insert(current_votes).from_select(
                ["exchange_id", "rater", "value", "source", "time", "adapter"], _newest(rater)
            )
            return connection.execute(held).rowcount

        return await self._write(write)

    async def banned(self) -> list[Ban]:
        """Who is banned now, those banned first coming first."""
        given = (
            select(func.count()).where(votes.c.rater == bans.c.rater, votes.c.value != 0)
            .scalar_subquery()
        )  # fmt: skip
        rows = await self._rows(
            select(bans, given.label("votes"))
            .where(bans.c.id.in_(_last()), bans.c.banned)
            .order_by(bans.c.id)
        )
        return [Ban(row.rater, row.votes, row.by, row.time) for row in rows]


def is_banned(connection: Connection, rater: str) -> bool:
    """Whether somebody's votes do not count now."""
    last = select(bans.c.banned).where(bans.c.rater == rater).order_by(bans.c.id.desc()).limit(1)
    return bool(connection.scalar(last))


def banned_raters() -> Select[tuple[str]]:
    """Everybody whose votes do not count now, as a question within another."""
    return select(bans.c.rater).where(bans.c.id.in_(_last()), bans.c.banned)


def _last() -> ScalarSelect[int]:
    return select(func.max(bans.c.id)).group_by(bans.c.rater).scalar_subquery()


def _record(connection: Connection, rater: str, banned: bool, by: str, time: datetime) -> None:
    row = {"rater": rater, "banned": banned, "by": by, "time": time}
    connection.execute(insert(bans).values(row))


def _newest(rater: str) -> Select[tuple[object, ...]]:
    """The newest vote of a person on each exchange, withdrawals left out."""
    last = select(func.max(votes.c.id)).where(votes.c.rater == rater).group_by(votes.c.exchange_id)
    return (
        select(
            votes.c.exchange_id, votes.c.rater, votes.c.value, votes.c.source, votes.c.time,
            exchanges.c.adapter,
        )
        .join(exchanges, exchanges.c.id == votes.c.exchange_id)
        .where(votes.c.id.in_(last), votes.c.value != 0)
    )
