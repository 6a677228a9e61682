"""Exchanges: exactly what the model saw and said, and under which ids it was posted.

An exchange is written once and never changed; only the platform's ids of its reply are
added when the reply has been posted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, func, insert, select

from bot.errors import StoreError
from bot.store.access import Access
from bot.store.conversations import (
    channel_id,
    channel_key,
    inserted,
    is_channel,
    newest_message,
    settle_upto,
    stands,
)
from bot.store.schema import channels, exchange_authors, exchange_platform_ids, exchanges
from bot.store.values import Moment, Posted
from bot.types import ChannelKey, Exchange, Sampling, Timings, Turn

CHUNK = 500
"""Ids asked for at once: databases bound the number of parameters."""

S = TypeVar("S", Sampling, Timings)


class Exchanges(Access):
    """Questions with their replies."""

    async def add_exchange(self, exchange: Exchange, answers: int | None = None) -> int:
        """Keep an exchange with all that hangs on it; its new id (`exchange.id` is ignored).

        The message that it `answers` (a row of `add_message`), and those before it in the
        channel, wait no longer.

        Raises:
            StoreError: one of its platform ids belongs to another exchange.
        """

        def write(connection: Connection) -> int:
            channel = channel_id(connection, exchange.channel)
            after = newest_message(connection, channel) if answers is None else answers
            key = add_at(connection, exchange, channel, after)
            if answers is not None:
                settle_upto(connection, answers, channel)
            return key

        return await self._write(write)

    async def link_platform_ids(self, exchange_id: int, platform_ids: Sequence[str]) -> None:
        """Say under which ids the reply was posted; ids linked to it before are kept.

        Raises:
            StoreError: no such exchange, or an id belongs to another one.
        """

        def write(connection: Connection) -> None:
            query = select(exchanges.c.channel_id).where(exchanges.c.id == exchange_id)
            channel = connection.scalar(query)
            if channel is None:
                raise StoreError(f"there is no exchange {exchange_id}")
            _link(connection, channel, exchange_id, platform_ids)

        await self._write(write)

    async def exchange(self, exchange_id: int) -> Exchange | None:
        """One exchange."""
        found = await self.exchanges([exchange_id])
        return found[0] if found else None

    async def exchange_of(self, channel: ChannelKey, platform_id: str) -> int | None:
        """The exchange whose reply was posted under this id."""
        rows = await self._rows(
            select(exchange_platform_ids.c.exchange_id)
            .join(channels, channels.c.id == exchange_platform_ids.c.channel_id)
            .where(is_channel(channel), exchange_platform_ids.c.platform_id == platform_id)
        )
        return rows[0].exchange_id if rows else None

    async def posted_since(self, platform: str, since: datetime, limit: int) -> list[Posted]:
        """The newest `limit` replies posted on a platform after a time, newest first."""
        newest = (
            select(exchanges.c.id)
            .join(channels, channels.c.id == exchanges.c.channel_id)
            .where(channels.c.platform == platform, exchanges.c.time > since)
            .order_by(exchanges.c.id.desc())
            .limit(limit)
        )
        table = exchange_platform_ids
        rows = await self._rows(
            select(
                table.c.exchange_id, table.c.platform_id,
                channels.c.platform, channels.c.guild, channels.c.channel,
            )
            .join(channels, channels.c.id == table.c.channel_id)
            .where(table.c.exchange_id.in_(newest))
            .order_by(table.c.exchange_id.desc(), table.c.position)
        )  # fmt: skip
        return [Posted(row.exchange_id, channel_key(row), row.platform_id) for row in rows]

    async def last_exchange(self, channel: ChannelKey) -> Exchange | None:
        """The channel's newest exchange that stands, a reset before or after it notwithstanding."""

        def read(connection: Connection) -> Exchange | None:
            newest = connection.scalar(
                select(exchanges.c.id)
                .join(channels, channels.c.id == exchanges.c.channel_id)
                .where(is_channel(channel), stands())
                .order_by(exchanges.c.id.desc())
                .limit(1)
            )
            return None if newest is None else _load(connection, [newest])[newest]

        return await self._read(read)

    async def exchanges(self, ids: Sequence[int]) -> list[Exchange]:
        """Those of `ids` that exist, in the order asked."""

        def read(connection: Connection) -> list[Exchange]:
            found: dict[int, Exchange] = {}
            for start in range(0, len(ids), CHUNK):
                found |= _load(connection, ids[start : start + CHUNK])
            return [found[key] for key in ids if key in found]

        return await self._read(read)

    async def moments(self) -> list[Moment]:
        """When and where every exchange took place, and who asked, by id."""
        rows = await self._rows(
            select(
                exchanges.c.id, exchanges.c.time, exchanges.c.asker,
                channels.c.platform, channels.c.guild, channels.c.channel,
            )
            .join(channels, channels.c.id == exchanges.c.channel_id)
            .order_by(exchanges.c.id)
        )  # fmt: skip
        return [Moment(row.id, channel_key(row), row.time, row.asker) for row in rows]

    async def count_exchanges(self) -> int:
        """How many there are."""
        rows = await self._rows(select(func.count().label("total")).select_from(exchanges))
        return int(rows[0].total)


def add_at(connection: Connection, exchange: Exchange, channel: int, after: int) -> int:
    """Add an exchange with all that hangs on it; its id.

    Args:
        channel: the channel's id.
        after: the row of the message that it answers.
    """
    row = _row(exchange) | {"channel_id": channel, "after_message": after}
    key = inserted(connection.execute(insert(exchanges).values(row)))
    authors = [
        {"exchange_id": key, "position": position, "author": author}
        for position, author in enumerate(exchange.authors)
    ]
    if authors:
        connection.execute(insert(exchange_authors), authors)
    _link(connection, channel, key, exchange.platform_ids)
    return key


def _row(exchange: Exchange) -> dict[str, Any]:
    return {
        "asker": exchange.asker,
        "adapter": exchange.adapter,
        "base": exchange.base,
        "finish": exchange.finish,
        "time": exchange.time,
        "private": exchange.private,
        "reply": exchange.reply,
        "sampling": asdict(exchange.sampling),
        "timings": asdict(exchange.timings),
        "reply_ids": exchange.reply_ids,
        "prompt_ids": exchange.prompt_ids,
        "prompt": [[turn.role, turn.content] for turn in exchange.prompt],
        "examples": list(exchange.examples),
    }


def _link(connection: Connection, channel: int, key: int, platform_ids: Sequence[str]) -> None:
    table = exchange_platform_ids
    for platform_id in platform_ids:
        owner = connection.scalar(
            select(table.c.exchange_id).where(
                table.c.channel_id == channel, table.c.platform_id == platform_id
            )
        )
        if owner is not None and owner != key:
            raise StoreError(f"the posted message {platform_id} belongs to exchange {owner}")
        if owner is None:
            taken = select(func.count()).where(table.c.exchange_id == key)
            connection.execute(
                insert(table).values(
                    channel_id=channel,
                    platform_id=platform_id,
                    exchange_id=key,
                    position=connection.scalar(taken) or 0,
                )
            )


def _load(connection: Connection, ids: Sequence[int]) -> dict[int, Exchange]:
    rows = connection.execute(
        select(exchanges, channels.c.platform, channels.c.guild, channels.c.channel)
        .join(channels, channels.c.id == exchanges.c.channel_id)
        .where(exchanges.c.id.in_(ids))
    ).all()
    authors = _grouped(
        connection,
        select(exchange_authors.c.exchange_id, exchange_authors.c.author.label("item"))
        .where(exchange_authors.c.exchange_id.in_(ids))
        .order_by(exchange_authors.c.exchange_id, exchange_authors.c.position),
    )
    posted = _grouped(
        connection,
        select(
            exchange_platform_ids.c.exchange_id,
            exchange_platform_ids.c.platform_id.label("item"),
        )
        .where(exchange_platform_ids.c.exchange_id.in_(ids))
        .order_by(exchange_platform_ids.c.exchange_id, exchange_platform_ids.c.position),
    )
    return {row.id: _exchange(row, authors[row.id], posted[row.id]) for row in rows}


def _grouped(connection: Connection, query: Select[Any]) -> defaultdict[int, tuple[str, ...]]:
    groups: defaultdict[int, tuple[str, ...]] = defaultdict(tuple)
    for row in connection.execute(query):
        groups[row.exchange_id] += (row.item,)
    return groups


def _exchange(row: Row[Any], authors: tuple[str, ...], posted: tuple[str, ...]) -> Exchange:
    return Exchange(
        channel=channel_key(row),
        asker=row.asker,
        authors=authors,
        prompt=tuple(Turn(role, content) for role, content in row.prompt),
        prompt_ids=row.prompt_ids,
        reply_ids=row.reply_ids,
        reply=row.reply,
        finish=row.finish,
        adapter=row.adapter,
        base=row.base,
        sampling=_settings(Sampling, row.sampling),
        timings=timings_of(row.timings),
        time=row.time,
        private=row.private,
        id=row.id,
        platform_ids=posted,
        examples=tuple(row.examples),
    )


def timings_of(data: dict[str, Any]) -> Timings:
    """The timings that a row holds."""
    return _settings(Timings, data)


def _settings(kind: type[S], data: dict[str, Any]) -> S:
    """An old row may have a field that has gone since, or lack one that has come."""
    known = {field.name for field in fields(kind)}
    return kind(**{name: _fixed(value) for name, value in data.items() if name in known})


def _fixed(value: Any) -> Any:
    """JSON knows lists only, and what was kept is made of tuples."""
    return tuple(map(_fixed, value)) if isinstance(value, list) else value
