"""The hub's reducer: a table of every request in every phase, then its rules one by one."""

import itertools
from collections.abc import Callable

import pytest

from intercomd.core.admission import Admission, admit, open_legs
from intercomd.core.legs import HubCall, Party
from intercomd.core.protocol import (
    AcceptCall,
    CallAccepted,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallInitiated,
    CallMetrics,
    CallRejected,
    CallStateChanged,
    CancelCall,
    Code,
    EndCall,
    IncomingCall,
    RejectCall,
    RejoinCall,
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
    Measured,
    Persist,
    Requested,
    Restored,
    Returned,
    Vanished,
)
from intercomd.core.vocabulary import EndReason, HubPhase, Metrics
from intercomd.ids import CallId
from tests.unit.hub_calls import (
    ANSWER,
    CALL,
    DESK,
    DOOR,
    FLAT,
    FLAT_2,
    OFFER,
    THIEF,
    away,
    connected,
    connecting,
    ended,
    initiate,
    kinds,
    party,
    request,
    restarting,
    ringing,
    told,
)

PHASES: dict[str, Callable[[str], HubCall]] = {
    "ringing": lambda _: ringing(),
    "connecting": lambda _: connecting(),
    "connected": lambda _: connected(),
    "restarting": lambda _: restarting(),
    "peer_away": lambda sender: away(FLAT if sender == "caller" else DOOR),
    "ended": lambda _: ended(),
}
REQUESTS: dict[str, CallRequest] = {
    "accept": AcceptCall(CALL),
    "reject": RejectCall(CALL),
    "cancel": CancelCall(CALL),
    "end": EndCall(CALL),
    "rejoin": RejoinCall(CALL),
    "offer": WebrtcOffer(CALL, OFFER),
    "answer": WebrtcAnswer(CALL, ANSWER),
    "candidate": WebrtcIceCandidate(CALL, None),
    "restart": WebrtcRestart(CALL, 1),
    "metrics": CallMetrics(CALL, Metrics()),
}
SENDERS = {"caller": DOOR, "callee": FLAT, "sibling": FLAT_2, "stranger": THIEF}

# What is answered, and the phase after it where that is another one.
TABLE = """
                   ringing           connecting        connected               restarting             peer_away              ended
accept    caller   not_allowed       not_allowed       not_allowed             not_allowed            not_allowed            ok
accept    callee   ok>connecting     ok                ok                      ok                     ok                     ok
reject    caller   ok>ended          ok>ended          ok>ended                ok>ended               ok>ended               ok
reject    callee   ok>ended          ok>ended          ok>ended                ok>ended               ok>ended               ok
cancel    caller   ok>ended          ok>ended          ok>ended                ok>ended               ok>ended               ok
cancel    callee   ok>ended          ok>ended          ok>ended                ok>ended               ok>ended               ok
end       caller   ok>ended          ok>ended          ok>ended                ok>ended               ok>ended               ok
end       callee   ok>ended          ok>ended          ok>ended                ok>ended               ok>ended               ok
rejoin    caller   ok                ok                ok                      ok                     ok                     ok
rejoin    callee   ok                ok                ok                      ok                     ok                     ok
offer     caller   wrong_phase       ok                ok                      ok                     try_again              ok
offer     callee   wrong_phase       not_allowed       not_allowed             not_allowed            not_allowed            ok
answer    caller   wrong_phase       not_allowed       not_allowed             not_allowed            not_allowed            ok
answer    callee   wrong_phase       ok>connected      ok                      ok>connected           try_again              ok
candidate caller   wrong_phase       ok                ok                      ok                     try_again              ok
candidate callee   wrong_phase       ok                ok                      ok                     try_again              ok
restart   caller   wrong_phase       ok                ok>interrupted          stale_epoch            ok                     ok
restart   callee   wrong_phase       ok                ok>interrupted          stale_epoch            ok                     ok
metrics   caller   wrong_phase       ok>connected      ok                      ok                     ok                     ok
metrics   callee   wrong_phase       ok>connected      ok                      ok                     ok                     ok
accept    sibling  not_this_device   not_this_device   not_this_device         not_this_device        not_this_device        ok
end       sibling  not_this_device   not_this_device   not_this_device         not_this_device        not_this_device        ok
accept    stranger not_participant   not_participant   not_participant         not_participant        not_participant        not_participant
end       stranger not_participant   not_participant   not_participant         not_participant        not_participant        not_participant
"""  # noqa: E501


def table_rows() -> list[tuple[str, str, str, str, str]]:
    header, *lines = [line.split() for line in TABLE.strip().splitlines()]
    return [
        (verb, sender, phase, cell.partition(">")[0], cell.partition(">")[2])
        for verb, sender, *cells in lines
        for phase, cell in zip(header, cells, strict=True)
    ]


@pytest.mark.parametrize(("verb", "sender", "phase", "code", "becomes"), table_rows())
def test_every_request_in_every_phase(verb: str, sender: str, phase: str, code: str, becomes: str) -> None:
    before = PHASES[phase](sender)
    after, effects, reply = request(before, SENDERS[sender], REQUESTS[verb], 7.0)
    assert (reply.code or "ok") == code
    assert after.phase is (HubPhase(becomes) if becomes else before.phase)
    assert [type(effect) for effect in effects].count(Answer) == 1
    if code != "ok":
        assert after is before
        assert effects == (effects[-1],)


def test_the_table_is_complete() -> None:
    tried = {(verb, sender, phase) for verb, sender, phase, _, _ in table_rows()}
    assert tried >= set(itertools.product(REQUESTS, ("caller", "callee"), PHASES))


@pytest.mark.parametrize("phase", PHASES)
def test_events_that_do_not_concern_a_call_leave_it_alone(phase: str) -> None:
    call = PHASES[phase]("caller")
    for event in (Vanished(8.0, THIEF.endpoint), Returned(8.0, THIEF), LeaseExpired(8.0)):
        assert handle(call, event) == (call, ())


@pytest.mark.parametrize("what", REQUESTS.values(), ids=REQUESTS)
def test_an_unknown_call_is_answered(what: CallRequest) -> None:
    after, effects = handle(None, Requested(1.0, DOOR.endpoint, what))
    assert after is None
    (answer,) = effects
    assert isinstance(answer, Answer)
    assert answer.reply.code is Code.NOT_FOUND


@pytest.mark.parametrize("event", [Vanished(1.0, DOOR.endpoint), Returned(1.0, DOOR), LeaseExpired(1.0), Restored(1.0)])
def test_an_unknown_call_hears_nothing_else(event: Vanished | Returned | LeaseExpired | Restored) -> None:
    assert handle(None, event) == (None, ())


def test_a_call_rings_and_is_written_down_first() -> None:
    call, effects = handle(None, initiate(FLAT))
    assert call is not None
    assert isinstance(effects[0], Persist)
    (incoming,) = told(effects, FLAT)
    assert isinstance(incoming, IncomingCall)
    assert (incoming.caller_id, incoming.caller_name, incoming.ring_timeout) == ("door", "Door", 60.0)
    assert kinds(effects, DOOR) == [CallInitiated]
    assert call.lease_s == 60.0


def test_the_same_initiate_again_rings_once_but_tells_the_caller_again() -> None:
    """Legacy clients send two, and may listen only after the first one's notice."""
    call = ringing()
    after, effects = handle(call, initiate(FLAT, now_s=1.0))
    assert after is not None
    assert after.phase is HubPhase.RINGING
    assert kinds(effects, FLAT) == []
    assert kinds(effects, DOOR) == [CallInitiated]


def test_a_call_id_belongs_to_its_first_caller() -> None:
    call = ringing()
    for caller, code, tells in (
        (DESK, Code.CALL_ID_TAKEN, None),
        (party("door", "2"), Code.NOT_THIS_DEVICE, EndReason.ANSWERED_ELSEWHERE),
    ):
        after, effects = handle(call, initiate(FLAT, caller=caller, now_s=1.0))
        assert after is call
        (answer,) = effects
        assert isinstance(answer, Answer)
        assert answer.reply.code is code
        assert (answer.reply.call and answer.reply.call.end_reason) == tells


@pytest.mark.parametrize(
    ("admission", "reason"),
    [
        (Admission((FLAT.identity,), (), busy=True), EndReason.BUSY),
        (Admission((FLAT.identity,), ()), EndReason.OFFLINE),
        (Admission((), (), allowed=False), EndReason.NOT_ALLOWED),
        (Admission((FLAT.identity,), (FLAT,), allowed=False), EndReason.NOT_ALLOWED),
    ],
)
def test_a_call_that_cannot_ring_ends_at_once_with_a_record(admission: Admission, reason: EndReason) -> None:
    call, effects = handle(None, initiate(admission=admission))
    assert call is not None
    assert (call.phase, call.end_reason, call.lease_s, call.open_legs) == (HubPhase.ENDED, reason, None, ())
    assert isinstance(effects[0], Persist)
    (failed,) = told(effects, DOOR)
    assert isinstance(failed, CallFailed)
    assert failed.reason is reason
    assert kinds(effects, FLAT) == []
    reply = effects[-1]
    assert isinstance(reply, Answer)
    assert reply.reply.ok
    assert reply.reply.call is not None
    assert reply.reply.call.end_reason is reason
    again, repeated = handle(call, initiate(admission=admission, now_s=9.0))
    assert again is call
    assert told(repeated, DOOR) == [failed]


def test_glare_is_answered_with_the_first_call() -> None:
    first = ringing()
    legs = open_legs([first])
    facts = admit(legs, {DOOR.identity: [DOOR]}, FLAT.endpoint, [DOOR.identity])
    event = Initiated(1.0, CallId("second"), FLAT, DOOR.identity, facts)
    call, effects = handle(None, event)
    assert call is None
    (answer,) = effects
    assert isinstance(answer, Answer)
    assert answer.reply.ok
    assert answer.reply.call is not None
    assert (answer.reply.call.call_id, answer.reply.call.caller_id) == (CALL, "door")


@pytest.mark.parametrize("caller", [DOOR, FLAT])
def test_a_device_with_a_part_in_a_call_starts_no_other(caller: Party) -> None:
    facts = admit(open_legs([connected()]), {DESK.identity: [DESK]}, caller.endpoint, [DESK.identity])
    call, effects = handle(None, Initiated(1.0, CallId("second"), caller, DESK.identity, facts))
    assert call is None
    (answer,) = effects
    assert isinstance(answer, Answer)
    assert answer.reply.code is Code.BUSY
    assert answer.reply.call is not None
    assert answer.reply.call.call_id == CALL


def test_a_ringing_device_that_calls_a_third_one_is_busy() -> None:
    facts = admit(open_legs([ringing()]), {DESK.identity: [DESK]}, FLAT.endpoint, [DESK.identity])
    _, effects = handle(None, Initiated(1.0, CallId("second"), FLAT, DESK.identity, facts))
    (answer,) = effects
    assert isinstance(answer, Answer)
    assert answer.reply.code is Code.BUSY


def test_the_first_accept_wins_and_the_others_stop_ringing() -> None:
    call, effects, reply = request(ringing(FLAT, FLAT_2, DESK), FLAT, AcceptCall(CALL))
    assert (call.phase, call.epoch, call.answered_at, call.lease_s) == (HubPhase.CONNECTING, 1, 1.0, 31.0)
    assert reply.call is not None
    assert (reply.call.epoch, reply.call.callee_id) == (1, "flat")
    (accepted,) = told(effects, DOOR)
    assert isinstance(accepted, CallAccepted)
    assert (accepted.accepter_id, accepted.epoch) == ("flat", 1)
    for loser in (FLAT_2, DESK):
        (cancelled,) = told(effects, loser)
        assert isinstance(cancelled, CallCancelled)
        assert cancelled.reason is EndReason.ANSWERED_ELSEWHERE
    assert isinstance(effects[0], Persist)


def test_the_loser_learns_that_it_is_over_and_not_who_answered() -> None:
    call, _, _ = request(ringing(FLAT, DESK), FLAT, AcceptCall(CALL))
    after, _, reply = request(call, DESK, AcceptCall(CALL))
    assert after is call
    assert reply.ok
    assert reply.call is not None
    assert (reply.call.phase, reply.call.end_reason) == (HubPhase.ENDED, EndReason.ANSWERED_ELSEWHERE)
    assert (reply.call.callee_id, reply.call.answered_at) == (None, None)


def test_a_sibling_that_lost_is_not_this_device() -> None:
    call, _, _ = request(ringing(FLAT, FLAT_2), FLAT, AcceptCall(CALL))
    _, _, reply = request(call, FLAT_2, EndCall(CALL))
    assert reply.code is Code.NOT_THIS_DEVICE


def test_accepting_while_the_caller_is_away_gives_it_the_grace() -> None:
    rung, _ = handle(ringing(), Vanished(2.0, DOOR.endpoint))
    call, effects, _ = request(rung, FLAT, AcceptCall(CALL), 3.0)
    assert (call.phase, call.lease_s) == (HubPhase.INTERRUPTED, 122.0)
    assert kinds(effects, DOOR) == []
    back, effects = handle(call, Returned(50.0, DOOR))
    assert back is not None
    assert (back.phase, back.lease_s) == (HubPhase.CONNECTING, 80.0)
    assert kinds(effects, FLAT) == [CallStateChanged]


def test_one_members_no_lets_the_others_ring_and_the_last_no_ends() -> None:
    call, effects, reply = request(ringing(FLAT, DESK), FLAT, RejectCall(CALL))
    assert call.phase is HubPhase.RINGING
    assert kinds(effects, DOOR) == []
    assert reply.call is not None
    assert (reply.call.phase, reply.call.end_reason) == (HubPhase.ENDED, EndReason.REJECTED)
    call, effects, _ = request(call, DESK, RejectCall(CALL, "not now"), 2.0)
    assert (call.phase, call.end_reason, call.ender_id) == (HubPhase.ENDED, EndReason.REJECTED, "desk")
    (rejected,) = told(effects, DOOR)
    assert isinstance(rejected, CallRejected)
    assert (rejected.rejecter_id, rejected.reason) == ("desk", "not now")


def test_a_persons_no_counts_for_all_their_devices() -> None:
    call, effects, _ = request(ringing(FLAT, FLAT_2), FLAT, RejectCall(CALL))
    assert call.phase is HubPhase.ENDED
    assert kinds(effects, FLAT_2) == [CallCancelled]
    assert kinds(effects, DOOR) == [CallRejected]


def test_an_accept_after_ones_own_no_changes_nothing() -> None:
    call, _, _ = request(ringing(FLAT, DESK), FLAT, RejectCall(CALL))
    after, _, reply = request(call, FLAT, AcceptCall(CALL))
    assert after is call
    assert reply.call is not None
    assert reply.call.end_reason is EndReason.REJECTED


def test_a_cancel_stops_all_ringing() -> None:
    call, effects, _ = request(ringing(FLAT, DESK), DOOR, CancelCall(CALL))
    assert call.end_reason is EndReason.CANCELLED
    for callee in (FLAT, DESK):
        (cancelled,) = told(effects, callee)
        assert isinstance(cancelled, CallCancelled)
        assert (cancelled.canceller_id, cancelled.reason) == ("door", EndReason.CANCELLED)


@pytest.mark.parametrize("reason", ["media_failed", "card_missing", "card_denied", "network", "peer_lost", "failed"])
def test_a_client_may_name_a_failure_that_only_it_can_know(reason: str) -> None:
    assert request(connected(), FLAT, EndCall(CALL, reason))[0].end_reason == reason
    assert request(ringing(), DOOR, EndCall(CALL, reason))[0].end_reason == reason
    assert request(ringing(), FLAT, RejectCall(CALL, reason))[0].end_reason == reason


@pytest.mark.parametrize("reason", ["busy", "timeout", "rejected", "nonsense", "", None])
def test_a_client_may_name_no_other_reason(reason: str | None) -> None:
    assert request(connected(), FLAT, EndCall(CALL, reason))[0].end_reason is EndReason.COMPLETED
    assert request(ringing(), FLAT, RejectCall(CALL, reason))[0].end_reason is EndReason.REJECTED
    assert request(ringing(), DOOR, EndCall(CALL, reason))[0].end_reason is EndReason.CANCELLED


def test_hanging_up_tells_the_other_side_how_long_it_was() -> None:
    call, effects, _ = request(connected(), DOOR, EndCall(CALL), 11.0)
    (over,) = told(effects, FLAT)
    assert isinstance(over, CallEnded)
    assert (over.ender_id, over.duration, over.reason) == ("door", 10.0, EndReason.COMPLETED)
    assert kinds(effects, DOOR) == []
    assert call.open_legs == ()


def test_over_is_over_but_last_figures_are_taken() -> None:
    call = ended()
    after, effects, reply = request(call, FLAT, CallMetrics(CALL, Metrics(jitter=0.1)), 9.0)
    assert after is call
    assert reply.ok
    (measured,) = [effect for effect in effects if isinstance(effect, Measured)]
    assert (measured.by, measured.role, measured.metrics.jitter) == (FLAT.endpoint, "callee", 0.1)


def test_a_loser_adds_no_figures() -> None:
    call, _, _ = request(ringing(FLAT, DESK), FLAT, AcceptCall(CALL))
    call, _, _ = request(call, DOOR, EndCall(CALL))
    _, effects, _ = request(call, DESK, CallMetrics(CALL, Metrics(jitter=9.0)))
    assert not any(isinstance(effect, Measured) for effect in effects)
