"""The tables, as SQLAlchemy Core.

This is what the newest migration leads to (a test holds the two equal). Nothing here
knows which database is underneath: the few options that name SQLite are ignored by any
other. Facts are append-only; `current_votes` alone is derived, and is kept in the same
transaction as the fact it follows from. Wide columns come last, so that a query for the
narrow ones does not read through them.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept as whole microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds; a naive time is refused, because nobody can say when it was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value} has no time zone")
        return (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The same moment, in UTC."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class TokenIds(TypeDecorator[tuple[int, ...]]):
    """Token ids, packed as little-endian uint32: four bytes each."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> bytes | None:
        """The packed ids."""
        return None if value is None else struct.pack(f"<{len(value)}I", *value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> tuple[int, ...] | None:
        """The ids again."""
        return None if value is None else struct.unpack(f"<{len(value) // 4}I", value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

channels = Table(
    "channels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("platform", Text, nullable=False),
    Column("guild", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("persona", Text),
    Column("adapter", Text),
    # History begins after these rows; ids, not times, because clocks disagree.
    Column("reset_message", Integer, nullable=False, default=0),
    Column("reset_exchange", Integer, nullable=False, default=0),
    Column("reset_time", Moment),
    UniqueConstraint("platform", "guild", "channel"),
    Index(None, "adapter"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("channel_id", ForeignKey("channels.id"), nullable=False),
    Column("platform_id", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("author_name", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("channel_id", "platform_id"),
    Index(None, "channel_id", "id"),
    Index(None, "author"),
    sqlite_autoincrement=True,
)

# Messages that have been taken from a platform and wait for their answer.
waiting = Table(
    "waiting",
    metadata,
    Column("message_id", ForeignKey("messages.id"), primary_key=True),
)

exchanges = Table(
    "exchanges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("channel_id", ForeignKey("channels.id"), nullable=False),
    # The message that was answered, or the newest when this was recorded: the place in
    # the history.
    Column("after_message", Integer, nullable=False),
    Column("asker", Text, nullable=False),
    Column("adapter", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("finish", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("reply", Text, nullable=False),
    Column("sampling", JSON, nullable=False),
    Column("timings", JSON, nullable=False),
    Column("reply_ids", TokenIds, nullable=False),
    Column("prompt_ids", TokenIds, nullable=False),
    Column("prompt", JSON, nullable=False),
    # Ids of the liked exchanges that the prompt showed.
    Column("examples", JSON, nullable=False, server_default="[]"),
    Index(None, "channel_id", "id"),
    Index(None, "asker"),
    sqlite_autoincrement=True,
)

exchange_authors = Table(
    "exchange_authors",
    metadata,
    Column("exchange_id", ForeignKey("exchanges.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("author", Text, nullable=False),
    Index(None, "author", "exchange_id"),
)

exchange_platform_ids = Table(
    "exchange_platform_ids",
    metadata,
    Column("channel_id", ForeignKey("channels.id"), primary_key=True),
    Column("platform_id", Text, primary_key=True),
    Column("exchange_id", ForeignKey("exchanges.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Index(None, "exchange_id", "position"),
)

votes = Table(
    "votes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("exchange_id", ForeignKey("exchanges.id"), nullable=False),
    Column("rater", Text, nullable=False),
    Column("value", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Index(None, "exchange_id", "id"),
    Index(None, "time", "value"),
    Index(None, "rater"),
    sqlite_autoincrement=True,
)

current_votes = Table(
    "current_votes",
    metadata,
    Column("exchange_id", ForeignKey("exchanges.id"), primary_key=True),
    Column("rater", Text, primary_key=True),
    Column("value", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("time", Moment, nullable=False),
    # Copied from the exchange, which never changes, so that like rates need no join.
    Column("adapter", Text, nullable=False),
    Index(None, "adapter", "value"),
    sqlite_with_rowid=False,
)

# Replies in whose place another answer to the same message stands.
set_aside = Table(
    "set_aside",
    metadata,
    Column("exchange_id", ForeignKey("exchanges.id"), primary_key=True),
)

# What operators decided about replies that wait to be learned from; the last one counts.
reviews = Table(
    "reviews",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("exchange_id", ForeignKey("exchanges.id"), nullable=False),
    Column("decision", Text, nullable=False),
    # The platform and the person; empty once that person was forgotten.
    Column("by", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Index(None, "exchange_id"),
    Index(None, "by"),
    sqlite_autoincrement=True,
)

# Whose votes operators let count no more, or again; the last one about a person counts.
bans = Table(
    "bans",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("rater", Text, nullable=False),
    Column("banned", Boolean, nullable=False),
    # The platform and the person; empty once that person was forgotten.
    Column("by", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Index(None, "rater"),
    Index(None, "by"),
    sqlite_autoincrement=True,
)

# What people said of two versions' replies to one prompt, without knowing which was whose.
judgements = Table(
    "judgements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("one", Text, nullable=False),
    Column("other", Text, nullable=False),
    # The platform and the person.
    Column("judge", Text, nullable=False),
    # A digest: words of people are not kept here.
    Column("prompt", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("question", Text, nullable=False),
    Column("value", Integer, nullable=False),
    Column("asked", Boolean, nullable=False),
    Column("time", Moment, nullable=False),
    Index(None, "one"),
    Index(None, "other"),
    Index(None, "judge"),
    sqlite_autoincrement=True,
)

# What people decided about their words; `consent` is empty while they have not.
people = Table(
    "people",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("consent", Text, nullable=False, default=""),
    Column("asked", Moment),
    Column("changed", Moment),
    sqlite_with_rowid=False,
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trigger", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("progress", Float, nullable=False),
    Column("adapter", Text),
    Column("snapshot", Text),
    Column("message", Text, nullable=False),
    Column("started", Moment, nullable=False),
    Column("finished", Moment),
    Column("settings", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Index(None, "finished"),
    sqlite_autoincrement=True,
)

curve_points = Table(
    "curve_points",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    # NULL is not-a-number: a diverged loss is a fact too, and SQLite keeps no NaN.
    Column("value", Float),
    sqlite_with_rowid=False,
)

versions = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Moment, nullable=False),
    sqlite_autoincrement=True,
)

adapters = Table(
    "adapters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("run_id", ForeignKey("runs.id")),
    Column("status", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("metrics", JSON, nullable=False),
    UniqueConstraint("name"),
    Index(None, "status"),
)

champions = Table(
    "champions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("time", Moment, nullable=False),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("adapter", Text, nullable=False),
    Column("champion", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Column("checks", JSON, nullable=False),
    # Replies are generated text, which may repeat people's words: forgetting empties this.
    Column("samples", JSON, nullable=False, server_default="[]"),
    Index(None, "adapter", "id"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("time", Moment, nullable=False),
    Column("data", JSON, nullable=False),
    Index(None, "kind", "id"),
)

settings = Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)
