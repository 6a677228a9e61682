"""What people said who compared the replies of two versions without knowing which was whose.

Facts, kept as they came: which versions, who, about which prompt, and what they found. The
words themselves are not kept, neither the prompt's (a digest stands for it) nor the replies':
versions never change, so the same prompt and seed bring them back. What the answers come to is
an opinion, and made elsewhere. They go with their judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import insert, or_, select

from bot.store.access import Access
from bot.store.schema import judgements
from bot.store.values import Judgement


class Judgements(Access):
    """Comparisons of versions by people."""

    async def add_judgements(self, given: Sequence[Judgement]) -> None:
        """Keep what somebody said, all of it or nothing."""
        rows = [asdict(one) for one in given]
        if rows:
            await self._write(lambda connection: connection.execute(insert(judgements), rows))

    async def judgements_of(self, version: str) -> list[Judgement]:
        """Every comparison of a version with another one, oldest first."""
        columns = [column for column in judgements.c if column.name != "id"]
        rows = await self._rows(
            select(*columns)
            .where(or_(judgements.c.one == version, judgements.c.other == version))
            .order_by(judgements.c.id)
        )
        return [Judgement(**row._mapping) for row in rows]
