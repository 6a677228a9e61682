"""A table of whose votes operators let count no more, or again."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, PrimaryKeyConstraint, Text

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make `bans`; everybody's votes count."""
    op.create_table(
        "bans",
        Column("id", Integer, nullable=False),
        Column("rater", Text, nullable=False),
        Column("banned", Boolean, nullable=False),
        Column("by", Text, nullable=False),
        Column("time", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_bans"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_bans_rater", "bans", ["rater"])
    op.create_index("ix_bans_by", "bans", ["by"])
