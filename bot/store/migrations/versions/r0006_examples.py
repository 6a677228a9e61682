"""Which liked exchanges a prompt showed as examples."""

from alembic import op
from sqlalchemy import JSON, Column

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add `exchanges.examples`; prompts of before had none."""
    op.add_column("exchanges", Column("examples", JSON, nullable=False, server_default="[]"))
