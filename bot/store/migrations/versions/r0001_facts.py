"""The facts: channels, messages, exchanges, votes, runs, adapters, verdicts and events.

Times are microseconds since 1970; token ids are packed little-endian uint32.
"""

from alembic import op
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

revision = "0001"
down_revision = None

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Table(
    "channels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("platform", Text, nullable=False),
    Column("guild", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("persona", Text),
    Column("adapter", Text),
    Column("reset_message", Integer, nullable=False, default=0),
    Column("reset_exchange", Integer, nullable=False, default=0),
    Column("reset_time", BigInteger),
    UniqueConstraint("platform", "guild", "channel"),
    Index(None, "adapter"),
)

Table(
    "messages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("channel_id", ForeignKey("channels.id"), nullable=False),
    Column("platform_id", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("author_name", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("channel_id", "platform_id"),
    Index(None, "channel_id", "id"),
    Index(None, "author"),
    sqlite_autoincrement=True,
)

Table(
    "exchanges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("channel_id", ForeignKey("channels.id"), nullable=False),
    Column("after_message", Integer, nullable=False),
    Column("asker", Text, nullable=False),
    Column("adapter", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("finish", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("private", Boolean, nullable=False),
    Column("reply", Text, nullable=False),
    Column("sampling", JSON, nullable=False),
    Column("timings", JSON, nullable=False),
    Column("reply_ids", LargeBinary, nullable=False),
    Column("prompt_ids", LargeBinary, nullable=False),
    Column("prompt", JSON, nullable=False),
    Index(None, "channel_id", "id"),
    sqlite_autoincrement=True,
)

Table(
    "exchange_authors",
    metadata,
    Column("exchange_id", ForeignKey("exchanges.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("author", Text, nullable=False),
    Index(None, "author", "exchange_id"),
)

Table(
    "exchange_platform_ids",
    metadata,
    Column("channel_id", ForeignKey("channels.id"), primary_key=True),
    Column("platform_id", Text, primary_key=True),
    Column("exchange_id", ForeignKey("exchanges.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Index(None, "exchange_id", "position"),
)

Table(
    "votes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("exchange_id", ForeignKey("exchanges.id"), nullable=False),
    Column("rater", Text, nullable=False),
    Column("value", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Index(None, "exchange_id", "id"),
    Index(None, "time", "value"),
    Index(None, "rater"),
    sqlite_autoincrement=True,
)

Table(
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
    Column("started", BigInteger, nullable=False),
    Column("finished", BigInteger),
    Column("settings", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Index(None, "finished"),
    sqlite_autoincrement=True,
)

Table(
    "curve_points",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Float),
    sqlite_with_rowid=False,
)

Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

Table(
    "adapters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("run_id", ForeignKey("runs.id")),
    Column("status", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("metrics", JSON, nullable=False),
    UniqueConstraint("name"),
    Index(None, "status"),
)

Table(
    "champions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
)

Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("adapter", Text, nullable=False),
    Column("champion", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("checks", JSON, nullable=False),
    Index(None, "adapter", "id"),
)

Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("data", JSON, nullable=False),
    Index(None, "kind", "id"),
)

Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)


def upgrade() -> None:
    """Make the tables."""
    metadata.create_all(op.get_bind())
