"""Votes: every change as it came, and what holds now.

`votes` is only appended to. `current_votes` has one row for each (exchange, rater) whose
newest vote is not a withdrawal and whom nobody has banned; it changes in the transaction of the
vote. Newest means last recorded. Labels, weights and trust are opinions, and made elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, select

from bot.errors import StoreError
from bot.store.access import Access
from bot.store.bans import banned_raters, is_banned
from bot.store.schema import current_votes, exchanges, votes
from bot.types import Vote, VoteValue

# Made once: building and hashing statements took half of the time of a vote.
_ADAPTER = select(exchanges.c.adapter).where(exchanges.c.id == bindparam("exchange_id"))
_RECORD = insert(votes)
_DROP = delete(current_votes).where(
    current_votes.c.exchange_id == bindparam("exchange"),
    current_votes.c.rater == bindparam("person"),
)
_HOLD = insert(current_votes)


class Votes(Access):
    """People's reactions to replies."""

    async def add_vote(self, vote: Vote) -> None:
        """Keep a vote, a change of mind, or with value 0 a withdrawal.

        Raises:
            StoreError: there is no such exchange.
        """
        row = {
            "exchange_id": vote.exchange_id,
            "rater": vote.rater,
            "value": vote.value,
            "source": vote.source,
            "time": vote.time,
        }

        def write(connection: Connection) -> None:
            adapter = connection.scalar(_ADAPTER, {"exchange_id": vote.exchange_id})
            if adapter is None:
                raise StoreError(f"there is no exchange {vote.exchange_id} to vote on")
            connection.execute(_RECORD, row)
            connection.execute(_DROP, {"exchange": vote.exchange_id, "person": vote.rater})
            if vote.value and not is_banned(connection, vote.rater):
                connection.execute(_HOLD, row | {"adapter": adapter})

        await self._write(write)

    async def current_votes(self) -> list[Vote]:
        """The newest vote of each rater on each exchange, withdrawn ones left out.

        Ordered by exchange, then rater.
        """
        rows = await self._rows(
            select(current_votes).order_by(current_votes.c.exchange_id, current_votes.c.rater)
        )
        return [as_vote(row) for row in rows]

    async def current_vote(self, exchange_id: int, rater: str) -> VoteValue:
        """What a person thinks of a reply now; 0 where there is no vote."""
        rows = await self._rows(
            select(current_votes.c.value).where(
                current_votes.c.exchange_id == exchange_id, current_votes.c.rater == rater
            )
        )
        return _vote_value(rows[0].value) if rows else 0

    async def current_votes_on(self, exchange_id: int) -> list[Vote]:
        """The votes that hold for one reply, by rater."""
        rows = await self._rows(
            select(current_votes)
            .where(current_votes.c.exchange_id == exchange_id)
            .order_by(current_votes.c.rater)
        )
        return [as_vote(row) for row in rows]

    async def current_votes_among(self, exchanges: Sequence[int]) -> list[Vote]:
        """The votes that hold for some replies, by reply, then rater."""
        rows = await self._rows(
            select(current_votes)
            .where(current_votes.c.exchange_id.in_(exchanges))
            .order_by(current_votes.c.exchange_id, current_votes.c.rater)
        )
        return [as_vote(row) for row in rows]

    async def votes_of(self, exchange_id: int) -> list[Vote]:
        """Every vote on an exchange as it came, flips and withdrawals too, oldest first."""
        rows = await self._rows(
            select(votes).where(votes.c.exchange_id == exchange_id).order_by(votes.c.id)
        )
        return [as_vote(row) for row in rows]

    async def count_votes(self, since: datetime | None = None) -> int:
        """How many votes came after `since`, flips counted, withdrawals and banned people not."""
        given = [votes.c.value != 0] + ([] if since is None else [votes.c.time > since])
        every = select(func.count()).select_from(votes).where(*given).scalar_subquery()
        # Taken off afterwards, for what counts them all is then one narrow index.
        banned = (
            select(func.count()).select_from(votes)
            .where(votes.c.rater.in_(banned_raters()), *given).scalar_subquery()
        )  # fmt: skip
        rows = await self._rows(select((every - banned).label("total")))
        return int(rows[0].total)

    async def like_rate(self, adapter: str | None = None) -> tuple[int, int]:
        """(likes, votes) among the current votes on replies of an adapter, or of all."""
        liked = func.sum(case((current_votes.c.value > 0, 1), else_=0))
        query = select(liked.label("likes"), func.count().label("total"))
        query = query.select_from(current_votes)
        if adapter is not None:
            query = query.where(current_votes.c.adapter == adapter)
        rows = await self._rows(query)
        return int(rows[0].likes or 0), int(rows[0].total)


def _vote_value(value: int) -> VoteValue:
    return 1 if value > 0 else -1 if value < 0 else 0


def as_vote(row: Row[Any]) -> Vote:
    """A row of `current_votes` or of `votes`."""
    return Vote(row.exchange_id, row.rater, row.value, row.source, row.time)
