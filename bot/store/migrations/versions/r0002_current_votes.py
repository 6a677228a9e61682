"""A table of the votes that hold now, filled from all that were ever given."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Text,
    column,
    func,
    insert,
    select,
    table,
)

revision = "0002"
down_revision = "0001"

KEPT = ("exchange_id", "rater", "value", "source", "time")


def upgrade() -> None:
    """Make `current_votes`, and put the newest vote of each rater on each exchange there."""
    current = op.create_table(
        "current_votes",
        Column("exchange_id", Integer, nullable=False),
        Column("rater", Text, nullable=False),
        Column("value", Integer, nullable=False),
        Column("source", Text, nullable=False),
        Column("time", BigInteger, nullable=False),
        Column("adapter", Text, nullable=False),
        PrimaryKeyConstraint("exchange_id", "rater", name="pk_current_votes"),
        ForeignKeyConstraint(
            ["exchange_id"], ["exchanges.id"], name="fk_current_votes_exchange_id_exchanges"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_current_votes_adapter_value", "current_votes", ["adapter", "value"])
    votes = table("votes", column("id"), *(column(name) for name in KEPT))
    exchanges = table("exchanges", column("id"), column("adapter"))
    newest = select(func.max(votes.c.id)).group_by(votes.c.exchange_id, votes.c.rater)
    holding = (
        select(*(votes.c[name] for name in KEPT), exchanges.c.adapter)
        .join(exchanges, exchanges.c.id == votes.c.exchange_id)
        .where(votes.c.id.in_(newest), votes.c.value != 0)
    )
    op.execute(insert(current).from_select([*KEPT, "adapter"], holding))
