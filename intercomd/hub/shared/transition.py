"""One transaction of one or more calls: lock, decide, write, and put what is to be told into the outbox.

`core/switch.py` decides here as it does for a single process. What is locked stays as it is until the commit; the key
of `open_legs` refuses whatever else would give a device two calls (`Conflict`: decide again, knowing of the other)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.core import waiting
from intercomd.core.legs import Endpoint, HubCall, Party
from intercomd.core.protocol import Reply
from intercomd.core.switch import handle
from intercomd.core.switchboard import Answer, Measured, SwitchEvent, Tell
from intercomd.core.vocabulary import HubPhase, encode
from intercomd.hub.history import records
from intercomd.hub.history.records import Figures
from intercomd.hub.shared import devices, statements
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.orders import Order, carry_out, carry_out_with
from intercomd.ids import CallId, IdentityId, InstanceId

decode_call = msgspec.json.Decoder(HubCall).decode


@dataclass(slots=True)
class _Known:
    """A locked call, as it was read and as it is now."""

    before: HubCall | None
    now: HubCall | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a call that begins depends on."""

    call: HubCall | None
    online: dict[IdentityId, tuple[Party, ...]]
    legs: dict[Endpoint, HubCall]
    queue: tuple[HubCall, ...]


@dataclass(slots=True)
class Transition:
    """Use within `database.transaction()`, and `write` at the end."""

    connection: AsyncConnection
    _calls: dict[CallId, _Known] = field(default_factory=dict)
    _tells: list[Tell] = field(default_factory=list)
    _figures: dict[tuple[CallId, Endpoint], Figures] = field(default_factory=dict)
    _kept: set[CallId] = field(default_factory=set)
    woken: set[str] = field(default_factory=set)
    """The processes that have something to deliver, after `write`."""

    # -------------------------------------------------------------------------------------------------- reading

    async def lock(self, call_id: CallId) -> HubCall | None:
        """This call, which nobody else changes until the commit."""
        if call_id in self._calls:
            return self._calls[call_id].now
        state = (await self.connection.execute(statements.LOCK_CALL, {"call_id": call_id})).scalar()
        return self._know(call_id, decode_call(state) if state is not None else None)

    async def survey(self, call_id: CallId, members: Iterable[IdentityId], caller: IdentityId) -> Survey:
        """Everything that the beginning of a call asks for, in one journey: this call if it is known (locked), who of
        these is connected (locked against departure), their open legs, and the queue. Should two begin the same call at
        once, its key refuses the second (`Conflict`)."""
        names = list(dict.fromkeys(members))
        engaged = list(dict.fromkeys((*names, caller)))
        rows = await self.connection.exec_driver_sql(statements.SURVEY, (call_id, names, engaged))
        found = _sorted(rows.all(), names)
        self._know(call_id, found.call)
        return found

    async def due(self, now_s: float) -> HubCall | None:
        """One call whose lease is over and that nobody else is at, locked."""
        state = (await self.connection.execute(statements.NEXT_LEASE, {"now_s": now_s})).scalar()
        if state is None:
            return None
        call = decode_call(state)
        return self._know(call.call_id, call)

    async def online(self, identities: Iterable[IdentityId]) -> dict[IdentityId, tuple[Party, ...]]:
        """Who is connected, to any process."""
        return await devices.online(self.connection, identities)

    async def legs(self, identities: Iterable[IdentityId]) -> dict[Endpoint, HubCall]:
        """The open legs of these identities, and their calls."""
        rows = await self.connection.execute(statements.LEGS, {"identities": list(dict.fromkeys(identities))})
        return _legs(rows.all())

    async def call_of(self, endpoint: Endpoint) -> CallId | None:
        """The open call that this device has a part in."""
        key = {"its_identity": endpoint.identity, "its_instance": endpoint.instance}
        found = (await self.connection.execute(statements.CALL_OF, key)).scalar()
        return CallId(found) if found is not None else None

    async def concerning(self, identity: IdentityId) -> tuple[HubCall, ...]:
        """The open calls that are for this identity or by it; not locked."""
        rows = await self.connection.execute(statements.CONCERNED, {"its_identity": identity})
        return tuple(decode_call(row.state) for row in rows)

    async def queue(self) -> tuple[HubCall, ...]:
        """The calls that wait in queues, in their order; not locked."""
        rows = await self.connection.execute(statements.QUEUE)
        return waiting.queue(decode_call(row.state) for row in rows)

    async def read(self, call_ids: Iterable[CallId]) -> dict[CallId, HubCall]:
        """These calls as far as they are known; not locked."""
        rows = await self.connection.execute(statements.READ_CALLS, {"call_ids": list(call_ids)})
        return {call.call_id: call for call in (decode_call(row.state) for row in rows)}

    def _know(self, call_id: CallId, call: HubCall | None) -> HubCall | None:
        self._calls[call_id] = _Known(call, call)
        return call

    # ------------------------------------------------------------------------------------------------- deciding

    def decide(self, call_id: CallId, event: SwitchEvent) -> Reply:
        """Of a call that is locked."""
        known = self._calls[call_id]
        known.now, effects = handle(known.now, event)
        reply = Reply(ok=True)
        for effect in effects:
            if isinstance(effect, Tell):
                self._tells.append(effect)
            elif isinstance(effect, Measured):
                self._figures[call_id, effect.by] = Figures(call_id, effect.by, effect.role, effect.metrics)
            elif isinstance(effect, Answer):
                reply = effect.reply
        return reply

    def keep_lease(self, call_id: CallId) -> None:
        """Write its lease anew, though nothing has changed: so that no stale one is claimed again and again."""
        self._kept.add(call_id)

    @property
    def changes(self) -> tuple[tuple[HubCall | None, HubCall], ...]:
        """Each call that is another one now, as it was and as it is."""
        return tuple(
            (known.before, known.now)
            for known in self._calls.values()
            if known.now is not None and known.now is not known.before
        )

    @property
    def figures(self) -> tuple[Figures, ...]:
        return tuple(self._figures.values())

    def _kept_calls(self) -> list[HubCall]:
        """Those whose lease is to be written though nothing has changed."""
        kept = (self._calls[call_id] for call_id in self._kept)
        return [known.now for known in kept if known.now is not None and known.now is known.before]

    # -------------------------------------------------------------------------------------------------- writing

    async def write(self) -> None:
        """Everything that was decided: mostly one journey to the database."""
        changes = self.changes
        orders = [
            *(records.orders(changes, self.figures, begin=records.BEGIN_CALL) if changes or self._figures else ()),
            *(order for before, call in changes for order in _orders(before, call)),
            *(order for call in self._kept_calls() for order in _lease(None, call)),
        ]
        if self._tells:
            told = _columns(self._tells)
            rows = await carry_out_with(self.connection, orders, statements.TELL_WITH, statements.TELL, told)
            self.woken = {row.process for row in rows}
        else:
            await carry_out(self.connection, orders)


async def is_anybody_waiting(database: Database) -> bool:
    """Whether there is a queue at all. Raises `DatabaseError`."""
    async with database.statement() as connection:
        return (await connection.execute(statements.IS_QUEUE)).first() is not None


def _legs(rows: Iterable[Any]) -> dict[Endpoint, HubCall]:
    known: dict[bytes, HubCall] = {}
    return {
        Endpoint(IdentityId(row.identity), InstanceId(row.instance)):
            known.get(row.state) or known.setdefault(row.state, decode_call(row.state))
        for row in rows
    }  # fmt: skip


def _sorted(rows: Iterable[Any], names: Iterable[IdentityId]) -> Survey:
    """The rows of `statements.SURVEY` by their kind."""
    kinds: dict[str, list[Any]] = {"call": [], "device": [], "leg": [], "queued": []}
    for row in rows:
        kinds[row.kind].append(row)
    call = next((decode_call(row.state) for row in kinds["call"]), None)
    queue = waiting.queue(decode_call(row.state) for row in kinds["queued"])
    return Survey(call, devices.by_identity(kinds["device"], names), _legs(kinds["leg"]), queue)


def _orders(before: HubCall | None, call: HubCall) -> list[Order]:
    """What the processes keep of an open call beside its state."""
    return [*_lease(before, call), *_members(before, call), *_queue(before, call)]


def _lease(before: HubCall | None, call: HubCall) -> list[Order]:
    if call.lease_s is None:
        return [Order(statements.END_LEASE, [{"its_call_id": call.call_id}])] if before is not None else []
    if before is None or before.lease_s != call.lease_s:
        return [Order(statements.TAKE_LEASE, [{"call_id": call.call_id, "due_s": call.lease_s}])]
    return []


def _members(before: HubCall | None, call: HubCall) -> list[Order]:
    if call.phase is HubPhase.ENDED:
        return [Order(statements.DISBAND, [{"its_call_id": call.call_id}])] if before is not None else []
    if before is None or before.members != call.members:
        rows = [{"identity": member, "call_id": call.call_id} for member in dict.fromkeys(call.members)]
        return [Order(statements.JOIN, rows)]
    return []


def _queue(before: HubCall | None, call: HubCall) -> list[Order]:
    was, waits = before is not None and waiting.is_waiting(before), waiting.is_waiting(call)
    if waits and not was:
        return [Order(statements.ENQUEUE, [{"call_id": call.call_id}])]
    if was and not waits:
        return [Order(statements.DEQUEUE, [{"its_call_id": call.call_id}])]
    return []


def _columns(tells: Iterable[Tell]) -> tuple[object, ...]:
    """In the order of the places in `statements.TELL_WITH`."""
    told = list(tells)
    return (
        statements.own_channel(""),
        [tell.notice.call_id for tell in told],
        [tell.notice.seq for tell in told],
        [tell.to.identity for tell in told],
        [tell.to.instance for tell in told],
        [tell.notice.event for tell in told],
        [msgspec.json.encode(encode(tell.notice)) for tell in told],
    )
