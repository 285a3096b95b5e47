"""Tokens of residents, and whom a call concerned."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("sha256", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.String, sa.ForeignKey("identities.id"), nullable=False, index=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_table(
        "call_parties",
        sa.Column("identity", sa.String, primary_key=True),
        sa.Column("call_id", sa.String, primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("call_parties_by_time", "call_parties", ["identity", "created_at"])
