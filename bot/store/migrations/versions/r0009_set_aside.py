"""A table of replies in whose place another one stands."""

from alembic import op
from sqlalchemy import Column, ForeignKeyConstraint, Integer, PrimaryKeyConstraint

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make `set_aside`; every reply stands where it was given."""
    op.create_table(
        "set_aside",
        Column("exchange_id", Integer, nullable=False),
        PrimaryKeyConstraint("exchange_id", name="pk_set_aside"),
        ForeignKeyConstraint(
            ["exchange_id"], ["exchanges.id"], name="fk_set_aside_exchange_id_exchanges"
        ),
    )
