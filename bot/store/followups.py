"""What people did after they had got a reply: said next, or made of their question.

Facts that are on record anyway, put side by side; what they mean is an opinion, and made
elsewhere. A question that was deleted has none.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import and_, select

from bot.store.access import Access
from bot.store.schema import exchanges, messages
from bot.store.values import FollowUp


class FollowUps(Access):
    """What came after replies."""

    async def followups(self, within: timedelta, limit: int) -> list[FollowUp]:
        """What followed the newest `limit` replies, by exchange.

        Args:
            within: how soon after the reply the next message counts; one that came before the
                reply was there does not.
        """
        said = messages.alias()
        newest = exchanges.c
        following = (
            select(said.c.id)
            .where(
                said.c.channel_id == newest.channel_id,
                said.c.author == newest.asker,
                said.c.id > newest.after_message,
            )
            .order_by(said.c.id)
            .limit(1)
            .correlate(exchanges)
            .scalar_subquery()
        )
        after = messages.alias()
        rows = await self._rows(
            select(
                newest.id, newest.time, messages.c.text, after.c.text.label("next"),
                after.c.time.label("next_time"),
            )
            .join(
                messages,
                and_(messages.c.id == newest.after_message, messages.c.author == newest.asker),
            )
            .outerjoin(after, after.c.id == following)
            .order_by(newest.id.desc())
            .limit(limit)
        )  # fmt: skip
        return [
            FollowUp(
                row.id, row.text,
                row.next if row.next and row.time < row.next_time <= row.time + within else "",
            )
            for row in reversed(rows)
        ]
