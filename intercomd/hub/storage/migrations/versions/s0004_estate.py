"""An estate: rights, rules of ringing and quiet hours, administrators, pairing, doors, push, and several processes."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"

_Count = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _extend()
    _create_rights()
    _create_administrators()
    _create_doors()
    _create_push()
    _create_processes()
    _create_shared_calls()


def _extend() -> None:
    """NULL in every older row."""
    for name in ("shown_name", "busy_policy", "ring_mode", "escalate_to"):
        op.add_column("identities", sa.Column(name, sa.String))
    for name in ("banned_at", "do_not_disturb_until", "ring_each_s", "last_proven_at"):
        op.add_column("identities", sa.Column(name, sa.Float))
    for name in ("quiet_from_min", "quiet_to_min"):
        op.add_column("identities", sa.Column(name, sa.Integer))
    op.add_column("members", sa.Column("position", sa.Integer))
    op.add_column("call_parties", sa.Column("rung_at", sa.Float))
    op.add_column("call_parties", sa.Column("left_reason", sa.String))


def _create_rights() -> None:
    op.create_table(
        "rights",
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("action", sa.String, primary_key=True),
        sa.Column("object", sa.String, primary_key=True),
        sa.Column("allowed", sa.Boolean, nullable=False),
    )


def _create_administrators() -> None:
    op.create_table(
        "administrators",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("password_hash", sa.String),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "administrator_tokens",
        sa.Column("sha256", sa.LargeBinary, primary_key=True),
        sa.Column("administrator", sa.String, sa.ForeignKey("administrators.name"), index=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_table(
        "pairings",
        sa.Column("code_sha256", sa.LargeBinary, primary_key=True),
        sa.Column("station", sa.String, sa.ForeignKey("identities.id"), nullable=False, index=True),
        sa.Column("typed", sa.Boolean, nullable=False),
        sa.Column("tries_left", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )


def _create_doors() -> None:
    op.create_table(
        "door_openings",
        sa.Column("command_id", sa.String, primary_key=True),
        sa.Column("at", sa.Float, nullable=False, index=True),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("station_id", sa.String, nullable=False),
        sa.Column("call_id", sa.String),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False, server_default=""),
    )


def _create_push() -> None:
    op.create_table(
        "push_subscriptions",
        sa.Column("session_sha256", sa.LargeBinary, primary_key=True),
        sa.Column("identity", sa.String, nullable=False, index=True),
        sa.Column("endpoint", sa.String, nullable=False),
        sa.Column("p256dh", sa.LargeBinary, nullable=False),
        sa.Column("auth", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "push_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("private_der", sa.LargeBinary, nullable=False),
    )


def _create_processes() -> None:
    op.create_table(
        "processes",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("lease_until", sa.Float, nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("identity", sa.String, primary_key=True),
        sa.Column("instance", sa.String, primary_key=True),
        sa.Column("process", sa.String, primary_key=True, index=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("capabilities", sa.String, nullable=False, server_default=""),
        sa.Column("connected_at", sa.Float, nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", _Count, primary_key=True),
        sa.Column("process", sa.String, nullable=False),
        sa.Column("call_id", sa.String, nullable=False),
        sa.Column("seq", _Count, nullable=False),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("written_at", sa.Float, nullable=False),
    )
    op.create_index("outbox_by_process", "outbox", ["process", "id"])


def _create_shared_calls() -> None:
    op.create_table(
        "leases",
        sa.Column("call_id", sa.String, primary_key=True),
        sa.Column("due_s", sa.Float, nullable=False, index=True),
    )
    op.create_table(
        "call_members",
        sa.Column("identity", sa.String, primary_key=True),
        sa.Column("call_id", sa.String, primary_key=True, index=True),
    )
    op.create_table("queued_calls", sa.Column("call_id", sa.String, primary_key=True))
