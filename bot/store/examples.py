"""Liked exchanges of a channel, as examples for its next prompts.

What is read is bounded however much there is: the channel's newest replies, by an index, and
among them the newest that are liked. Who consents is for `bot.store.Consent` to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select

from bot.config import LearningConfig
from bot.store.access import Access
from bot.store.consent import Consent
from bot.store.conversations import is_channel
from bot.store.schema import (
    channels,
    current_votes,
    exchange_authors,
    exchanges,
    messages,
    people,
    reviews,
)
from bot.store.values import Decision
from bot.types import ChannelKey, Example

NEWEST = 1000
"""Replies of a channel among which the liked ones are looked for."""
MOST = 200
"""Liked ones that are looked at."""


class Examples(Access):
    """What people liked."""

    async def liked(
        self, channel: ChannelKey, learning: LearningConfig, characters: int
    ) -> list[Example]:
        """Exchanges of a channel that may be shown as examples there, newest first.

        More people like them than dislike them, no operator has dropped them, the reply ended
        by itself, the question is on record in the words it has now, everybody whose words
        were in the prompt consents, and question and reply have at most so many characters.
        """
        return await self._read(
            lambda connection: _liked(connection, channel, learning, characters)
        )


def _liked(
    connection: Connection, channel: ChannelKey, learning: LearningConfig, characters: int
) -> list[Example]:
    ids = sorted(connection.scalars(_liked_ids(channel)), reverse=True)[:MOST]
    if not ids:
        return []
    people_in: defaultdict[int, dict[str, Decision]] = defaultdict(dict)
    for row in connection.execute(_authors(channel, ids)):
        people_in[row.exchange_id][row.author] = row.consent or ""
    found: list[Example] = []
    for row in connection.execute(_words(channel, ids, characters)):
        said: dict[str, Decision] = {row.asker: row.consent or "", **people_in[row.id]}
        decisions = {(channel.platform, person): word for person, word in said.items() if word}
        if Consent(learning, decisions).agreed(channel.platform, said):
            found.append(Example(row.id, row.text, row.reply, tuple(said)))
    return sorted(found, key=lambda one: -one.exchange_id)


def _liked_ids(channel: ChannelKey) -> Select[Any]:
    newest = (
        select(exchanges.c.id)
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .where(is_channel(channel))
        .order_by(exchanges.c.id.desc())
        .limit(NEWEST)
        .subquery()
    )
    opinion = (
        select(func.sum(current_votes.c.value))
        .where(current_votes.c.exchange_id == newest.c.id)
        .scalar_subquery()
    )
    return select(newest.c.id).where(opinion > 0)


def _authors(channel: ChannelKey, ids: Sequence[int]) -> Select[Any]:
    """Everybody whose words were in the prompts, with what they decided."""
    table = exchange_authors
    return (
        select(table.c.exchange_id, table.c.author, people.c.consent)
        .outerjoin(
            people,
            and_(people.c.platform == channel.platform, people.c.person == table.c.author),
        )
        .where(table.c.exchange_id.in_(ids))
        .order_by(table.c.exchange_id, table.c.position)
    )


def _words(channel: ChannelKey, ids: Sequence[int], characters: int) -> Select[Any]:
    """Questions and replies, with what the askers decided."""
    length = func.length(exchanges.c.reply) + func.length(messages.c.text)
    decided = (
        select(reviews.c.decision)
        .where(reviews.c.exchange_id == exchanges.c.id)
        .order_by(reviews.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            exchanges.c.id, exchanges.c.asker, exchanges.c.reply, messages.c.text,
            people.c.consent,
        )
        .join(
            messages,
            and_(
                messages.c.id == exchanges.c.after_message,
                messages.c.author == exchanges.c.asker,
            ),
        )
        .outerjoin(
            people,
            and_(people.c.platform == channel.platform, people.c.person == exchanges.c.asker),
        )
        .where(
            exchanges.c.id.in_(ids), exchanges.c.finish == "stop", exchanges.c.reply != "",
            length <= characters, func.coalesce(decided, "") != "drop",
        )
    )  # fmt: skip
