"""A table of the messages that wait for their answer."""

from alembic import op
from sqlalchemy import Column, ForeignKeyConstraint, Integer, PrimaryKeyConstraint

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make `waiting`; nothing from before waits."""
    op.create_table(
        "waiting",
        Column("message_id", Integer, nullable=False),
        PrimaryKeyConstraint("message_id", name="pk_waiting"),
        ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_waiting_message_id_messages"
        ),
    )
