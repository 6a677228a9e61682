"""A table of what people decided about their words, and an index by who asked."""

from alembic import op
from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make `people`; nobody has decided anything yet."""
    op.create_table(
        "people",
        Column("platform", Text, nullable=False),
        Column("person", Text, nullable=False),
        Column("consent", Text, nullable=False),
        Column("asked", BigInteger),
        Column("changed", BigInteger),
        PrimaryKeyConstraint("platform", "person", name="pk_people"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_exchanges_asker", "exchanges", ["asker"])
