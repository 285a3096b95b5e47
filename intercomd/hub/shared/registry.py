"""The calls of several processes: none of them belongs to one. Each transition is a transaction that locks the call's
row, whichever process carries it out; what is to be told waits in the outbox for the process that holds the socket.

Any process may die at any time. Its devices are taken for gone when its lease is over, unless they are connected to
another one by then; the leases of calls are claimed by whoever is there. A process that finds itself taken for dead
ends, and is started again. While PostgreSQL is away, whoever asks is told `try_again`, and what nobody will ask for
again is kept and tried every second."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, Final, TypeVar

from intercomd.core import waiting
from intercomd.core.admission import concerned, free_parties
from intercomd.core.legs import Endpoint, HubCall, Limits, Party, view
from intercomd.core.protocol import EndCall, InitiateCall, KnownCall, Reply
from intercomd.core.switchboard import CallRequest, Initiated, LeaseExpired, Requested, Returned, Unreached, Vanished
from intercomd.core.vocabulary import CallState, HubPhase
from intercomd.errors import ErrorCode
from intercomd.hub.calling import chronicle, ringing
from intercomd.hub.calling.calls import NOT_NOW, Calls, Deliver, has_freed
from intercomd.hub.calling.presence import Presence
from intercomd.hub.clock import HubClock
from intercomd.hub.shared import statements
from intercomd.hub.shared.chores import Chores
from intercomd.hub.shared.devices import Attendance, is_anywhere, take_out
from intercomd.hub.shared.inquiries import Inquiries
from intercomd.hub.shared.outbox import Outbox
from intercomd.hub.shared.process import Buried, Process
from intercomd.hub.shared.transition import Transition, is_anybody_waiting
from intercomd.hub.storage.database import Conflict, Database, DatabaseError
from intercomd.ids import CallId, IdentityId
from intercomd.ports import Journal

ATTEMPTS: Final = 5
"""Of a transition that others keep overtaking."""
RETRY_S: Final = 1.0
TICK_S: Final = 0.25
"""How late a lease may be noticed."""
DELIVERY_LIMIT_S: Final = 1.0
REVIEWS: Final = 100

_T = TypeVar("_T")


class SharedRegistry(Calls):
    """One process's part in it."""

    def __init__(
        self,
        database: Database,
        presence: Presence,
        deliver: Deliver,
        journal: Journal,
        *,
        clock: HubClock,
        limits: Limits,
        zone: tzinfo = UTC,
    ) -> None:
        super().__init__(database, presence, deliver, journal, clock=clock, limits=limits, zone=zone)
        self._process = Process(self._database, self._clock)
        self._outbox = Outbox(self._database, self._process.id, self._deliver)
        self._attendance = Attendance(self._database, self._presence, self._process.id, self._depart)
        self._inquiries = Inquiries(self._database, self._process.id, self._clock, lambda: self.on_asked)
        self._chores = Chores()
        self._under_way = 0
        # As they were a moment ago: for those who look, not for those who decide.
        self._phases: Counter[HubPhase] = Counter()
        self._engaged: frozenset[IdentityId] = frozenset()
        self._presence.on_change = self._changed

    @property
    def open_calls(self) -> int:
        return self._phases.total()

    def phases(self) -> Counter[HubPhase]:
        return Counter(self._phases)

    @property
    def waiting(self) -> int:
        return self._under_way + len(self._chores)

    # --------------------------------------------------------------------------------------------- what happens

    async def load(self) -> None:
        """Nothing is taken over: this process joins the others, and whoever is dead is found to be."""
        await self._process.register()

    async def find(self, call_id: CallId) -> HubCall | None:
        try:
            return (await self._read([call_id], None)).get(call_id)
        except DatabaseError:
            return None

    def is_engaged(self, identity: IdentityId) -> bool:
        return identity in self._engaged

    async def initiate(self, caller: Party, request: InitiateCall) -> Reply:
        call_id, recipient = CallId(request.call_id), IdentityId(request.recipient_id)

        async def begin(step: Transition) -> Reply:
            turns = ringing.rounds(self.directory, recipient, self._limits.ring_s)
            found = await step.survey(call_id, (member for turn in turns for member in turn.members), caller.identity)
            now_s = self._clock.now_s()
            admission = ringing.admission(
                self.directory,
                found.legs,
                lambda _names: found.online,
                found.queue,
                caller.endpoint,
                recipient,
                self._limits,
                self._silence(now_s),
                self.reachable,
            )
            event = Initiated(now_s, call_id, caller, recipient, admission, self._limits, request.conversation_id)
            return step.decide(call_id, event)

        return await self._answered(begin)

    async def request(self, sender: Endpoint, request: CallRequest) -> Reply:
        call_id = CallId(request.call_id)

        async def carry_out(step: Transition) -> Reply:
            return await self._requested(step, call_id, sender, request)

        return await self._answered(carry_out)

    async def resync(self, party: Party, known: Sequence[KnownCall]) -> tuple[CallState, ...]:
        await self._return(party)
        calls = await self._read([CallId(call.call_id) for call in known], party.endpoint)
        states = (view(call, party.endpoint) for call in calls.values())
        return tuple(state for state in states if state is not None)

    async def returned(self, party: Party) -> None:
        """Should it not be possible now, it is done later."""
        with suppress(DatabaseError):
            await self._return(party)

    def vanished(self, endpoint: Endpoint) -> None:
        self._changed(endpoint)

    def unreached(self, call_id: CallId, identities: tuple[IdentityId, ...]) -> None:
        async def go_on(step: Transition) -> None:
            call = await step.lock(call_id)
            now_s = self._clock.now_s()
            step.decide(call_id, Unreached(now_s, identities, await self._free(step, call, now_s)))

        self._chores.add(("unreached", call_id, identities), lambda: self._carry_out(go_on))

    def leave(self, endpoint: Endpoint) -> None:
        async def hang_up(step: Transition) -> None:
            call_id = await step.call_of(endpoint)
            call = await step.lock(call_id) if call_id is not None else None
            if call is not None and (call.phase is not HubPhase.RINGING or call.caller.endpoint == endpoint):
                await self._requested(step, call.call_id, endpoint, EndCall(call.call_id))

        self._chores.add(("leave", endpoint), lambda: self._carry_out(hang_up))

    def review(self) -> None:
        self._chores.add("review", self._review)

    def rest(self) -> None:
        """The clock is PostgreSQL's."""
        self.review()

    # ------------------------------------------------------------------------------------------ for ever

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self._live, self._expire, self._deliver_waiting, self._listen):
                    tasks.create_task(work(), name=f"hub {work.__name__.strip('_')}")
                tasks.create_task(self._chores.run(RETRY_S), name="hub chores")
        except* Buried as group:
            raise group.exceptions[0] from None
        finally:
            await self._inquiries.close()

    async def ask_elsewhere(
        self, process: str, device: Endpoint, event: str, payload: dict[str, Any], limit_s: float
    ) -> object:
        return await self._inquiries.ask(process, device, event, payload, limit_s)

    async def drain(self, limit_s: float) -> None:
        """Mark this process's devices absent, as far as there is time: the lease does the rest."""
        try:
            async with asyncio.timeout(limit_s):
                await self._chores.finish()
                await self._outbox.sweep()
                await self._process.leave()
        except (TimeoutError, DatabaseError) as error:
            self._journal.report(ErrorCode.STORE_FAILING, "The hub stopped before all was written.", REASON=str(error))

    async def _live(self) -> None:
        """Renew this process's lease, and look after what dead ones have left."""
        while True:
            try:
                await self._process.renew()
                for endpoint, process in await self._process.orphans():
                    await self._depart(endpoint, process)
                await self._attendance.look_elsewhere()
                self._phases, self._engaged = await self._process.survey()
            except DatabaseError as error:
                self._failing(error)
            else:
                self._recovered()
            await asyncio.sleep(RETRY_S)

    async def _expire(self) -> None:
        while True:
            try:
                while await self._carry_out(self._expire_one):
                    pass
            except DatabaseError as error:
                self._failing(error)
            await asyncio.sleep(TICK_S)

    async def _expire_one(self, step: Transition) -> bool:
        now_s = self._clock.now_s()
        call = await step.due(now_s)
        if call is None:
            return False
        step.decide(call.call_id, LeaseExpired(now_s, await self._free(step, call, now_s)))
        step.keep_lease(call.call_id)
        return True

    async def _deliver_waiting(self) -> None:
        while True:
            try:
                await self._outbox.deliver_waiting()
            except DatabaseError as error:
                self._failing(error)
                await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        """Hear what others announce. What was said while nobody listened is made up for."""
        while True:
            try:
                async with self._database.listening(self._process.channels, self._heard) as look:
                    self._outbox.wake()
                    await self.on_directory()
                    while True:
                        await asyncio.sleep(RETRY_S)
                        await look()
            except DatabaseError as error:
                self._failing(error)
                await asyncio.sleep(RETRY_S)

    def _heard(self, channel: str, words: str) -> None:
        if channel == self._process.own_channel and words:
            self._inquiries.heard(words)
        elif channel == self._process.own_channel:
            self._outbox.wake()
        elif words == statements.DIRECTORY:
            self._chores.add(statements.DIRECTORY, self.on_directory)

    def _failing(self, error: DatabaseError) -> None:
        if self.is_writing and not isinstance(error, Conflict):
            self.is_writing = False
            self._journal.report(ErrorCode.STORE_FAILING, "The hub's database cannot be written.", REASON=str(error))

    def _recovered(self) -> None:
        if not self.is_writing:
            self.is_writing = True
            self._journal.report(ErrorCode.STORE_RECOVERED, "The hub's database is written again.")

    # -------------------------------------------------------------------------------------------- devices

    def _changed(self, endpoint: Endpoint) -> None:
        """A device has come or gone here."""
        self._chores.add(endpoint, lambda: self._attendance.settle(endpoint))

    async def _depart(self, endpoint: Endpoint, process: str) -> None:
        """That process has no connection to this device any more."""

        async def depart(step: Transition) -> None:
            await take_out(step.connection, endpoint, process)
            call_id = await step.call_of(endpoint)
            if call_id is None:
                return
            await step.lock(call_id)
            if not await is_anywhere(step.connection, endpoint):
                step.decide(call_id, Vanished(self._clock.now_s(), endpoint))

        await self._carry_out(depart)

    async def _return(self, party: Party) -> None:
        """Written as connected first, so that whoever looks for it finds it; then its calls hear of it. What fails is
        tried again later."""
        self._chores.forget(("return", party.endpoint))
        try:
            await self._attendance.settle(party.endpoint)
            await self._tell_return(party)
        except DatabaseError:
            self._chores.add(("return", party.endpoint), lambda: self._return_later(party), at_once=False)
            raise

    async def _return_later(self, party: Party) -> None:
        if self._presence.has_resynced(party.endpoint):
            await self._attendance.settle(party.endpoint)
            await self._tell_return(party)

    async def _tell_return(self, party: Party) -> None:
        async def look(step: Transition) -> tuple[HubCall, ...]:
            return concerned(await step.concerning(party.identity), party.endpoint)

        for call in await self._carry_out(look):
            await self._carry_out(partial(self._return_to, call.call_id, party))
        self.review()

    async def _return_to(self, call_id: CallId, party: Party, step: Transition) -> None:
        await step.lock(call_id)
        now_s = self._clock.now_s()
        elsewhere = await step.call_of(party.endpoint)
        engaged = elsewhere is not None and elsewhere != call_id
        step.decide(call_id, Returned(now_s, party, engaged or self._silence(now_s)(party.identity)))

    # ---------------------------------------------------------------------------------------- transitions

    async def _answered(self, work: Callable[[Transition], Awaitable[Reply]]) -> Reply:
        try:
            return await self._carry_out(work)
        except DatabaseError:
            return NOT_NOW

    async def _carry_out(self, work: Callable[[Transition], Awaitable[_T]]) -> _T:
        """In one transaction, anew whenever another process was first; told to this process's devices before it is
        answered. Raises `DatabaseError`."""
        self._under_way += 1
        try:
            for attempt in range(ATTEMPTS):
                try:
                    async with self._database.transaction() as connection:
                        step = Transition(connection)
                        result = await work(step)
                        await step.write()
                    break
                except Conflict:
                    if attempt == ATTEMPTS - 1:
                        raise
                    await asyncio.sleep(random.uniform(0.0, 0.02) * (attempt + 1))  # noqa: S311  (no secret)
        finally:
            self._under_way -= 1
        self._report(step)
        if self._process.id in step.woken:
            await self._outbox.passed(self._outbox.wake(), DELIVERY_LIMIT_S)
        return result

    def _report(self, step: Transition) -> None:
        for before, after in step.changes:
            chronicle.report(self._journal, before, after)
            self.on_change(before, after)
        if step.figures:
            self.on_measured(step.figures)
        if any(has_freed(before, after) for before, after in step.changes):
            self.review()

    async def _requested(self, step: Transition, call_id: CallId, sender: Endpoint, request: CallRequest) -> Reply:
        call = await step.lock(call_id)
        now_s = self._clock.now_s()
        return step.decide(call_id, Requested(now_s, sender, request, await self._free(step, call, now_s)))

    async def _free(self, step: Transition, call: HubCall | None, now_s: float) -> tuple[Party, ...]:
        """Where this call could ring next."""
        pending = () if call is None else call.pending
        if not pending:
            return ()
        online = await step.online(pending)
        return free_parties(await step.legs(pending), online, pending, self._silence(now_s))

    async def _review(self) -> None:
        if not await is_anybody_waiting(self._database):
            return
        for _ in range(REVIEWS):
            if not await self._carry_out(self._review_one):
                return

    async def _review_one(self, step: Transition) -> bool:
        queue = await step.queue()
        if not queue:
            return False
        members = tuple(dict.fromkeys(member for call in queue for member in call.members))
        now_s, online = self._clock.now_s(), await step.online(members)
        found = waiting.review(queue, await step.legs(members), online, now_s, self._silence(now_s))
        if found is None:
            return False
        call, event = found
        if await step.lock(call.call_id) == call:
            step.decide(call.call_id, event)
        return True

    async def _read(self, named: Sequence[CallId], endpoint: Endpoint | None) -> dict[CallId, HubCall]:
        """These calls, and the open one of this device."""

        async def look(step: Transition) -> dict[CallId, HubCall]:
            own = await step.call_of(endpoint) if endpoint is not None else None
            return await step.read([*named, *([own] if own is not None else ())])

        return await self._carry_out(look)
