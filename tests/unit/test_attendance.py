"""Who vanishes and returns, and what the hub decides when a lease is over."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from intercomd.core.attendance import RETURN_S
from intercomd.core.legs import MAX_LEGS, HubCall, Limits
from intercomd.core.protocol import (
    AcceptCall,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallStateChanged,
    IncomingCall,
    RejectCall,
)
from intercomd.core.switch import handle
from intercomd.core.switchboard import (
    SEQ_LEAP,
    LeaseExpired,
    Persist,
    Restored,
    Returned,
    Vanished,
)
from intercomd.core.vocabulary import EndReason, HubPhase
from tests.unit.hub_calls import (
    CALL,
    DESK,
    DOOR,
    FLAT,
    FLAT_2,
    away,
    connected,
    connecting,
    ended,
    kinds,
    party,
    request,
    restarting,
    ringing,
    told,
)


def test_a_vanished_side_gets_the_grace_and_the_other_hears_of_it() -> None:
    call, effects = handle(connected(), Vanished(5.0, FLAT.endpoint))
    assert call is not None
    assert (call.phase, call.lease_s) == (HubPhase.INTERRUPTED, 125.0)
    (changed,) = told(effects, DOOR)
    assert isinstance(changed, CallStateChanged)
    assert not changed.state.peer_present
    assert changed.state.seq == changed.seq
    back, effects = handle(call, Returned(20.0, FLAT))
    assert back is not None
    assert back.phase is HubPhase.CONNECTED
    (changed,) = told(effects, DOOR)
    assert isinstance(changed, CallStateChanged)
    assert changed.state.peer_present


def test_the_grace_ends_with_one_reason_for_both() -> None:
    call = away(FLAT)
    assert handle(call, LeaseExpired(124.9)) == (call, ())
    after, effects = handle(call, LeaseExpired(125.0))
    assert after is not None
    assert after.end_reason is EndReason.PEER_LOST
    (over,) = told(effects, DOOR)
    assert isinstance(over, CallEnded)
    assert over.reason is EndReason.PEER_LOST
    assert kinds(effects, FLAT) == []


def test_while_somebody_is_away_only_the_grace_counts() -> None:
    """A callee that reboots just after accepting keeps the call past the set-up limit."""
    call, _ = handle(connecting(), Vanished(2.0, FLAT.endpoint))
    assert call is not None
    assert call.lease_s == 122.0
    back, _ = handle(call, Returned(100.0, FLAT))
    assert back is not None
    assert (back.phase, back.lease_s) == (HubPhase.CONNECTING, 130.0)


def test_the_earlier_one_to_vanish_decides_the_grace() -> None:
    call, _ = handle(away(FLAT), Vanished(60.0, DOOR.endpoint))
    assert call is not None
    assert call.lease_s == 125.0
    back, _ = handle(call, Returned(100.0, FLAT))
    assert back is not None
    assert (back.phase, back.lease_s) == (HubPhase.INTERRUPTED, 180.0)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (connecting(), EndReason.MEDIA_FAILED),
        (restarting(), EndReason.MEDIA_FAILED),
        (connected(), EndReason.COMPLETED),
    ],
    ids=["connecting", "restarting", "talk limit"],
)
def test_a_lease_of_a_call_that_both_attend(call: HubCall, reason: EndReason) -> None:
    assert call.lease_s is not None
    after, effects = handle(call, LeaseExpired(call.lease_s))
    assert after is not None
    assert after.end_reason is reason
    assert kinds(effects, DOOR) == kinds(effects, FLAT) == [CallEnded]


def test_nobody_answers() -> None:
    after, effects = handle(ringing(FLAT, DESK), LeaseExpired(60.0))
    assert after is not None
    assert after.end_reason is EndReason.TIMEOUT
    (failed,) = told(effects, DOOR)
    assert isinstance(failed, CallFailed)
    assert failed.reason is EndReason.TIMEOUT
    assert kinds(effects, FLAT) == kinds(effects, DESK) == [CallCancelled]


def test_a_caller_that_does_not_come_back_stops_the_ringing() -> None:
    limits = Limits(ring_s=60.0, grace_s=10.0)
    call, effects = handle(ringing(limits=limits), Vanished(5.0, DOOR.endpoint))
    assert call is not None
    assert (call.phase, call.lease_s) == (HubPhase.RINGING, 15.0)
    assert kinds(effects, FLAT) == [CallStateChanged]
    after, effects = handle(call, LeaseExpired(15.0))
    assert after is not None
    assert after.end_reason is EndReason.CALLER_GONE
    (cancelled,) = told(effects, FLAT)
    assert isinstance(cancelled, CallCancelled)
    assert cancelled.reason is EndReason.CALLER_GONE
    back, _ = handle(call, Returned(14.0, DOOR))
    assert back is not None
    assert back.lease_s == 60.0


def test_a_ringing_callee_that_reboots_is_rung_again() -> None:
    gone, effects = handle(ringing(), Vanished(5.0, FLAT.endpoint))
    assert gone is not None
    assert gone.lease_s == 60.0
    assert kinds(effects, DOOR) == [CallStateChanged]
    back, effects = handle(gone, Returned(20.0, FLAT))
    assert back is not None
    (incoming,) = told(effects, FLAT)
    assert isinstance(incoming, IncomingCall)
    assert incoming.ring_timeout == 40.0
    assert kinds(effects, DOOR) == [CallStateChanged]


def test_a_resync_of_one_that_never_vanished_repeats_only_its_ringing() -> None:
    """The first incoming_call may be lost with the socket that it was sent to."""
    _, effects = handle(ringing(), Returned(2.0, FLAT))
    assert kinds(effects, FLAT) == [IncomingCall]
    assert kinds(effects, DOOR) == []
    assert handle(connected(), Returned(2.0, FLAT)) == (connected(), ())


def test_a_device_that_comes_online_while_it_rings_is_rung_too() -> None:
    call, effects = handle(ringing(), Returned(20.0, FLAT_2))
    assert call is not None
    assert isinstance(effects[0], Persist)
    (incoming,) = told(effects, FLAT_2)
    assert isinstance(incoming, IncomingCall)
    assert incoming.ring_timeout == 40.0
    accepted, effects, _ = request(call, FLAT_2, AcceptCall(CALL), 21.0)
    assert accepted.callee is not None
    assert accepted.callee.endpoint == FLAT_2.endpoint
    assert kinds(effects, FLAT) == [CallCancelled]


def test_no_device_is_rung_that_is_engaged_or_whose_owner_said_no_or_past_the_limit() -> None:
    call = ringing(FLAT, DESK)
    assert handle(call, Returned(2.0, FLAT_2, engaged=True)) == (call, ())
    refused, _, _ = request(call, FLAT, RejectCall(CALL))
    assert handle(refused, Returned(2.0, FLAT_2)) == (refused, ())
    crowd = ringing(*(party("flat", str(number)) for number in range(MAX_LEGS)))
    assert handle(crowd, Returned(2.0, party("flat", "late"))) == (crowd, ())
    answered = connected()
    assert handle(answered, Returned(2.0, FLAT_2)) == (answered, ())


@pytest.mark.parametrize("make", [ringing, connecting, connected, restarting])
def test_a_restarted_hub_waits_for_everybody_and_leaps_ahead(make: Callable[[], HubCall]) -> None:
    call = make()
    copy = msgspec.json.decode(msgspec.json.encode(call), type=HubCall)
    assert copy == call
    back, effects = handle(copy, Restored(50.0))
    assert back is not None
    assert effects == (Persist(),)
    assert back.seq == call.seq + SEQ_LEAP
    assert not any(leg.present for leg in back.open_legs)
    assert back.lease_s == (60.0 if back.phase is HubPhase.RINGING else 170.0)
    for who in (DOOR, FLAT):
        back, _ = handle(back, Returned(51.0, who))
    assert back is not None
    assert back.phase is call.phase


@pytest.mark.parametrize("make", [ringing, connected], ids=["ringing", "connected"])
def test_a_hub_that_was_away_does_not_hold_it_against_those_who_come_back_by_their_back_off(
    make: Callable[[], HubCall],
) -> None:
    """With a grace of 4 s they have, all the same, the time in which clients come back: it was not they who went."""
    call, _ = handle(replace(make(), limits=Limits(grace_s=4.0)), Restored(10.0))
    assert call is not None
    still, effects = handle(call, LeaseExpired(10.0 + RETURN_S - 0.1))
    assert (still, effects) == (call, ())
    back, _ = handle(call, Returned(35.0, DOOR))
    assert back is not None
    back, _ = handle(back, Returned(35.0, FLAT))
    assert back is not None
    assert back.phase is make().phase
    gone, _ = handle(call, LeaseExpired(10.0 + RETURN_S))
    assert gone is not None
    assert gone.phase is HubPhase.ENDED
    again, _ = handle(back, Vanished(50.0, DOOR.endpoint))
    assert again is not None
    assert again.lease_s == 54.0


def test_a_clock_that_was_set_while_the_hub_was_off_prolongs_no_ringing_and_ends_no_talk() -> None:
    year_s = 365 * 86_400.0
    early, _ = handle(ringing(now_s=year_s), Restored(0.0))
    assert early is not None
    assert early.lease_s == 60.0
    late, _ = handle(connected(), Restored(year_s))
    assert late is not None
    for who in (DOOR, FLAT):
        late, _ = handle(late, Returned(year_s, who))
    assert late is not None
    assert handle(late, LeaseExpired(year_s + 1.0)) == (late, ())


def test_a_restored_ended_call_stays_as_it_is() -> None:
    call = ended()
    assert handle(call, Restored(50.0)) == (call, ())
