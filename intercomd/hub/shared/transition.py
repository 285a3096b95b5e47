"""One transaction of one or more calls: lock, decide, write, and put what is to be told into the outbox.

`core/switch.py` decides here as it does for a single process. What is locked stays as it is until the commit; the key
of `open_legs` refuses whatever else would give a device two calls (`Conflict`: decide again, knowing of the other)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

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
from intercomd.ids import CallId, IdentityId, InstanceId

decode_call = msgspec.json.Decoder(HubCall).decode


@dataclass(slots=True)
class _Known:
    """A locked call, as it was read and as it is now."""

    before: HubCall | None
    now: HubCall | None


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

    async def lock(self, call_id: CallId, *, may_begin: bool = False) -> HubCall | None:
        """This call, which nobody else changes until the commit. `may_begin`: should it not be there, nobody else
        makes it, either."""
        if call_id in self._calls:
            return self._calls[call_id].now
        call = await self._locked(call_id)
        if call is None and may_begin:
            await self.connection.execute(statements.LOCK_NAME, {"call_id": call_id})
            call = await self._locked(call_id)
        self._calls[call_id] = _Known(call, call)
        return call

    async def due(self, now_s: float) -> HubCall | None:
        """One call whose lease is over and that nobody else is at, locked."""
        state = (await self.connection.execute(statements.NEXT_LEASE, {"now_s": now_s})).scalar()
        if state is None:
            return None
        call = decode_call(state)
        self._calls[call.call_id] = _Known(call, call)
        return call

    async def online(self, identities: Iterable[IdentityId]) -> dict[IdentityId, tuple[Party, ...]]:
        """Who is connected, to any process."""
        return await devices.online(self.connection, identities)

    async def legs(self, identities: Iterable[IdentityId]) -> dict[Endpoint, HubCall]:
        """The open legs of these identities, and their calls."""
        rows = await self.connection.execute(statements.LEGS, {"identities": list(dict.fromkeys(identities))})
        known: dict[bytes, HubCall] = {}
        return {
            Endpoint(IdentityId(row.identity), InstanceId(row.instance)):
                known.get(row.state) or known.setdefault(row.state, decode_call(row.state))
            for row in rows
        }  # fmt: skip

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

    async def _locked(self, call_id: CallId) -> HubCall | None:
        state = (await self.connection.execute(statements.LOCK_CALL, {"call_id": call_id})).scalar()
        return decode_call(state) if state is not None else None

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

    # -------------------------------------------------------------------------------------------------- writing

    async def write(self) -> None:
        """Everything that was decided."""
        changes = self.changes
        if changes or self._figures:
            await records.put(self.connection, changes, self.figures)
        for before, call in changes:
            await self._write_lease(before, call)
            await self._write_members(before, call)
            await self._write_queue(before, call)
        for call_id in self._kept - {call.call_id for _, call in changes}:
            kept = self._calls[call_id].now
            if kept is not None:
                await self._write_lease(None, kept)
        if self._tells:
            rows = await self.connection.execute(statements.TELL, _columns(self._tells))
            self.woken = {row.process for row in rows}

    async def _write_lease(self, before: HubCall | None, call: HubCall) -> None:
        if call.lease_s is None:
            await self.connection.execute(statements.END_LEASE, {"its_call_id": call.call_id})
        elif before is None or before.lease_s != call.lease_s:
            await self.connection.execute(statements.TAKE_LEASE, [{"call_id": call.call_id, "due_s": call.lease_s}])

    async def _write_members(self, before: HubCall | None, call: HubCall) -> None:
        if call.phase is HubPhase.ENDED:
            if before is not None:
                await self.connection.execute(statements.DISBAND, {"its_call_id": call.call_id})
        elif before is None or before.members != call.members:
            rows = [{"identity": member, "call_id": call.call_id} for member in dict.fromkeys(call.members)]
            if rows:
                await self.connection.execute(statements.JOIN, rows)

    async def _write_queue(self, before: HubCall | None, call: HubCall) -> None:
        was, waits = before is not None and waiting.is_waiting(before), waiting.is_waiting(call)
        if waits and not was:
            await self.connection.execute(statements.ENQUEUE, [{"call_id": call.call_id}])
        elif was and not waits:
            await self.connection.execute(statements.DEQUEUE, {"its_call_id": call.call_id})


def _columns(tells: Iterable[Tell]) -> dict[str, object]:
    told = list(tells)
    return {
        "channel": statements.own_channel(""),
        "call_ids": [tell.notice.call_id for tell in told],
        "seqs": [tell.notice.seq for tell in told],
        "identities": [tell.to.identity for tell in told],
        "instances": [tell.to.instance for tell in told],
        "events": [tell.notice.event for tell in told],
        "payloads": [msgspec.json.encode(encode(tell.notice)) for tell in told],
    }
