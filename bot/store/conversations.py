"""Channels and what people said in them.

The order of a history is the order of recording, by row ids, never by clocks: a
platform's clock and ours disagree, and a history that is only appended to keeps its
beginning, which is what the engine's prefix cache lives on. A reply stands after the
message that it answers, whatever was said in the meantime.

A message taken from a platform waits until its answer is on record, so that one that was
acknowledged and then interrupted is answered after the restart. A message may be changed or
deleted by whoever sent it; exchanges that were made with it are facts of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, update

from bot.store.access import Access
from bot.store.schema import channels, exchanges, messages, set_aside, waiting
from bot.store.values import StoredTurn, WaitingMessage
from bot.types import ChannelKey, Message

Spot = tuple[ChannelKey, str]
"""A conversation, and the platform's id of a message that may be on record there."""


def is_channel(key: ChannelKey) -> ColumnElement[bool]:
    """The condition that a row of `channels` is this channel's."""
    return and_(
        channels.c.platform == key.platform,
        channels.c.guild == key.guild,
        channels.c.channel == key.channel,
    )


def channel_id(connection: Connection, key: ChannelKey) -> int:
    """The id of a channel, which is made when it is seen for the first time."""
    found = connection.scalar(select(channels.c.id).where(is_channel(key)))
    if found is not None:
        return int(found)
    return inserted(
        connection.execute(
            insert(channels).values(platform=key.platform, guild=key.guild, channel=key.channel)
        )
    )


def inserted(result: Any) -> int:
    """The id that the database gave to a new row."""
    return int(result.inserted_primary_key[0])


def channel_key(row: Row[Any]) -> ChannelKey:
    """The channel that a row with the columns of `channels` names."""
    return ChannelKey(row.platform, row.guild, row.channel)


class Conversations(Access):
    """Personas, messages and histories."""

    async def persona(self, channel: ChannelKey) -> str | None:
        """The channel's own persona, or None where it has the general one."""
        rows = await self._rows(select(channels.c.persona).where(is_channel(channel)))
        return rows[0].persona if rows else None

    async def set_persona(self, channel: ChannelKey, persona: str | None) -> None:
        """Give the channel a persona of its own, or with None take it away."""
        await self._set_channel(channel, persona=persona)

    async def set_channel_adapter(self, channel: ChannelKey, adapter: str | None) -> None:
        """Let the channel answer with a version of its own, or with None as all others do."""
        await self._set_channel(channel, adapter=adapter)

    async def channel_adapters(self) -> dict[ChannelKey, str]:
        """The channels that answer with a version of their own."""
        rows = await self._rows(select(channels).where(channels.c.adapter.is_not(None)))
        return {channel_key(row): row.adapter for row in rows}

    async def _set_channel(self, channel: ChannelKey, **values: str | None) -> None:
        def write(connection: Connection) -> None:
            row = channel_id(connection, channel)
            connection.execute(update(channels).where(channels.c.id == row).values(**values))

        await self._write(write)

    async def reset(self, channel: ChannelKey, time: datetime) -> None:
        """Let the channel's history start anew; nothing is deleted."""

        def write(connection: Connection) -> None:
            row = channel_id(connection, channel)
            connection.execute(
                update(channels)
                .where(channels.c.id == row)
                .values(
                    reset_message=newest_message(connection, row),
                    reset_exchange=_newest_exchange(connection, row),
                    reset_time=time,
                )
            )

        await self._write(write)

    async def add_message(self, message: Message, *, waits: bool = False) -> int | None:
        """Keep a message; its row, or None if it was known (a platform tells some twice).

        One that `waits` is among `waiting_messages` until it is answered or settled.
        """

        def write(connection: Connection) -> int | None:
            row = channel_id(connection, message.channel)
            known = select(messages.c.id).where(
                messages.c.channel_id == row, messages.c.platform_id == message.platform_id
            )
            if connection.scalar(known) is not None:
                return None
            added = connection.execute(
                insert(messages).values(
                    channel_id=row,
                    platform_id=message.platform_id,
                    author=message.author,
                    author_name=message.author_name,
                    time=message.time,
                    private=message.private,
                    text=message.text,
                )
            )
            if waits:
                connection.execute(insert(waiting).values(message_id=inserted(added)))
            return inserted(added)

        return await self._write(write)

    async def message_text(self, message: int) -> str | None:
        """What a message on record says now; None once it was deleted."""
        rows = await self._rows(select(messages.c.text).where(messages.c.id == message))
        return rows[0].text if rows else None

    async def on_record(self, spots: Collection[Spot]) -> bool:
        """Whether there is a message at any of these spots."""
        return bool(await self._read(lambda connection: _found(connection, spots)))

    async def newest_messages(
        self, channel: ChannelKey, since: datetime, limit: int
    ) -> list[str]:
        """The platform's ids of what was said in a channel after a time, newest first."""
        rows = await self._rows(
            select(messages.c.platform_id)
            .join(channels, channels.c.id == messages.c.channel_id)
            .where(is_channel(channel), messages.c.time > since)
            .order_by(messages.c.id.desc())
            .limit(limit)
        )
        return [row.platform_id for row in rows]

    async def change_message(self, spots: Collection[Spot], text: str) -> list[ChannelKey]:
        """Let a message say something else, wherever it is on record; where that was new."""

        def write(connection: Connection) -> list[ChannelKey]:
            return [
                channel for row, channel in _found(connection, spots).items()
                if connection.execute(
                    update(messages)
                    .where(messages.c.id == row, messages.c.text != text)
                    .values(text=text)
                ).rowcount
            ]

        return await self._write(write)

    async def delete_messages(self, spots: Collection[Spot]) -> list[ChannelKey]:
        """Delete the messages at these spots, answered or waiting; where there were any.

        `sweep` then leaves nothing of them in the log beside the file.
        """

        def write(connection: Connection) -> list[ChannelKey]:
            found = _found(connection, spots)
            for row in found:
                connection.execute(delete(waiting).where(waiting.c.message_id == row))
                connection.execute(delete(messages).where(messages.c.id == row))
            return list(dict.fromkeys(found.values()))

        return await self._write(write)

    async def settle(self, message: int, *, alone: bool = False) -> None:
        """Say that a message, and unless `alone` those before it in its channel, wait no longer."""

        def write(connection: Connection) -> None:
            if alone:
                connection.execute(delete(waiting).where(waiting.c.message_id == message))
            else:
                settle_upto(connection, message)

        await self._write(write)

    async def waiting_messages(self, platform: str) -> list[WaitingMessage]:
        """What was taken from a platform and is not answered yet, in order."""
        rows = await self._rows(
            select(messages, channels.c.platform, channels.c.guild, channels.c.channel)
            .join(waiting, waiting.c.message_id == messages.c.id)
            .join(channels, channels.c.id == messages.c.channel_id)
            .where(channels.c.platform == platform)
            .order_by(waiting.c.message_id)
        )
        return [WaitingMessage(row.id, _message(row)) for row in rows]

    async def history(
        self, channel: ChannelKey, limit: int = 200, *, before: int | None = None
    ) -> list[StoredTurn]:
        """The newest `limit` turns since the last reset, oldest first; up to a message's row."""

        def read(connection: Connection) -> list[StoredTurn]:
            row = connection.execute(select(channels).where(is_channel(channel))).first()
            return [] if row is None else _history(connection, row, limit, before)

        return await self._read(read)


def stands() -> ColumnElement[bool]:
    """The condition that an exchange's reply is the one that stands in its channel."""
    aside = select(set_aside.c.exchange_id).where(set_aside.c.exchange_id == exchanges.c.id)
    return ~aside.exists()


def newest_message(connection: Connection, channel: int) -> int:
    """The id of the channel's newest message, or 0."""
    query = select(func.max(messages.c.id)).where(messages.c.channel_id == channel)
    return connection.scalar(query) or 0


def _newest_exchange(connection: Connection, channel: int) -> int:
    query = select(func.max(exchanges.c.id)).where(exchanges.c.channel_id == channel)
    return connection.scalar(query) or 0


def settle_upto(connection: Connection, message: int, channel: int | None = None) -> None:
    """Let a message, and those before it in its channel, wait no longer.

    The channel's id is needed where the message may have been deleted meanwhile.
    """
    if channel is None:
        channel = connection.scalar(select(messages.c.channel_id).where(messages.c.id == message))
    before = (
        select(messages.c.id)
        .join(waiting, waiting.c.message_id == messages.c.id)
        .where(messages.c.channel_id == channel, messages.c.id <= message)
    )
    connection.execute(delete(waiting).where(waiting.c.message_id.in_(before)))


def _found(connection: Connection, spots: Collection[Spot]) -> dict[int, ChannelKey]:
    """The rows of the messages at these spots, and where each is."""
    found: dict[int, ChannelKey] = {}
    for channel, platform_id in spots:
        row = connection.scalar(
            select(messages.c.id)
            .join(channels, channels.c.id == messages.c.channel_id)
            .where(is_channel(channel), messages.c.platform_id == platform_id)
        )
        if row is not None:
            found[row] = channel
    return found


def _message(row: Row[Any]) -> Message:
    return Message(
        channel_key(row), row.author, row.text, row.platform_id, row.time, row.author_name,
        row.private,
    )


def _history(
    connection: Connection, channel: Row[Any], limit: int, before: int | None
) -> list[StoredTurn]:
    earlier = [] if before is None else [messages.c.id < before]
    placed_earlier = [] if before is None else [exchanges.c.after_message < before]
    said = connection.execute(
        select(messages.c.id, messages.c.author, messages.c.author_name, messages.c.text)
        .where(messages.c.channel_id == channel.id, messages.c.id > channel.reset_message)
        .where(*earlier)
        .order_by(messages.c.id.desc())
        .limit(limit)
    )
    replied = connection.execute(
        select(
            exchanges.c.id, exchanges.c.after_message, exchanges.c.reply, exchanges.c.adapter
        )
        .where(exchanges.c.channel_id == channel.id, exchanges.c.id > channel.reset_exchange)
        .where(exchanges.c.reply != "", stands(), *placed_earlier)
        .order_by(exchanges.c.id.desc())
        .limit(limit)
    )
    # The place of a turn: after which message, and there the message itself before replies.
    placed: list[tuple[tuple[int, int], StoredTurn]] = [
        ((row.id, 0), StoredTurn("user", row.text, row.author, None, row.author_name))
        for row in said
    ]
    placed += [
        (
            (row.after_message, row.id),
            StoredTurn("assistant", row.reply, None, row.id, adapter=row.adapter),
        )
        for row in replied
    ]
    placed.sort(key=lambda item: item[0])
    return [turn for _, turn in placed][-limit:] if limit > 0 else []
