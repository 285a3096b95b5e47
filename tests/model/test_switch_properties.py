"""The hub's reducer under long random lives: several calls at once, groups, devices that come and go, restarts.

What is checked after every step is what no client could repair: two calls on one device, a number that goes back, an
end that changes, a call that nobody would ever end, a word to somebody who has no part in the call."""

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings

from intercomd.core.admission import admit, concerned, open_legs
from intercomd.core.legs import HubCall, Limits, Party, leg_of, view
from intercomd.core.protocol import (
    AcceptCall,
    CallMetrics,
    CancelCall,
    EndCall,
    HubPhase,
    Metrics,
    RejectCall,
    RejoinCall,
    Reply,
    Sdp,
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
from intercomd.ids import CallId, IdentityId, InstanceId

PARTIES = tuple(
    Party(IdentityId(identity), InstanceId(f"{identity}-{number}"), identity)
    for identity, devices in (("door", 1), ("flat", 2), ("desk", 1), ("attic", 1))
    for number in range(devices)
)
NAMES: dict[str, tuple[IdentityId, ...]] = {name: (IdentityId(name),) for name in ("door", "flat", "desk", "attic")}
NAMES["house"] = tuple(IdentityId(name) for name in ("flat", "desk", "attic"))
LIMITS = Limits(ring_s=60.0, setup_s=30.0, grace_s=40.0, talk_s=600.0)
CALL_IDS = tuple(CallId(f"call-{number}") for number in range(6))


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
    }


# Calls must come to be answered and stay up for a while, or everything after the ringing goes untried.
WHAT = ["initiate"] * 4 + ["request"] * 16 + ["vanish", "wait"] + ["come_back"] * 3
LIKELY = {
    HubPhase.RINGING: ["accept"] * 6 + ["reject", "cancel"],
    HubPhase.CONNECTING: ["offer", "candidate", "metrics"] + ["answer"] * 6,
    HubPhase.CONNECTED: ["restart"] * 4 + ["metrics", "candidate", "end"],
    HubPhase.INTERRUPTED: ["offer", "restart", "rejoin"] + ["answer"] * 3,
    HubPhase.ENDED: ["end", "metrics", "rejoin", "accept"],
}
VERBS = ["accept", "reject", "cancel", "end", "rejoin", "offer", "answer", "candidate", "restart", "metrics"]
reached: Counter[HubPhase] = Counter()


class Hub:
    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.now_s = 0.0
        self.calls: dict[CallId, HubCall] = {}
        self.online = set(PARTIES)

    # ------------------------------------------------------------------------------------------- what happens

    def draw(self, among: Any) -> Any:
        return self.data.draw(st.sampled_from(list(among)))

    def initiate(self) -> None:
        caller, recipient, call_id = self.draw(PARTIES), self.draw(sorted(NAMES)), self.draw(CALL_IDS)
        if caller not in self.online:
            return
        online = {party.identity: [p for p in PARTIES if p in self.online and p.identity == party.identity]
                  for party in self.online}  # fmt: skip
        facts = admit(open_legs(self.calls.values()), online, caller.endpoint, NAMES[recipient])
        self.step(call_id, Initiated(self.now_s, call_id, caller, IdentityId(recipient), facts, LIMITS), caller)

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
        self.step(call.call_id, Requested(self.now_s, sender.endpoint, verbs(call.call_id, epoch)[verb]), sender)

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
            engaged = other is not None and other.call_id != call.call_id
            self.step(call.call_id, Returned(self.now_s, party, engaged))

    def wait(self) -> None:
        self.now_s += self.draw([0.2, 1.0, 1.0, 5.0, 20.0, 45.0])
        for call in [*self.calls.values()]:
            self.step(call.call_id, LeaseExpired(self.now_s))

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
        reached[after.phase] += 1
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
        for _ in range(4):
            leases = [call.lease_s for call in self.calls.values() if call.lease_s is not None]
            if not leases:
                break
            self.now_s = max(self.now_s, *leases)
            for call in [*self.calls.values()]:
                self.step(call.call_id, LeaseExpired(self.now_s))
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
        hub.no_device_is_in_two_calls()
        hub.every_open_call_has_a_lease_and_at_most_one_callee()
    hub.leave_alone()


def test_every_phase_was_reached() -> None:
    """A search that tried nothing must not pass."""
    if not reached:
        pytest.skip("the search above was not run")
    assert all(reached[phase] > 50 for phase in HubPhase), reached
