"""A table of what people said who compared two versions without knowing which is which."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, PrimaryKeyConstraint, Text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make `judgements`; nobody has compared anything yet."""
    op.create_table(
        "judgements",
        Column("id", Integer, nullable=False),
        Column("one", Text, nullable=False),
        Column("other", Text, nullable=False),
        Column("judge", Text, nullable=False),
        Column("prompt", Text, nullable=False),
        Column("seed", BigInteger, nullable=False),
        Column("question", Text, nullable=False),
        Column("value", Integer, nullable=False),
        Column("asked", Boolean, nullable=False),
        Column("time", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_judgements"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_judgements_one", "judgements", ["one"])
    op.create_index("ix_judgements_other", "judgements", ["other"])
    op.create_index("ix_judgements_judge", "judgements", ["judge"])
