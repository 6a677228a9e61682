"""What there is of people in the database: found, counted and deleted.

Functions of a connection, for `bot.store.people`, which says when and makes them one
transaction. Everything is deleted by id, some hundred at a time: databases bound the number
of parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, delete, select, update

from bot.store.consent import Consent
from bot.store.conversations import channel_key
from bot.store.exchanges import CHUNK
from bot.store.schema import (
    bans,
    channels,
    current_votes,
    exchange_authors,
    exchange_platform_ids,
    exchanges,
    judgements,
    messages,
    reviews,
    set_aside,
    votes,
    waiting,
)
from bot.store.values import Traces


def found(
    connection: Connection, platform: str, person: str
) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Ids of a person's messages, of the exchanges with them, and (vote, exchange) pairs."""
    here = channels.c.platform == platform
    said = connection.scalars(
        select(messages.c.id)
        .join(channels, channels.c.id == messages.c.channel_id)
        .where(messages.c.author == person, here)
    ).all()
    asked = connection.scalars(
        select(exchanges.c.id)
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .where(exchanges.c.asker == person, here)
    )
    wrote = connection.scalars(
        select(exchange_authors.c.exchange_id)
        .join(exchanges, exchanges.c.id == exchange_authors.c.exchange_id)
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .where(exchange_authors.c.author == person, here)
    )
    given = connection.execute(
        select(votes.c.id, votes.c.exchange_id)
        .join(exchanges, exchanges.c.id == votes.c.exchange_id)
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .where(votes.c.rater == person, here)
    )
    pairs = [(int(row.id), int(row.exchange_id)) for row in given]
    return list(said), sorted({*asked, *wrote}), pairs


def traces(
    connection: Connection, said: Sequence[int], held: Sequence[int], given: int = 0
) -> Traces:
    """The value for messages, exchanges and a number of votes that are still there."""
    places: set[int] = set()
    for table, ids in ((messages, said), (exchanges, held)):
        for some in _chunks(ids):
            places |= {*connection.scalars(
                select(table.c.channel_id).where(table.c.id.in_(some)).distinct()
            )}  # fmt: skip
    keys = [
        channel_key(row)
        for some in _chunks(sorted(places))
        for row in connection.execute(select(channels).where(channels.c.id.in_(some)))
    ]
    return Traces(len(said), tuple(held), given, tuple(keys))


def expired(
    connection: Connection, platform: str, before: datetime, consent: Consent
) -> tuple[list[int], list[int]]:
    """Ids of old messages by, and of old exchanges with, people who do not consent."""
    old = connection.execute(
        select(messages.c.id, messages.c.author)
        .join(channels, channels.c.id == messages.c.channel_id)
        .where(channels.c.platform == platform, messages.c.time < before)
    )
    said = [row.id for row in old if not consent.of(platform, row.author)]
    with_authors = connection.execute(
        select(exchanges.c.id, exchanges.c.asker, exchange_authors.c.author)
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .outerjoin(exchange_authors, exchange_authors.c.exchange_id == exchanges.c.id)
        .where(channels.c.platform == platform, exchanges.c.time < before)
    )
    held = {
        row.id for row in with_authors
        if not all(consent.of(platform, one) for one in (row.asker, row.author) if one)
    }  # fmt: skip
    return said, sorted(held)


def remove(connection: Connection, said: Sequence[int], held: Sequence[int]) -> None:
    """Messages and exchanges, with all that hangs on them."""
    _drop(connection, waiting.c.message_id, said)
    _drop(connection, messages.c.id, said)
    hanging = (
        current_votes, votes, reviews, set_aside, exchange_authors, exchange_platform_ids,
    )
    for table in hanging:
        _drop(connection, table.c.exchange_id, held)
    _drop(connection, exchanges.c.id, held)


def remove_votes(
    connection: Connection, rater: str, given: Sequence[tuple[int, int]]
) -> None:
    """The votes that somebody gave, as `found` lists them."""
    for some in _chunks([exchange for _, exchange in given]):
        connection.execute(
            delete(current_votes).where(
                current_votes.c.exchange_id.in_(some), current_votes.c.rater == rater
            )
        )
    _drop(connection, votes.c.id, [vote for vote, _ in given])


def unsign(connection: Connection, platform: str, person: str) -> None:
    """Take somebody's name off the decisions they made; these go on to hold."""
    for table in (reviews, bans):
        made = table.c.by == f"{platform}/{person}"
        connection.execute(update(table).where(made).values(by=""))


def remove_judgements(connection: Connection, platform: str, person: str) -> None:
    """What somebody said of two versions' replies."""
    connection.execute(delete(judgements).where(judgements.c.judge == f"{platform}/{person}"))


def _drop(connection: Connection, column: Column[Any], ids: Sequence[int]) -> None:
    for some in _chunks(ids):
        connection.execute(delete(column.table).where(column.in_(some)))


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))
