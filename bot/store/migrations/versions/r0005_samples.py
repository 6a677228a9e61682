"""Replies before and after, beside each verdict."""

from alembic import op
from sqlalchemy import JSON, Column

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add `verdicts.samples`; of older verdicts no replies were kept."""
    op.add_column("verdicts", Column("samples", JSON, nullable=False, server_default="[]"))
