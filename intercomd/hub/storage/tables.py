"""The hub's tables, the same for SQLite and PostgreSQL.

Whoever changes one raises `SCHEMA` and adds a migration (hub/storage/migrations/): a test compares what those make with
what stands here."""

import sqlalchemy as sa

SCHEMA = 4
"""2: tokens of residents, and whom a call concerned. 3: more of a leg's quality. 4: rights, groups' ways to ring, quiet
hours, administrators, pairings. Only new tables, and new columns that may be NULL: both are made where they are
missing."""

metadata = sa.MetaData()

BigCount = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""What may pass 2**31: SQLite's integers have 64 bits anyway, and only its INTEGER counts up by itself."""

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
    # When it last answered, of one that is not connected any more.
    sa.Column("last_proven_at", sa.Float),
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
    # Subject and object: an identity, a group, or "*" for everybody. Action: "call", "door" or
    # "door_in_call".
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
push_subscriptions = sa.Table(
    "push_subscriptions",
    metadata,
    # A browser that can be woken: it lasts as long as the session in `tokens` of which this is the hash.
    sa.Column("session_sha256", sa.LargeBinary, primary_key=True),
    sa.Column("identity", sa.String, nullable=False, index=True),
    sa.Column("endpoint", sa.String, nullable=False),
    sa.Column("p256dh", sa.LargeBinary, nullable=False),
    sa.Column("auth", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
push_keys = sa.Table(
    "push_keys",
    metadata,
    # The hub's own, one row: push services know it by this key.
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("private_der", sa.LargeBinary, nullable=False),
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
    # When it began to ring there, and why it stopped before the call was over.
    sa.Column("rung_at", sa.Float),
    sa.Column("left_reason", sa.String),
    sa.Index("call_parties_by_time", "identity", "created_at"),
)
door_openings = sa.Table(
    "door_openings",
    metadata,
    # Every attempt to have a door opened, also those that were refused.
    sa.Column("command_id", sa.String, primary_key=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("who", sa.String, nullable=False),
    sa.Column("station_id", sa.String, nullable=False),
    sa.Column("call_id", sa.String),
    # "opened", "unconfirmed" (as long as no answer is known), or the refusal's code in the protocol.
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False, server_default=""),
)
call_legs = sa.Table(
    "call_legs",
    metadata,
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("reported_reason", sa.String),
    sa.Column("connection_time_s", sa.Float),
    sa.Column("packets_lost", BigCount),
    sa.Column("packets_received", BigCount),
    sa.Column("jitter_s", sa.Float),
    sa.Column("round_trip_s", sa.Float),
    sa.Column("duration_s", sa.Float),
    sa.Column("concealed_ratio", sa.Float),
    sa.Column("buffer_delay_s", sa.Float),
    sa.Column("buffer_target_s", sa.Float),
    sa.Column("played_frames", BigCount),
    sa.Column("recovered_frames", BigCount),
    sa.Column("concealed_frames", BigCount),
    sa.Column("concealments", BigCount),
    sa.Column("stretched_frames", BigCount),
    sa.Column("late_packets", BigCount),
    sa.Column("left_out_packets", BigCount),
    sa.Column("mouth_to_ear_s", sa.Float),
    sa.Column("mos", sa.Float),
    sa.Column("erle_db", sa.Float),
    sa.Column("xruns", BigCount),
    sa.Column("drift_ppm", sa.Float),
    sa.Column("cpu_ratio", sa.Float),
)

# ------------------------------------------------------------- several processes (hub/shared/): empty beside SQLite

processes = sa.Table(
    "processes",
    metadata,
    # Who does not renew its lease is dead, and the others take its devices for gone.
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("lease_until", sa.Float, nullable=False),
)
devices = sa.Table(
    "devices",
    metadata,
    # Who is connected where. A device that has moved may stand here twice for a moment.
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("instance", sa.String, primary_key=True),
    sa.Column("process", sa.String, primary_key=True, index=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("role", sa.String, nullable=False),
    # What it can do, as it said when it connected; words with a space between them.
    sa.Column("capabilities", sa.String, nullable=False, server_default=""),
    sa.Column("connected_at", sa.Float, nullable=False),
)
outbox = sa.Table(
    "outbox",
    metadata,
    # Notices on their way to the process that holds the device's socket, in the order in which they were decided.
    sa.Column("id", BigCount, primary_key=True),
    sa.Column("process", sa.String, nullable=False),
    sa.Column("call_id", sa.String, nullable=False),
    sa.Column("seq", BigCount, nullable=False),
    sa.Column("identity", sa.String, nullable=False),
    sa.Column("instance", sa.String, nullable=False),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("written_at", sa.Float, nullable=False),
    sa.Index("outbox_by_process", "process", "id"),
)
leases = sa.Table(
    "leases",
    metadata,
    # When the hub acts on an open call of its own accord.
    sa.Column("call_id", sa.String, primary_key=True),
    sa.Column("due_s", sa.Float, nullable=False, index=True),
)
call_members = sa.Table(
    "call_members",
    metadata,
    # For whom an open call is, whether it rings there or not.
    sa.Column("identity", sa.String, primary_key=True),
    sa.Column("call_id", sa.String, primary_key=True, index=True),
)
queued_calls = sa.Table(
    "queued_calls",
    metadata,
    # The calls whose caller waits in a queue: mostly none.
    sa.Column("call_id", sa.String, primary_key=True),
)
