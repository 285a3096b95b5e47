"""The hub's tables, the same for SQLite and PostgreSQL.

Whoever changes one raises `SCHEMA` and adds a migration (hub/migrations/): a test compares what those make with
what stands here."""

import sqlalchemy as sa

SCHEMA = 4
"""2: tokens of residents, and whom a call concerned. 3: more of a leg's quality. 4: rights, groups' ways to ring, quiet
hours, administrators, pairings. Only new tables, and new columns that may be NULL: both are made where they are
missing."""

metadata = sa.MetaData()

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("token_sha256", sa.LargeBinary, unique=True),
    sa.Column("created_at", sa.Float, nullable=False),
    # What people are shown instead of the id; the id stays, because records and rights name it.
    sa.Column("shown_name", sa.String),
    sa.Column("banned_at", sa.Float),
    sa.Column("do_not_disturb_until", sa.Float),
    sa.Column("quiet_from_min", sa.Integer),
    sa.Column("quiet_to_min", sa.Integer),
    sa.Column("busy_policy", sa.String),
    sa.Column("ring_mode", sa.String),
    sa.Column("ring_each_s", sa.Float),
    sa.Column("escalate_to", sa.String),
)
members = sa.Table(
    "members",
    metadata,
    sa.Column("group_id", sa.String, sa.ForeignKey("identities.id"), primary_key=True),
    sa.Column("member_id", sa.String, sa.ForeignKey("identities.id"), primary_key=True),
    sa.Column("position", sa.Integer),
)
rights = sa.Table(
    "rights",
    metadata,
    # Subject and object: an identity, a group, or "*" for everybody. Action: "call" or "door".
    sa.Column("subject", sa.String, primary_key=True),
    sa.Column("action", sa.String, primary_key=True),
    sa.Column("object", sa.String, primary_key=True),
    sa.Column("allowed", sa.Boolean, nullable=False),
)
tokens = sa.Table(
    "tokens",
    metadata,
    # What a resident's browser holds: an invitation that works once, or the session that it was exchanged for.
    sa.Column("sha256", sa.LargeBinary, primary_key=True),
    sa.Column("identity", sa.String, sa.ForeignKey("identities.id"), nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
administrators = sa.Table(
    "administrators",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    # Argon2id, with its parameters and salt; NULL until the one-time link was followed.
    sa.Column("password_hash", sa.String),
    sa.Column("created_at", sa.Float, nullable=False),
)
administrator_tokens = sa.Table(
    "administrator_tokens",
    metadata,
    # As `tokens`, of people who are no identities: an administrator is never called. NULL: the first administrator's
    # link, made before there is one.
    sa.Column("sha256", sa.LargeBinary, primary_key=True),
    sa.Column("administrator", sa.String, sa.ForeignKey("administrators.name"), index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
pairings = sa.Table(
    "pairings",
    metadata,
    sa.Column("code_sha256", sa.LargeBinary, primary_key=True),
    sa.Column("station", sa.String, sa.ForeignKey("identities.id"), nullable=False, index=True),
    # Typed by a person, so short: only for minutes, and each wrong one is a try at all that are open.
    sa.Column("typed", sa.Boolean, nullable=False),
    sa.Column("tries_left", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("phase", sa.String, nullable=False, index=True),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False, index=True),
)
open_legs = sa.Table(
    "open_legs",
    metadata,
    # The key says what "busy" means: no device has a part in two open calls.
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("instance", sa.String, primary_key=True),
    sa.Column("call_id", sa.String, nullable=False, index=True),
)
call_records = sa.Table(
    "call_records",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_id", sa.String, nullable=False),
    # "" for the hub's own record; else who reported a call that the hub never saw.
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
call_parties = sa.Table(
    "call_parties",
    metadata,
    # Whom a call concerned: its caller, and everybody whom it was for, connected or not.
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Index("call_parties_by_time", "identity", "created_at"),
)
call_legs = sa.Table(
    "call_legs",
    metadata,
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("reported_reason", sa.String),
    sa.Column("connection_time_s", sa.Float),
    sa.Column("packets_lost", sa.Integer),
    sa.Column("packets_received", sa.Integer),
    sa.Column("jitter_s", sa.Float),
    sa.Column("round_trip_s", sa.Float),
    sa.Column("duration_s", sa.Float),
    sa.Column("concealed_ratio", sa.Float),
    sa.Column("buffer_delay_s", sa.Float),
    sa.Column("buffer_target_s", sa.Float),
    sa.Column("played_frames", sa.Integer),
    sa.Column("recovered_frames", sa.Integer),
    sa.Column("concealed_frames", sa.Integer),
    sa.Column("concealments", sa.Integer),
    sa.Column("stretched_frames", sa.Integer),
    sa.Column("late_packets", sa.Integer),
    sa.Column("left_out_packets", sa.Integer),
    sa.Column("mouth_to_ear_s", sa.Float),
    sa.Column("mos", sa.Float),
    sa.Column("erle_db", sa.Float),
    sa.Column("xruns", sa.Integer),
    sa.Column("drift_ppm", sa.Float),
    sa.Column("cpu_ratio", sa.Float),
)
