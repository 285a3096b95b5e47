"""The hub's reducer under long random lives: several calls at once, groups, devices that come and go, restarts.

What is checked after every step is what no client could repair: two calls on one device, a number that goes back, an
end that changes, a call that nobody would ever end, a word to somebody who has no part in the call."""

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from intercomd.core import waiting
from intercomd.core.admission import Online, admit, concerned, free_parties, open_legs
from intercomd.core.legs import Endpoint, HubCall, Limits, Party, Round, leg_of, view
from intercomd.core.protocol import (
    AcceptCall,
    CallMetrics,
    CancelCall,
    EndCall,
    ProlongCall,
    RejectCall,
    RejoinCall,
    Reply,
    WebrtcAnswer,
    WebrtcIceCandidate,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.switch import handle
from intercomd.core.switchboard import (
    Answer,
    CallRequest,
    Initiated,
    LeaseExpired,
    Persist,
    Requested,
    Restored,
    Returned,
    SwitchEvent,
    Tell,
    Vanished,
)
from intercomd.core.vocabulary import HubPhase, Metrics, Sdp
from intercomd.ids import CallId, IdentityId, InstanceId

PARTIES = tuple(
    Party(IdentityId(identity), InstanceId(f"{identity}-{number}"), identity)
    for identity, devices in (("door", 1), ("flat", 2), ("desk", 1), ("attic", 1))
    for number in range(devices)
)
NAMES: dict[str, tuple[IdentityId, ...]] = {name: (IdentityId(name),) for name in ("door", "flat", "desk", "attic")}
NAMES["house"] = NAMES["floor"] = tuple(IdentityId(name) for name in ("flat", "desk", "attic"))
IN_TURN = {"floor": tuple(Round((name,), 20.0) for name in NAMES["floor"])}
QUEUES = ("flat", "floor", "desk", "attic")
LIMITS = Limits(ring_s=60.0, setup_s=30.0, grace_s=40.0, talk_s=30.0, warning_s=12.0, queue_s=90.0, queue_length=2)
CALL_IDS = tuple(CallId(f"call-{number}") for number in range(12))


def verbs(call_id: CallId, epoch: int | None) -> dict[str, CallRequest]:
    return {
        "accept": AcceptCall(call_id),
        "reject": RejectCall(call_id, "card_missing"),
        "cancel": CancelCall(call_id),
        "end": EndCall(call_id, "media_failed"),
        "rejoin": RejoinCall(call_id),
        "offer": WebrtcOffer(call_id, Sdp("offer", "sdp"), epoch),
        "answer": WebrtcAnswer(call_id, Sdp("answer", "sdp"), epoch),
        "candidate": WebrtcIceCandidate(call_id, None, epoch),
        "restart": WebrtcRestart(call_id, epoch or 0),
        "metrics": CallMetrics(call_id, Metrics(jitter=0.01)),
        "prolong": ProlongCall(call_id),
    }


# Calls must come to be answered and stay up for a while, or everything after the ringing goes untried.
WHAT = ["initiate"] * 6 + ["request"] * 16 + ["vanish", "wait", "wait", "hush"] + ["come_back"] * 3
LIKELY = {
    HubPhase.RINGING: ["accept"] * 6 + ["reject"] * 3 + ["cancel"],
    HubPhase.CONNECTING: ["offer", "candidate", "metrics"] + ["answer"] * 6,
    HubPhase.CONNECTED: ["restart"] * 4 + ["metrics", "candidate", "end", "prolong"],
    HubPhase.INTERRUPTED: ["offer", "restart", "rejoin"] + ["answer"] * 3,
    HubPhase.ENDED: ["end", "metrics", "rejoin", "accept"],
}
VERBS = ["accept", "reject", "cancel", "end", "rejoin", "offer", "answer", "candidate", "restart", "metrics"]
VERBS += ["prolong"]
reached: Counter[HubPhase] = Counter()
seen: Counter[str] = Counter()
"""How often what happens next was tried."""


class Hub:
    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.now_s = 0.0
        self.calls: dict[CallId, HubCall] = {}
        self.online = set(PARTIES)
        self.quiet: set[IdentityId] = set()

    # ------------------------------------------------------------------------------------------- what happens

    def draw(self, among: Any) -> Any:
        return self.data.draw(st.sampled_from(list(among)))

    def initiate(self) -> None:
        taken = self.legs()
        callers = [party for party in PARTIES if party in self.online]
        callers += [party for party in callers if party.endpoint not in taken] * 4
        if not callers:
            return
        fresh = [name for name in CALL_IDS if name not in self.calls]
        caller, call_id = self.draw(callers), self.draw(fresh * 4 + [*CALL_IDS])
        recipient = self.draw([*NAMES, *["floor"] * 3, *[leg.identity for leg in sorted(taken)] * 2])
        queue = waiting.queue(self.calls.values())
        facts = admit(
            self.legs(), self.devices(), caller.endpoint, NAMES[recipient], rounds=IN_TURN.get(recipient, ()),
            silence=self.quiet.__contains__,
            position=waiting.place(queue, IdentityId(recipient), LIMITS.queue_length) if recipient in QUEUES else None,
        )  # fmt: skip
        self.step(call_id, Initiated(self.now_s, call_id, caller, IdentityId(recipient), facts, LIMITS), caller)

    def legs(self) -> dict[Endpoint, HubCall]:
        return open_legs(self.calls.values())

    def devices(self) -> Online:
        return {party.identity: [p for p in PARTIES if p in self.online and p.identity == party.identity]
                for party in self.online}  # fmt: skip

    def free(self, call: HubCall) -> tuple[Party, ...]:
        return free_parties(self.legs(), self.devices(), call.pending, self.quiet.__contains__)

    def hush(self) -> None:
        """Somebody does not want to be disturbed, or does again. Who rings there goes on ringing."""
        self.quiet ^= {self.draw(PARTIES).identity}

    def request(self) -> None:
        if not self.calls:
            return
        open_calls = [call for call in self.calls.values() if call.phase is not HubPhase.ENDED]
        call = self.draw(open_calls * 8 + list(self.calls.values()))
        verb = self.draw(LIKELY[call.phase] * 4 + VERBS)
        parts = [party for party in PARTIES if leg_of(call, party.endpoint)]
        sender = self.draw(parts * 6 + list(PARTIES))
        if sender not in self.online:
            return
        epoch = self.draw([call.epoch] * 6 + [None, call.epoch + 1, max(0, call.epoch - 1)])
        what = verbs(call.call_id, epoch)[verb]
        self.step(call.call_id, Requested(self.now_s, sender.endpoint, what, self.free(call)), sender)

    def vanish(self) -> None:
        party = self.draw(PARTIES)
        if party in self.online:
            self.online.discard(party)
            for call in [*self.calls.values()]:
                self.step(call.call_id, Vanished(self.now_s, party.endpoint))

    def come_back(self) -> None:
        """Also one that never went: a new socket that supersedes the old one."""
        party = self.draw(PARTIES)
        self.online.add(party)
        for call in concerned([c for c in self.calls.values() if c.phase is not HubPhase.ENDED], party.endpoint):
            other = open_legs(self.calls.values()).get(party.endpoint)
            engaged = (other is not None and other.call_id != call.call_id) or party.identity in self.quiet
            self.step(call.call_id, Returned(self.now_s, party, engaged))

    def wait(self) -> None:
        self.now_s += self.draw([0.2, 1.0, 1.0, 5.0, 20.0, 45.0])
        self.expire()

    def expire(self) -> None:
        for call_id in [*self.calls]:
            self.step(call_id, LeaseExpired(self.now_s, self.free(self.calls[call_id])))

    def settle_queues(self) -> None:
        for _ in range(20):
            found = waiting.review(
                waiting.queue(self.calls.values()), self.legs(), self.devices(), self.now_s, self.quiet.__contains__
            )
            if found is None:
                return
            self.step(found[0].call_id, found[1])
        raise AssertionError("the queues never come to rest")

    def restart(self) -> None:
        """The hub's process dies: what it wrote is read again, everybody is away."""
        self.online.clear()
        for call in [*self.calls.values()]:
            copy = msgspec.json.decode(msgspec.json.encode(call), type=HubCall)
            assert copy == call
            self.step(call.call_id, Restored(self.now_s))

    # -------------------------------------------------------------------------------------------- what must hold

    def step(self, call_id: CallId, what: SwitchEvent, sender: Party | None = None) -> None:
        before = self.calls.get(call_id)
        after, effects = handle(before, what)
        answers = [effect for effect in effects if isinstance(effect, Answer)]
        assert len(answers) == (1 if sender else 0)
        if sender:
            assert effects[-1] is answers[0]
            self.check_reply(sender, after, answers[0].reply)
        if before is not None and before.phase is HubPhase.ENDED:
            assert after == before, "an end changed"
        if after is None:
            assert len(effects) == len(answers)
            return
        self.check_writing(before, after, [*effects])
        self.check_notices(before, after, [effect for effect in effects if isinstance(effect, Tell)])
        self.check_ringing(before, after)
        reached[after.phase] += 1
        seen["waits"] += waiting.is_waiting(after)
        seen["rung through"] += before is not None and waiting.is_waiting(before) and bool(after.ringing)
        seen["next round"] += before is not None and before.turn is not None and after.turn not in (None, before.turn)
        seen["warned"] += after.warned
        self.calls[call_id] = after

    @staticmethod
    def check_reply(sender: Party, after: HubCall | None, reply: Reply) -> None:
        assert reply.ok == (reply.code is None)
        if reply.call is not None and after is not None and reply.call.call_id == after.call_id:
            assert reply.call == view(after, sender.endpoint)

    @staticmethod
    def check_writing(before: HubCall | None, after: HubCall, effects: list[Any]) -> None:
        is_same = before is not None and msgspec.structs.replace(before, seq=after.seq) == after
        if not is_same:
            assert isinstance(effects[0], Persist), "told before it was written"
        assert sum(isinstance(effect, Persist) for effect in effects) <= 2

    def check_notices(self, before: HubCall | None, after: HubCall, tells: list[Tell]) -> None:
        legs = {leg.endpoint for leg in (after.caller, *after.callees)}
        present = {party.endpoint for party in self.online}
        for told in tells:
            assert told.to in legs, "told to somebody who has no part in it"
            assert told.to in present
        if before is not after:
            seqs = [told.notice.seq for told in tells]
            start = before.seq if before is not None else 0
            assert seqs == [*range(start + 1, start + 1 + len(seqs))]

    def check_ringing(self, before: HubCall | None, after: HubCall) -> None:
        """It begins to ring only where it may, and a call that rings rings somewhere, or waits."""
        old = {leg.endpoint for leg in before.ringing} if before is not None else set()
        for leg in after.ringing:
            if leg.endpoint not in old:
                assert leg.party.identity not in self.quiet
                assert leg.party.identity in after.rings_at
        if after.phase is HubPhase.RINGING:
            assert bool(after.ringing) == (after.position is None)

    def the_queues_are_in_order(self) -> None:
        queue = waiting.queue(self.calls.values())
        for name in QUEUES:
            places = [call.position for call in queue if call.recipient_id == name]
            assert places == [*range(1, len(places) + 1)]
        legs, devices = self.legs(), self.devices()
        for call in queue:
            free = free_parties(legs, devices, call.pending, self.quiet.__contains__)
            assert not (free and call.caller.present), "somebody is free, and a caller waits for them"

    def no_device_is_in_two_calls(self) -> None:
        taken = [leg.endpoint for call in self.calls.values() for leg in call.open_legs]
        assert len(taken) == len(set(taken))

    def every_open_call_has_a_lease_and_at_most_one_callee(self) -> None:
        for call in self.calls.values():
            is_over = call.phase is HubPhase.ENDED
            assert (call.lease_s is None) == is_over
            assert (call.end_reason is None) != is_over
            assert call.settled_epoch <= call.epoch
            if not is_over:
                assert (call.callee is None) == (call.phase is HubPhase.RINGING)
                assert all(leg.present == self.is_there(leg.party) for leg in call.open_legs)

    def is_there(self, party: Party) -> bool:
        return party in self.online

    def leave_alone(self) -> None:
        """With nobody doing anything any more, the hub ends every call by itself."""
        for _ in range(40):
            leases = [call.lease_s for call in self.calls.values() if call.lease_s is not None]
            if not leases:
                break
            self.now_s = max(self.now_s, min(leases))
            self.expire()
            self.settle_queues()
        assert all(call.phase is HubPhase.ENDED for call in self.calls.values())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_nothing_happens_that_no_client_could_repair(data: st.DataObject) -> None:
    hub = Hub(data)
    restarts = 1
    for _ in range(data.draw(st.integers(20, 80))):
        what = hub.draw(WHAT + ["restart"] * restarts)
        restarts -= what == "restart"
        getattr(hub, what)()
        hub.settle_queues()
        hub.the_queues_are_in_order()
        hub.no_device_is_in_two_calls()
        hub.every_open_call_has_a_lease_and_at_most_one_callee()
    hub.leave_alone()


def test_every_phase_was_reached() -> None:
    """A search that tried nothing must not pass."""
    if not reached:
        pytest.skip("the search above was not run")
    assert all(reached[phase] > 50 for phase in HubPhase), reached
    assert all(seen[what] > 20 for what in ("waits", "rung through", "next round", "warned")), seen
