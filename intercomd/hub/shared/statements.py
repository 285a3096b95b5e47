"""The SQL of hub/shared/, for PostgreSQL only. Built once: building a statement takes as long as carrying it out.

Times are seconds of PostgreSQL's clock: the one clock that all processes have in common."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from intercomd.core.vocabulary import HubPhase
from intercomd.hub.storage.tables import (
    call_members,
    calls,
    devices,
    leases,
    open_legs,
    outbox,
    processes,
    queued_calls,
)

CHANNEL: Final = "intercomd"
"""What concerns all processes."""
DIRECTORY: Final = "directory"
"""Said there when somebody has changed it."""

NOW: Final = sa.extract("epoch", sa.func.clock_timestamp()).cast(sa.Float)

_me = sa.bindparam("process", type_=sa.String)
_identity, _instance = sa.bindparam("its_identity", type_=sa.String), sa.bindparam("its_instance", type_=sa.String)
_names = sa.bindparam("identities", type_=sa.ARRAY(sa.String))
_ids = sa.bindparam("call_ids", type_=sa.ARRAY(sa.String))
_life = sa.bindparam("life_s", type_=sa.Float)


def own_channel(process: str) -> str:
    """What concerns one process."""
    return f"{CHANNEL}_{process}"


# ------------------------------------------------------------------------------------------------------- processes

REGISTER: Final = insert(processes).values(id=_me, lease_until=NOW + _life).returning(NOW)
RENEW: Final = sa.update(processes).where(processes.c.id == _me).values(lease_until=NOW + _life).returning(NOW)
LEAVE: Final = sa.delete(processes).where(processes.c.id == _me)
BURY: Final = sa.delete(processes).where(processes.c.lease_until < NOW).returning(processes.c.id)
_ALIVE = sa.select(processes.c.id)
ORPHANS: Final = sa.select(devices.c.identity, devices.c.instance, devices.c.process).where(
    devices.c.process.not_in(_ALIVE)
)
FORGET_NOTICES: Final = sa.delete(outbox).where(
    outbox.c.process.not_in(_ALIVE) | (outbox.c.written_at < NOW - sa.bindparam("kept_s", type_=sa.Float))
)
OPEN_CALLS: Final = (
    sa.select(calls.c.phase, sa.func.count()).where(calls.c.phase != HubPhase.ENDED.value).group_by(calls.c.phase)
)
ENGAGED: Final = sa.select(open_legs.c.identity).distinct()

# --------------------------------------------------------------------------------------------------------- devices

_arrive = insert(devices)
ARRIVE: Final = _arrive.on_conflict_do_update(
    index_elements=[devices.c.identity, devices.c.instance, devices.c.process],
    set_={name: _arrive.excluded[name] for name in ("name", "role", "capabilities", "connected_at")},
)
DEPART: Final = sa.delete(devices).where(
    (devices.c.identity == _identity) & (devices.c.instance == _instance) & (devices.c.process == _me)
)
IS_THERE: Final = sa.select(sa.literal(1)).where(
    (devices.c.identity == _identity) & (devices.c.instance == _instance)
).limit(1)  # fmt: skip
ONLINE: Final = (
    sa.select(devices)
    .join(processes, processes.c.id == devices.c.process)
    .where((devices.c.identity == sa.func.any(_names)) & (processes.c.lease_until > NOW))
    # Locked, so that a device cannot be taken for gone between being chosen to ring and being written as ringing.
    .with_for_update(read=True, of=devices)
)
_device = devices.c.identity + "\n" + devices.c.instance + "\n" + devices.c.process
ELSEWHERE_DIGEST: Final = sa.select(sa.func.count(), sa.func.sum(sa.func.hashtext(_device))).where(
    devices.c.process != _me
)
"""Whether to read them again."""
ELSEWHERE: Final = sa.select(devices).where(devices.c.process != _me)
HOLDERS: Final = sa.select(devices.c.process).where(
    (devices.c.identity == _identity) & (devices.c.instance == _instance)
)  # fmt: skip

# ----------------------------------------------------------------------------------------------------------- calls

LOCK_CALL: Final = sa.select(calls.c.state).where(calls.c.call_id == sa.bindparam("call_id")).with_for_update()
READ_CALLS: Final = sa.select(calls.c.state).where(calls.c.call_id == sa.func.any(_ids))
LEGS: Final = (
    sa.select(open_legs.c.identity, open_legs.c.instance, calls.c.state)
    .join(calls, calls.c.call_id == open_legs.c.call_id)
    .where(open_legs.c.identity == sa.func.any(_names))
)
CALL_OF: Final = sa.select(open_legs.c.call_id).where(
    (open_legs.c.identity == _identity) & (open_legs.c.instance == _instance)
)
CONCERNED: Final = sa.select(calls.c.state).where(
    calls.c.call_id.in_(
        sa.union(
            sa.select(call_members.c.call_id).where(call_members.c.identity == _identity),
            sa.select(open_legs.c.call_id).where(open_legs.c.identity == _identity),
        )
    )
)
JOIN: Final = insert(call_members).on_conflict_do_nothing()
DISBAND: Final = sa.delete(call_members).where(call_members.c.call_id == sa.bindparam("its_call_id"))

QUEUE: Final = sa.select(calls.c.state).join(queued_calls, queued_calls.c.call_id == calls.c.call_id)
IS_QUEUE: Final = sa.select(sa.literal(1)).select_from(queued_calls).limit(1)
ENQUEUE: Final = insert(queued_calls).on_conflict_do_nothing()
DEQUEUE: Final = sa.delete(queued_calls).where(queued_calls.c.call_id == sa.bindparam("its_call_id"))

SURVEY: Final = """
    WITH own AS (
        SELECT state FROM calls WHERE call_id = $1::varchar FOR UPDATE
    ), present AS (
        SELECT devices.identity, devices.instance, devices.name, devices.role
        FROM devices JOIN processes ON processes.id = devices.process
        WHERE devices.identity = ANY($2::varchar[]) AND processes.lease_until > extract(epoch FROM clock_timestamp())
        FOR SHARE OF devices
    )
    SELECT 'call' AS kind, '' AS identity, '' AS instance, '' AS name, '' AS role, state FROM own
    UNION ALL
    SELECT 'device', identity, instance, name, role, NULL FROM present
    UNION ALL
    SELECT 'leg', open_legs.identity, open_legs.instance, '', '', calls.state
    FROM open_legs JOIN calls ON calls.call_id = open_legs.call_id
    WHERE open_legs.identity = ANY($3::varchar[])
    UNION ALL
    SELECT 'queued', '', '', '', '', calls.state
    FROM queued_calls JOIN calls ON calls.call_id = queued_calls.call_id
    """
"""LOCK_CALL, ONLINE, LEGS and QUEUE at once, for the driver."""

_lease = insert(leases)
TAKE_LEASE: Final = _lease.on_conflict_do_update(
    index_elements=[leases.c.call_id], set_={"due_s": _lease.excluded.due_s}
)  # fmt: skip
END_LEASE: Final = sa.delete(leases).where(leases.c.call_id == sa.bindparam("its_call_id"))
NEXT_LEASE: Final = (
    # The call's row is what every transition locks first: a lease locked before it would be a deadlock in waiting.
    sa.select(calls.c.state)
    .join(leases, leases.c.call_id == calls.c.call_id)
    .where(leases.c.due_s <= sa.bindparam("now_s", type_=sa.Float))
    .order_by(leases.c.due_s)
    .limit(1)
    .with_for_update(of=calls, skip_locked=True)
)

# ---------------------------------------------------------------------------------------------------------- outbox

TELL_WITH: Final = """
    told AS (
        INSERT INTO outbox (process, call_id, seq, identity, instance, event, payload, written_at)
        SELECT devices.process, notice.call_id, notice.seq, notice.identity, notice.instance, notice.event,
               notice.payload, extract(epoch FROM clock_timestamp())
        FROM unnest($2::varchar[], $3::bigint[], $4::varchar[], $5::varchar[], $6::varchar[], $7::bytea[])
             WITH ORDINALITY AS notice(call_id, seq, identity, instance, event, payload, place)
        JOIN devices ON devices.identity = notice.identity AND devices.instance = notice.instance
        ORDER BY notice.place
        RETURNING process
    )"""
TELL: Final = "SELECT process, pg_notify($1::text || process, '') FROM (SELECT DISTINCT process FROM told) AS woken"
"""For the driver: `orders.carry_out_with`."""
MOST_NOTICES: Final = 500
WAITING: Final = (
    sa.select(outbox)
    .where(
        (outbox.c.process == _me) & (outbox.c.id != sa.func.all(sa.bindparam("done", type_=sa.ARRAY(sa.BigInteger))))
    )
    .order_by(outbox.c.id)
    .limit(MOST_NOTICES)
)
DONE: Final = sa.delete(outbox).where(outbox.c.id == sa.func.any(sa.bindparam("done", type_=sa.ARRAY(sa.BigInteger))))
