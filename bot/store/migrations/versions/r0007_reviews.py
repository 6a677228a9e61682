"""A table of what operators decided about replies that wait to be learned from."""

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKeyConstraint, Integer, PrimaryKeyConstraint, Text

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make `reviews`; nobody has decided anything yet."""
    op.create_table(
        "reviews",
        Column("id", Integer, nullable=False),
        Column("exchange_id", Integer, nullable=False),
        Column("decision", Text, nullable=False),
        Column("by", Text, nullable=False),
        Column("time", BigInteger, nullable=False),
        PrimaryKeyConstraint("id", name="pk_reviews"),
        ForeignKeyConstraint(
            ["exchange_id"], ["exchanges.id"], name="fk_reviews_exchange_id_exchanges"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reviews_exchange_id", "reviews", ["exchange_id"])
    op.create_index("ix_reviews_by", "reviews", ["by"])
