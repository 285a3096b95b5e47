"""What each device may see of a call."""

from intercomd.core.legs import Endpoint, LegState, view
from intercomd.core.protocol import (
    AcceptCall,
    CallStateChanged,
    Code,
    EndCall,
    RejectCall,
    RejoinCall,
    WebrtcAnswer,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.switch import handle
from intercomd.core.switchboard import (
    Requested,
    Returned,
    Tell,
    Vanished,
)
from intercomd.core.vocabulary import EndReason, HubPhase
from tests.unit.hub_calls import (
    ANSWER,
    CALL,
    DESK,
    DOOR,
    FLAT,
    FLAT_2,
    OFFER,
    THIEF,
    ended,
    initiate,
    kinds,
    request,
    ringing,
)


def test_a_stranger_sees_nothing_and_a_member_that_was_not_rung_neither() -> None:
    call, _ = handle(None, initiate(FLAT, members=("flat", "desk"), recipient="house"))
    assert call is not None
    for stranger in (THIEF, DESK):
        assert view(call, stranger.endpoint) is None
        assert request(call, stranger, RejoinCall(CALL))[2].code is Code.NOT_PARTICIPANT


def test_views_of_an_ended_call() -> None:
    call = ended()
    for who in (DOOR, FLAT, FLAT_2):
        state = view(call, who.endpoint)
        assert state is not None
        assert (state.phase, state.end_reason, state.lease) == (HubPhase.ENDED, EndReason.COMPLETED, None)


def test_the_caller_of_a_group_sees_a_peer_while_anybody_rings() -> None:
    one, _ = handle(ringing(FLAT, DESK), Vanished(1.0, FLAT.endpoint))
    assert one is not None
    state = view(one, DOOR.endpoint)
    assert state is not None
    assert state.peer_present
    none, effects = handle(one, Vanished(2.0, DESK.endpoint))
    assert none is not None
    state = view(none, DOOR.endpoint)
    assert state is not None
    assert not state.peer_present
    assert kinds(effects, DOOR) == [CallStateChanged]


def test_sequence_numbers_are_one_for_each_notice() -> None:
    seen: list[int] = []
    call, effects = handle(None, initiate(FLAT, DESK))
    for event in (
        Requested(1.0, DESK.endpoint, RejectCall(CALL)),
        Requested(1.0, FLAT.endpoint, AcceptCall(CALL)),
        Requested(1.0, DOOR.endpoint, WebrtcOffer(CALL, OFFER)),
        Requested(1.0, FLAT.endpoint, WebrtcAnswer(CALL, ANSWER)),
        Vanished(2.0, FLAT.endpoint),
        Returned(3.0, FLAT),
        Requested(4.0, DOOR.endpoint, WebrtcRestart(CALL, 1)),
        Requested(5.0, DOOR.endpoint, EndCall(CALL)),
    ):
        seen += [effect.notice.seq for effect in effects if isinstance(effect, Tell)]
        call, effects = handle(call, event)
    seen += [effect.notice.seq for effect in effects if isinstance(effect, Tell)]
    assert call is not None
    assert seen == list(range(1, call.seq + 1))


def test_a_leg_that_left_stays_in_the_state_for_late_questions() -> None:
    call, _, _ = request(ringing(FLAT, DESK), FLAT, RejectCall(CALL), 3.0)
    (rejected,) = [leg for leg in call.callees if leg.state is LegState.LEFT]
    assert (rejected.endpoint, rejected.left_at) == (Endpoint(FLAT.identity, FLAT.instance), 3.0)
