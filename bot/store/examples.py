"""Liked exchanges of a channel, as examples for its next prompts.

What is read is bounded however much there is: the channel's newest replies, by an index, and
among them the newest that are liked. Who consents is for `bot.store.Consent` to say.

What waits for an operator's word before it is learned from is no example either. Which replies
wait is found out over everything that is rated, which is too much for every turn; so here
the rule is a stricter one over the reply alone: whoever is the only one to like what holds a
link, an address, a mention or a long number has it shown to nobody, until somebody else likes
it too or an operator keeps it. What was dropped is none, nor is the same reply to the same words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, func, select

from bot.config import LearningConfig
from bot.marks import marks
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
from bot.types import ChannelKey, Example, Turn, likeness

NEWEST = 1000
"""Replies of a channel among which the liked ones are looked for."""
MOST = 200
"""Liked ones that are looked at."""


class Examples(Access):
    """What people liked."""

    async def liked(
        self, channel: ChannelKey, learning: LearningConfig, characters: int,
        known: Collection[str] = (),
    ) -> list[Example]:
        """Exchanges of a channel that may be shown as examples there, newest first.

        More people like them than dislike them, no operator has dropped them, nothing in the
        reply could wait for an operator, the reply ended by itself, the question is on record
        in the words it has now, everybody whose words were in the prompt consents, and question
        and reply have at most so many characters.

        Args:
            known: links and the like (`bot.marks`) that need nobody to vouch for them.
        """
        return await self._read(
            lambda connection: _liked(connection, channel, learning, characters, frozenset(known))
        )


def _liked(
    connection: Connection, channel: ChannelKey, learning: LearningConfig, characters: int,
    known: frozenset[str],
) -> list[Example]:
    likers = {row.id: row.likers for row in connection.execute(_liked_ids(channel))}
    ids = sorted(likers, reverse=True)[:MOST]
    if not ids:
        return []
    people_in: defaultdict[int, dict[str, Decision]] = defaultdict(dict)
    for row in connection.execute(_authors(channel, ids)):
        people_in[row.exchange_id][row.author] = row.consent or ""
    found: list[Example] = []
    rows = connection.execute(_words(channel, ids, characters)).all()
    decided = _decided(connection, rows)
    for row in rows:
        alone = learning.votes.novelty and likers[row.id] < 2 and bool(marks(row.reply) - known)
        if not decided.get(row.id, not alone):
            continue
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
    value = current_votes.c.value
    opinion, likers = (
        select(func.sum(what)).where(current_votes.c.exchange_id == newest.c.id).scalar_subquery()
        for what in (value, case((value > 0, 1), else_=0))
    )
    return select(newest.c.id, likers.label("likers")).where(opinion > 0)


def _decided(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, bool]:
    """What operators decided last about each, or about the same reply to the same words."""
    table = exchanges.c
    reviewed = connection.execute(
        select(reviews.c.exchange_id, reviews.c.decision, table.reply)
        .join(exchanges, table.id == reviews.c.exchange_id)
        .order_by(reviews.c.id)
    ).all()
    # Prompts are long: they are read of those alone that say the same.
    said = {" ".join(row.reply.split()) for row in rows}
    same = [one for one in reviewed if " ".join(one.reply.split()) in said]
    again = {" ".join(one.reply.split()) for one in same}
    ids = {row.id for row in rows if " ".join(row.reply.split()) in again}
    if not ids:
        return {}
    ids |= {one.exchange_id for one in same}
    words = {
        row.id: likeness((Turn(*turn) for turn in row.prompt), row.reply)
        for row in connection.execute(
            select(table.id, table.prompt, table.reply).where(table.id.in_(ids))
        )
    }
    last = {words[one.exchange_id]: one.decision == "keep" for one in same}
    return {row.id: last[words[row.id]] for row in rows if words.get(row.id) in last}


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
            length <= characters,
        )
    )  # fmt: skip
