"""The review queue: liked replies that wait for an operator, and what operators decide.

Only decisions are kept, in the store; what waits follows from votes, words and decisions
each time somebody looks, so that a withdrawn like or a forgotten person empties the queue by
itself. Who may decide is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from bot.errors import LearningError
from bot.learning_port import ReviewItem
from bot.store import Store
from bot.types import last_user_text
from learning.votes.gathering import Gathered


class ReviewQueue:
    """What waits in one store.

    Args:
        gather: everything that is rated now.
    """

    def __init__(
        self, store: Store, gather: Callable[[], Awaitable[Gathered]],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._gather = gather
        self._clock = clock

    async def items(self) -> list[ReviewItem]:
        """What waits, oldest first."""
        return [
            ReviewItem(
                one.exchange.id, last_user_text(one.exchange.prompt), one.exchange.reply,
                one.novel, one.raters, one.exchange.time,
            )
            for one in (await self._gather()).waiting
        ]

    async def decide(self, exchange_id: int, keep: bool, by: str) -> str:
        """Keep a decision, in place of any before; a sentence on what follows.

        Raises:
            LearningError: there is no such reply.
        """
        if await self._store.exchange(exchange_id) is None:
            raise LearningError(
                f"there is no reply {exchange_id} to decide about; /learn review shows what waits"
            )
        await self._store.add_review(exchange_id, keep, by, self._clock())
        if keep:
            return f"Reply {exchange_id} may be learned from, as any other."
        return (
            f"Reply {exchange_id} is never learned from: no run from now on trains or judges on it."
        )
