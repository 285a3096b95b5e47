"""Whom a call rings, round by round; and the caller who waits in a queue."""

from typing import Any

import msgspec
import pytest

from intercomd.core.admission import Admission
from intercomd.core.legs import HubCall, Limits, Party, Round, view
from intercomd.core.protocol import (
    AcceptCall,
    CallAccepted,
    CallCancelled,
    CallFailed,
    CallInitiated,
    CallQueued,
    CallRejected,
    CancelCall,
    IncomingCall,
    RejectCall,
)
from intercomd.core.switch import handle
from intercomd.core.switchboard import (
    LeaseExpired,
    Requested,
    Restored,
    Returned,
    Reviewed,
    SwitchEvent,
    Vanished,
)
from intercomd.core.vocabulary import EndReason, HubPhase
from intercomd.ids import IdentityId
from tests.unit.hub_calls import CALL, DESK, DOOR, FLAT, FLAT_2, Effects, initiate, kinds, party, request, told

ATTIC = party("attic")
LIMITS = Limits(ring_s=60.0, grace_s=40.0, queue_s=300.0, queue_length=3)


def turns(*names: str, each_s: float = 30.0) -> tuple[Round, ...]:
    return tuple(Round((IdentityId(name),), each_s) for name in names)


def facts(*free: Party, rounds: tuple[Round, ...], **more: Any) -> Admission:
    members = tuple(member for turn in rounds for member in turn.members)
    return Admission(members, free, rounds=rounds, recipient_name="house", **more)


def begun(*free: Party, rounds: tuple[Round, ...], **more: Any) -> tuple[HubCall, Effects]:
    event = initiate(recipient="house", admission=facts(*free, rounds=rounds, **more), limits=LIMITS)
    call, effects = handle(None, event)
    assert call is not None
    return call, effects


def step(call: HubCall, event: SwitchEvent) -> tuple[HubCall, Effects]:
    after, effects = handle(call, event)
    assert after is not None
    return after, effects


def rings(call: HubCall) -> list[str]:
    return [leg.party.identity for leg in call.ringing]


IN_TURN = turns("flat", "desk", "attic")


def test_a_sequence_rings_one_after_another_and_the_caller_hears_one_ringing() -> None:
    call, effects = begun(FLAT, DESK, ATTIC, rounds=IN_TURN)
    assert rings(call) == ["flat"]
    [heard] = told(effects, DOOR)
    assert isinstance(heard, CallInitiated)
    assert heard.ring_timeout == 90.0, "the caller's own limit must let the last one ring"
    [incoming] = told(effects, FLAT)
    assert isinstance(incoming, IncomingCall)
    assert incoming.ring_timeout == 30.0
    assert (told(effects, DESK), call.lease_s) == ([], 30.0)
    call, effects = step(call, LeaseExpired(30.0, (DESK, ATTIC)))
    assert (rings(call), call.lease_s) == (["desk"], 60.0)
    [gone] = told(effects, FLAT)
    assert isinstance(gone, CallCancelled)
    assert gone.reason is EndReason.TIMEOUT
    assert kinds(effects, DESK) == [IncomingCall]
    assert kinds(effects, DOOR) == []
    call, effects = step(call, LeaseExpired(60.0, (ATTIC,)))
    call, effects = step(call, LeaseExpired(90.0))
    assert call.end_reason is EndReason.TIMEOUT
    assert (kinds(effects, DOOR), kinds(effects, ATTIC)) == ([CallFailed], [CallCancelled])
    assert [(leg.party.identity, leg.rung_at, leg.left_reason) for leg in call.callees] == [
        ("flat", 0.0, EndReason.TIMEOUT), ("desk", 30.0, EndReason.TIMEOUT), ("attic", 60.0, None),
    ], "the record keeps who was rung"  # fmt: skip


def test_who_is_away_or_busy_at_their_turn_is_passed_over_at_once() -> None:
    call, _ = begun(DESK, ATTIC, rounds=IN_TURN)
    assert rings(call) == ["desk"]
    call, _ = step(call, LeaseExpired(30.0))
    assert call.end_reason is EndReason.TIMEOUT
    call, _ = begun(FLAT, DESK, ATTIC, rounds=IN_TURN)
    call, _ = step(call, LeaseExpired(30.0, (ATTIC,)))
    assert (rings(call), call.rounds) == (["attic"], ())


def test_a_no_in_a_sequence_rings_the_next_at_once_and_the_last_no_ends_the_call() -> None:
    call, _ = begun(FLAT, FLAT_2, DESK, rounds=turns("flat", "desk"))
    assert rings(call) == ["flat", "flat"]
    after, effects = step(call, Requested(5.0, FLAT.endpoint, RejectCall(CALL), (DESK,)))
    assert (rings(after), after.lease_s) == (["desk"], 35.0)
    assert kinds(effects, FLAT_2) == [CallCancelled]
    assert kinds(effects, DESK) == [IncomingCall]
    assert kinds(effects, DOOR) == []
    state = view(after, FLAT.endpoint)
    assert state is not None
    assert (state.phase, state.end_reason) == (HubPhase.ENDED, EndReason.REJECTED)
    after, effects = step(after, Requested(6.0, DESK.endpoint, RejectCall(CALL)))
    assert (after.end_reason, kinds(effects, DOOR)) == (EndReason.REJECTED, [CallRejected])


def test_an_answer_in_a_later_round_ends_the_hunt() -> None:
    call, _ = begun(FLAT, DESK, ATTIC, rounds=IN_TURN)
    call, _ = step(call, LeaseExpired(30.0, (DESK, ATTIC)))
    call, effects, _ = request(call, DESK, AcceptCall(CALL), 31.0)
    assert (call.phase, call.rounds) == (HubPhase.CONNECTING, ())
    assert kinds(effects, DOOR) == [CallAccepted]
    assert kinds(effects, FLAT) == [], "who was passed on has heard it already"


def test_who_was_rung_in_an_earlier_round_cannot_accept_any_more() -> None:
    call, _ = begun(FLAT, DESK, rounds=IN_TURN)
    call, _ = step(call, LeaseExpired(30.0, (DESK,)))
    after, _, reply = request(call, FLAT, AcceptCall(CALL), 31.0)
    assert after == call
    assert reply.call is not None
    assert (reply.call.phase, reply.call.end_reason) == (HubPhase.ENDED, EndReason.TIMEOUT)


def test_all_at_once_escalates_when_nobody_of_them_answers() -> None:
    rounds = (Round((FLAT.identity, DESK.identity), 60.0), *turns("attic"))
    call, _ = begun(FLAT, DESK, ATTIC, rounds=rounds)
    assert rings(call) == ["flat", "desk"]
    call, effects = step(call, LeaseExpired(60.0, (ATTIC,)))
    assert rings(call) == ["attic"]
    assert [kinds(effects, who) for who in (FLAT, DESK, ATTIC)] == [[CallCancelled], [CallCancelled], [IncomingCall]]


def test_only_those_whose_turn_it_is_are_rung_when_they_come_online() -> None:
    call, _ = begun(FLAT, DESK, rounds=IN_TURN)
    after, effects = step(call, Returned(3.0, DESK))
    assert (after, effects) == (call, ())
    after, effects = step(call, Returned(3.0, FLAT_2))
    assert rings(after) == ["flat", "flat"]
    [incoming] = told(effects, FLAT_2)
    assert isinstance(incoming, IncomingCall)
    assert incoming.ring_timeout == 27.0


def test_a_hub_that_restarts_in_the_middle_of_a_sequence_goes_on_with_it() -> None:
    call, _ = begun(FLAT, DESK, ATTIC, rounds=IN_TURN)
    call, _ = step(call, LeaseExpired(30.0, (DESK, ATTIC)))
    call = msgspec.json.decode(msgspec.json.encode(call), type=HubCall)
    call, _ = step(call, Restored(40.0))
    assert (call.lease_s, rings(call)) == (60.0, ["desk"])
    call, effects = step(call, Returned(41.0, DOOR))
    heard = told(effects, DOOR)[-1]
    assert isinstance(heard, CallInitiated)
    assert heard.ring_timeout == 19.0 + 30.0
    call, effects = step(call, Returned(42.0, DESK))
    assert kinds(effects, DESK) == [IncomingCall]
    call, effects = step(call, LeaseExpired(60.0, (ATTIC,)))
    assert rings(call) == ["attic"]


def test_a_clock_that_was_set_back_does_not_prolong_a_round() -> None:
    call, _ = begun(FLAT, DESK, rounds=turns("flat", "desk", each_s=90.0))
    call, _ = step(call, Restored(-5000.0))
    assert call.until_s == -5000.0 + 90.0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"busy": True}, EndReason.BUSY),
        ({"quiet": True}, EndReason.DO_NOT_DISTURB),
        ({"busy": True, "quiet": True}, EndReason.BUSY),
        ({}, EndReason.OFFLINE),
        ({"allowed": False, "busy": True, "position": 1}, EndReason.NOT_ALLOWED),
        ({"position": 1}, EndReason.OFFLINE),
    ],
)
def test_why_nobody_can_be_rung(given: dict[str, Any], reason: EndReason) -> None:
    call, effects = begun(rounds=IN_TURN, **given)
    assert (call.phase, call.end_reason) == (HubPhase.ENDED, reason)
    [failed] = told(effects, DOOR)
    assert isinstance(failed, CallFailed)
    assert failed.reason is reason


# ------------------------------------------------------------------------------------------------------ the queue


def queued(position: int = 2) -> HubCall:
    return begun(rounds=turns("flat"), busy=True, position=position)[0]


def test_a_caller_who_may_wait_hears_its_place() -> None:
    call, effects = begun(rounds=turns("flat"), busy=True, position=2)
    [heard] = told(effects, DOOR)
    assert isinstance(heard, CallQueued)
    assert (heard.position, heard.ring_timeout) == (2, 330.0)
    state = view(call, DOOR.endpoint)
    assert state is not None
    assert (state.phase, state.queue_position, state.peer_present) == (HubPhase.RINGING, 2, True)
    assert [leg.party for leg in call.open_legs] == [DOOR], "its device is in a call"
    assert call.rings_at == ()


def test_a_waiting_caller_hears_every_change_of_its_place_and_none_twice() -> None:
    call, effects = step(queued(), Reviewed(5.0, 1))
    assert (call.position, kinds(effects, DOOR)) == (1, [CallQueued])
    assert step(call, Reviewed(6.0, 1)) == (call, ())


def test_a_waiting_caller_is_rung_through_when_somebody_gets_free() -> None:
    call, effects = step(queued(), Reviewed(100.0, 1, (FLAT,)))
    assert (rings(call), call.position, call.until_s) == (["flat"], None, 130.0)
    assert (kinds(effects, FLAT), kinds(effects, DOOR)) == ([IncomingCall], [CallInitiated])
    state = view(call, DOOR.endpoint)
    assert state is not None
    assert state.queue_position is None


def test_a_caller_that_is_away_keeps_its_place_and_is_not_rung_through() -> None:
    call, _ = step(queued(1), Vanished(10.0, DOOR.endpoint))
    assert (call.lease_s, call.phase) == (50.0, HubPhase.RINGING)
    after, effects = step(call, Reviewed(20.0, 1, (FLAT,)))
    assert (after, effects) == (call, ())
    back, effects = step(call, Returned(30.0, DOOR))
    [heard] = told(effects, DOOR)
    assert isinstance(heard, CallQueued)
    assert (heard.position, back.lease_s) == (1, 300.0)
    gone, _ = step(call, LeaseExpired(50.0))
    assert gone.end_reason is EndReason.CALLER_GONE


def test_the_queue_has_a_limit_in_time() -> None:
    call, effects = step(queued(), LeaseExpired(300.0))
    assert call.end_reason is EndReason.BUSY
    assert kinds(effects, DOOR) == [CallFailed]


def test_cancelling_leaves_the_queue() -> None:
    call, _, reply = request(queued(), DOOR, CancelCall(CALL))
    assert (call.end_reason, call.open_legs) == (EndReason.CANCELLED, ())
    assert reply.call is not None
    assert reply.call.queue_position is None


def test_a_wish_not_to_be_disturbed_ends_the_waiting() -> None:
    call, effects = step(queued(), Reviewed(5.0, 2, quiet=True))
    [failed] = told(effects, DOOR)
    assert isinstance(failed, CallFailed)
    assert (call.end_reason, failed.reason) == (EndReason.DO_NOT_DISTURB, EndReason.DO_NOT_DISTURB)


def test_the_queue_outlives_the_hub() -> None:
    kept = msgspec.json.decode(msgspec.json.encode(queued()), type=HubCall)
    call, _ = step(kept, Restored(50.0))
    assert (call.position, call.until_s) == (2, 300.0)
    call, effects = step(call, Returned(51.0, DOOR))
    assert kinds(effects, DOOR) == [CallQueued]
    assert rings(step(call, Reviewed(52.0, 1, (FLAT,)))[0]) == ["flat"]


def test_dialling_twice_does_not_wait_twice() -> None:
    call = queued()
    after, effects = handle(call, initiate(recipient="house", now_s=1.0, limits=LIMITS))
    assert after is not None
    assert (after.position, kinds(effects, DOOR)) == (2, [CallQueued])


def test_nobody_but_the_caller_can_touch_a_waiting_call() -> None:
    call = queued()
    for what in (AcceptCall(CALL), RejectCall(CALL), CancelCall(CALL)):
        after, _, reply = request(call, FLAT, what)
        assert (after, reply.ok) == (call, False)


def test_news_about_a_queue_come_too_late() -> None:
    rung, _ = step(queued(), Reviewed(5.0, 1, (FLAT,)))
    for call in (rung, request(rung, FLAT, AcceptCall(CALL))[0], request(queued(), DOOR, CancelCall(CALL))[0]):
        assert step(call, Reviewed(6.0, 1, (DESK,), quiet=True)) == (call, ())
    assert handle(None, Reviewed(6.0, 1)) == (None, ())
