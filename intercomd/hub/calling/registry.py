"""The hub's calls: `core/switch.py` decides in memory, one writer commits, and only then anybody hears of it.

Deciding never waits, so no two events of a call can interleave. What was decided while a commit was running
is committed together with the next one (group commit) and delivered in the order in which it was decided.
When a commit fails, everything that is not yet delivered is undone, whoever asked is told `try_again`, and
who is present is compared with the calls again every second until the database writes again."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from intercomd.core import waiting
from intercomd.core.admission import free_parties
from intercomd.core.legs import Endpoint, HubCall, Limits, Party, view
from intercomd.core.protocol import EndCall, InitiateCall, KnownCall, Reply
from intercomd.core.switch import handle
from intercomd.core.switchboard import (
    Answer,
    CallRequest,
    Initiated,
    LeaseExpired,
    Measured,
    Persist,
    Requested,
    Restored,
    Returned,
    SwitchEffect,
    SwitchEvent,
    Tell,
    Unreached,
    Vanished,
)
from intercomd.core.vocabulary import CallState, HubPhase
from intercomd.errors import ErrorCode
from intercomd.hub.calling import chronicle, ringing
from intercomd.hub.calling.calls import NOT_NOW, Calls, Deliver, has_freed
from intercomd.hub.calling.ledger import Ledger
from intercomd.hub.calling.presence import Presence
from intercomd.hub.clock import HubClock
from intercomd.hub.history import records
from intercomd.hub.history.records import Figures
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.ids import CallId, IdentityId
from intercomd.ports import Journal

RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Decision:
    """What one event has changed, and what waits for the commit."""

    before: HubCall | None
    after: HubCall | None
    effects: tuple[SwitchEffect, ...]
    reply: asyncio.Future[Reply]


class Registry(Calls):
    """In one process: `run` is the writer."""

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
        self._ledger = Ledger()
        self._figures: dict[tuple[CallId, Endpoint], Figures] = {}
        self._timers: dict[CallId, asyncio.TimerHandle] = {}
        self._queue: list[_Decision] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def open_calls(self) -> int:
        return len(self._ledger)

    def phases(self) -> Counter[HubPhase]:
        """How many open calls are in which phase."""
        return Counter(call.phase for call in self._ledger)

    @property
    def waiting(self) -> int:
        """Decisions that are not written yet."""
        return len(self._queue)

    # --------------------------------------------------------------------------------------- what happens

    async def load(self) -> None:
        """Take up the calls of the hub that ran before. Raises `DatabaseError`."""
        self._clock.not_before(await records.newest_s(self._database))
        now_s = self._clock.now_s()
        await records.forget_old(self._database)
        restored: list[records.Change] = []
        for call in await records.load_open(self._database):
            after, _ = handle(call, Restored(now_s))
            if after is not None:
                self._ledger.replace(None, after)
                self._arm(None, after)
                restored.append((call, after))
        await records.write(self._database, restored)

    async def find(self, call_id: CallId) -> HubCall | None:
        """An open call, or one that has ended lately."""
        return self._ledger.get(call_id)

    async def initiate(self, caller: Party, request: InitiateCall) -> Reply:
        call_id, recipient = CallId(request.call_id), IdentityId(request.recipient_id)
        await self._recall([call_id])
        self.rest()
        now_s = self._clock.now_s()
        admission = ringing.admission(
            self.directory,
            self._ledger.legs,
            self._presence.online,
            self._ledger.queue,
            caller.endpoint,
            recipient,
            self._limits,
            self._silence(now_s),
            self.reachable,
        )
        event = Initiated(now_s, call_id, caller, recipient, admission, self._limits, request.conversation_id)
        return await self._decide(call_id, event)

    def is_engaged(self, identity: IdentityId) -> bool:
        """Whether one of its devices has a part in an open call."""
        return any(endpoint.identity == identity for endpoint in self._ledger.legs)

    def rest(self) -> None:
        """Where no call depends on it, the hub's clock follows the wall clock, which somebody may have set."""
        if not len(self._ledger):
            self._clock.adjust()

    async def request(self, sender: Endpoint, request: CallRequest) -> Reply:
        """Any other request about a call."""
        call_id = CallId(request.call_id)
        await self._recall([call_id])
        return await self._decide(call_id, self._requested(call_id, sender, request))

    def review(self) -> None:
        """Let those who wait in a queue hear what is new to them: somebody is free, or their place is another."""
        for _ in range(2 * len(self._ledger.queue)):
            now_s, queue = self._clock.now_s(), self._ledger.queue
            online = self._presence.online(tuple({member for call in queue for member in call.members}))
            found = waiting.review(queue, self._ledger.legs, online, now_s, self._silence(now_s))
            if found is None:
                break
            self._decide(found[0].call_id, found[1])

    async def resync(self, party: Party, known: Sequence[KnownCall]) -> tuple[CallState, ...]:
        """The truth for this device: its open calls, and those that it names, if only to say that they are
        over."""
        await self.returned(party)
        named = [CallId(call.call_id) for call in known]
        await self._recall(named)
        own = self._ledger.legs.get(party.endpoint)
        calls = {} if own is None else {own.call_id: own}
        for call_id in named:
            call = self._ledger.get(call_id)
            if call is not None:
                calls[call_id] = call
        states = (view(call, party.endpoint) for call in calls.values())
        return tuple(state for state in states if state is not None)

    async def returned(self, party: Party) -> None:
        """This device is there (again). Idempotent."""
        decided: list[asyncio.Future[Reply]] = []
        for call in self._ledger.concerned(party.endpoint):
            decided.append(self._decide(call.call_id, self._return_of(call, party)))
        self.review()
        if decided:
            await asyncio.wait(decided)

    def vanished(self, endpoint: Endpoint) -> None:
        """The last socket of this device is gone."""
        call = self._ledger.legs.get(endpoint)
        if call is not None:
            self._decide(call.call_id, Vanished(self._clock.now_s(), endpoint))

    def unreached(self, call_id: CallId, identities: tuple[IdentityId, ...]) -> None:
        now_s = self._clock.now_s()
        self._decide(call_id, Unreached(now_s, identities, self._free(call_id, now_s)))

    def leave(self, endpoint: Endpoint) -> None:
        """Take this device out of its call, as if it had hung up. Where it only rings, it is left to ring: a refusal
        would speak for the person's other devices, too."""
        call = self._ledger.legs.get(endpoint)
        if call is not None and (call.phase is not HubPhase.RINGING or call.caller.endpoint == endpoint):
            self._decide(call.call_id, self._requested(call.call_id, endpoint, EndCall(call.call_id)))

    # ----------------------------------------------------------------------------------------- the writer

    async def run(self) -> None:
        """Commit and deliver until cancelled. A `TimeoutError` from a disk that hangs ends it, and the
        process."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue, []
                try:
                    await self._commit(batch)
                except DatabaseError as error:
                    self._undo(batch)
                    await self._recover(error)
                else:
                    await self._carry_out(batch)
            self._idle.set()

    async def drain(self, limit_s: float) -> None:
        """Wait until everything decided is committed, for so long at most; then let go of the timers."""
        if self._queue or not self._idle.is_set():
            try:
                await asyncio.wait_for(self._idle.wait(), limit_s)
            except TimeoutError:
                self._journal.report(ErrorCode.STORE_FAILING, "The hub stopped before all was written.")
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _decide(self, call_id: CallId, event: SwitchEvent) -> asyncio.Future[Reply]:
        """Never waits. The future is done when the outcome is on disk and told."""
        before = self._ledger.get(call_id)
        after, effects = handle(before, event)
        if after is not before:
            self._ledger.replace(before, after)
        self._arm(before, after)
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if effects:
            self._queue.append(_Decision(before, after, effects, reply))
            self._idle.clear()
            self._wake.set()
        else:
            reply.set_result(Reply(ok=True))
        if has_freed(before, after):
            self.review()
        return reply

    async def _commit(self, batch: Sequence[_Decision]) -> None:
        changes: dict[CallId, records.Change] = {}
        figures: dict[tuple[CallId, Endpoint], Figures] = {}
        for decision in batch:
            after = decision.after
            if after is None:
                continue
            for effect in decision.effects:
                if isinstance(effect, Persist):
                    first, _ = changes.get(after.call_id, (decision.before, after))
                    changes[after.call_id] = (first, after)
                elif isinstance(effect, Measured):
                    latest = Figures(after.call_id, effect.by, effect.role, effect.metrics)
                    kept = figures if after.phase is HubPhase.ENDED else self._figures
                    kept[after.call_id, effect.by] = latest
        ended = {call_id for call_id, (_, call) in changes.items() if call.phase is HubPhase.ENDED}
        due = {key: item for key, item in self._figures.items() if key[0] in ended} if ended else {}
        if changes or figures:
            kept_for_good = tuple({**due, **figures}.values())
            await records.write(self._database, tuple(changes.values()), kept_for_good)
            self.on_measured(kept_for_good)
        for key in due:
            del self._figures[key]

    async def _carry_out(self, batch: Sequence[_Decision]) -> None:
        for decision in batch:
            if decision.after is not None and decision.after is not decision.before:
                chronicle.report(self._journal, decision.before, decision.after)
                self.on_change(decision.before, decision.after)
            answered = Reply(ok=True)
            for effect in decision.effects:
                if isinstance(effect, Tell):
                    await self._deliver(effect.to, effect.notice)
                elif isinstance(effect, Answer):
                    answered = effect.reply
            _resolve(decision.reply, answered)

    def _undo(self, batch: Sequence[_Decision]) -> None:
        """Nothing of this was written or told: it has not happened."""
        undone, self._queue = [*batch, *self._queue], []
        for decision in reversed(undone):
            if decision.after is not decision.before:
                self._ledger.replace(decision.after, decision.before)
                self._arm(decision.after, decision.before, at_least_s=RETRY_S)
        for decision in undone:
            _resolve(decision.reply, NOT_NOW)

    async def _recover(self, error: DatabaseError) -> None:
        """Try once a second until something can be written; then decide again what nobody will ask for
        again."""
        self.is_writing = False
        self._journal.report(ErrorCode.STORE_FAILING, "The hub's database cannot be written.", REASON=str(error))
        while not self.is_writing:
            await asyncio.sleep(RETRY_S)
            self._undo(())
            try:
                await self._database.probe()
            except DatabaseError:
                continue
            self.is_writing = True
        self._journal.report(ErrorCode.STORE_RECOVERED, "The hub's database is written again.")
        for call in self._ledger:
            self._reconcile(call)

    def _reconcile(self, call: HubCall) -> None:
        """Compare a call with who is there."""
        for leg in call.open_legs:
            if self._presence.has_resynced(leg.endpoint) and not leg.present:
                self._decide(call.call_id, self._return_of(call, leg.party))
            elif leg.present and not self._presence.at(leg.endpoint):
                self._decide(call.call_id, Vanished(self._clock.now_s(), leg.endpoint))

    def _return_of(self, call: HubCall, party: Party) -> Returned:
        now_s, elsewhere = self._clock.now_s(), self._ledger.legs.get(party.endpoint)
        engaged = elsewhere is not None and elsewhere.call_id != call.call_id
        return Returned(now_s, party, engaged or self._silence(now_s)(party.identity))

    def _requested(self, call_id: CallId, sender: Endpoint, request: CallRequest) -> Requested:
        now_s = self._clock.now_s()
        return Requested(now_s, sender, request, self._free(call_id, now_s))

    def _free(self, call_id: CallId, now_s: float) -> tuple[Party, ...]:
        """Where this call could ring next."""
        call = self._ledger.get(call_id)
        pending = () if call is None else call.pending
        if not pending:
            return ()
        return free_parties(self._ledger.legs, self._presence.online(pending), pending, self._silence(now_s))

    # ------------------------------------------------------------------------------------- leases, memory

    def _arm(self, before: HubCall | None, after: HubCall | None, at_least_s: float = 0.0) -> None:
        """One timer per open call, for its lease."""
        lease_s = after.lease_s if after is not None else None
        call = after or before
        if call is None or (before is not None and before.lease_s == lease_s and call.call_id in self._timers):
            return
        timer = self._timers.pop(call.call_id, None)
        if timer is not None:
            timer.cancel()
        if lease_s is not None:
            delay_s = max(at_least_s, lease_s - self._clock.now_s())
            loop = asyncio.get_running_loop()
            self._timers[call.call_id] = loop.call_later(delay_s, self._expire, call.call_id)

    def _expire(self, call_id: CallId) -> None:
        del self._timers[call_id]
        now_s = self._clock.now_s()
        self._decide(call_id, LeaseExpired(now_s, self._free(call_id, now_s)))

    async def _recall(self, call_ids: Iterable[CallId]) -> None:
        """Have these calls at hand if the hub ever knew them."""
        missing = [call_id for call_id in call_ids if self._ledger.get(call_id) is None]
        if not missing:
            return
        for call in (await records.load(self._database, missing)).values():
            if self._ledger.get(call.call_id) is None and call.phase is HubPhase.ENDED:
                self._ledger.remember(call)


def _resolve(future: asyncio.Future[Reply], reply: Reply) -> None:
    """The one who asked may have stopped waiting."""
    if not future.done():
        future.set_result(reply)
