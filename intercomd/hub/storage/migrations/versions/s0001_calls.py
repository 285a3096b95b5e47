"""Identities, calls and their records."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

# PostgreSQL came with schema 4: its columns are wide from the beginning.
_Count = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("token_sha256", sa.LargeBinary, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "members",
        sa.Column("group_id", sa.String, sa.ForeignKey("identities.id"), primary_key=True),
        sa.Column("member_id", sa.String, sa.ForeignKey("identities.id"), primary_key=True),
    )
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String, primary_key=True),
        sa.Column("phase", sa.String, nullable=False, index=True),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False, index=True),
    )
    op.create_table(
        "open_legs",
        sa.Column("identity", sa.String, primary_key=True),
        sa.Column("instance", sa.String, primary_key=True),
        sa.Column("call_id", sa.String, nullable=False, index=True),
    )
    _create_records()


def _create_records() -> None:
    op.create_table(
        "call_records",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("call_id", sa.String, nullable=False),
        sa.Column("reported_by", sa.String, nullable=False, server_default=""),
        sa.Column("caller_id", sa.String, nullable=False),
        sa.Column("recipient_id", sa.String, nullable=False),
        sa.Column("callee_id", sa.String),
        sa.Column("conversation_id", sa.String),
        sa.Column("created_at", sa.Float, nullable=False, index=True),
        sa.Column("answered_at", sa.Float),
        sa.Column("ended_at", sa.Float, nullable=False),
        sa.Column("duration_s", sa.Float, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("ender_id", sa.String),
        sa.UniqueConstraint("call_id", "reported_by"),
    )
    op.create_table(
        "call_legs",
        sa.Column("call_id", sa.String, primary_key=True),
        sa.Column("identity", sa.String, primary_key=True),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("reported_reason", sa.String),
        sa.Column("connection_time_s", sa.Float),
        sa.Column("packets_lost", _Count),
        sa.Column("packets_received", _Count),
        sa.Column("jitter_s", sa.Float),
        sa.Column("round_trip_s", sa.Float),
        sa.Column("duration_s", sa.Float),
        sa.Column("concealed_ratio", sa.Float),
        sa.Column("buffer_delay_s", sa.Float),
    )
