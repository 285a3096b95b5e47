"""Descriptions, candidates, epochs and figures between two bound sides."""

import pytest

from intercomd.core.protocol import (
    CallMetrics,
    CandidateReceived,
    Code,
    OfferReceived,
    RestartOrdered,
    WebrtcAnswer,
    WebrtcIceCandidate,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.switchboard import (
    SEQ_LEAP,
    SEQ_STRIDE,
    Persist,
)
from intercomd.core.vocabulary import Candidate, HubPhase, Metrics
from tests.unit.hub_calls import ANSWER, CALL, DOOR, FLAT, OFFER, connected, connecting, request, restarting, told


def test_descriptions_and_candidates_reach_the_other_side_only() -> None:
    call = connecting()
    candidate = Candidate("candidate:1 1 udp 1 192.0.2.1 9 typ host", "0", 0)
    call, effects, _ = request(call, DOOR, WebrtcOffer(CALL, OFFER, 1))
    assert told(effects, FLAT) == [OfferReceived("c", call.seq, "door", 1, OFFER)]
    assert told(effects, DOOR) == []
    call, effects, _ = request(call, FLAT, WebrtcIceCandidate(CALL, candidate, 1))
    assert told(effects, DOOR) == [CandidateReceived("c", call.seq, "flat", 1, candidate)]
    call, effects, _ = request(call, DOOR, WebrtcIceCandidate(CALL, None))
    assert told(effects, FLAT) == [CandidateReceived("c", call.seq, "door", 1, None)]


@pytest.mark.parametrize("epoch", [0, 2, 99])
def test_another_epoch_is_stale_and_the_state_says_which_is_current(epoch: int) -> None:
    for who, what in (
        (DOOR, WebrtcOffer(CALL, OFFER, epoch)),
        (FLAT, WebrtcAnswer(CALL, ANSWER, epoch)),
        (FLAT, WebrtcIceCandidate(CALL, None, epoch)),
        (FLAT, WebrtcRestart(CALL, epoch)),
    ):
        call = connecting()
        after, effects, reply = request(call, who, what)
        assert after is call
        assert len(effects) == 1
        assert reply.code is Code.STALE_EPOCH
        assert reply.call is not None
        assert reply.call.epoch == 1


def test_a_description_of_the_wrong_kind_is_refused() -> None:
    assert request(connecting(), DOOR, WebrtcOffer(CALL, ANSWER))[2].code is Code.BAD_REQUEST
    assert request(connecting(), FLAT, WebrtcAnswer(CALL, OFFER))[2].code is Code.BAD_REQUEST


def test_a_restart_gives_both_the_same_new_epoch() -> None:
    call, effects, reply = request(connected(), FLAT, WebrtcRestart(CALL, 1), 5.0)
    for who in (DOOR, FLAT):
        (ordered,) = told(effects, who)
        assert isinstance(ordered, RestartOrdered)
        assert ordered.epoch == 2
    assert reply.call is not None
    assert reply.call.epoch == 2
    assert (call.phase, call.lease_s) == (HubPhase.INTERRUPTED, 35.0)
    _, _, late = request(call, DOOR, WebrtcRestart(CALL, 1), 5.0)
    assert late.code is Code.STALE_EPOCH
    settled, _, _ = request(call, FLAT, WebrtcAnswer(CALL, ANSWER, 2), 6.0)
    assert settled.phase is HubPhase.CONNECTED


def test_restarts_are_limited_to_one_a_second_and_ten_a_minute() -> None:
    call, _, _ = request(connected(), DOOR, WebrtcRestart(CALL, 1), 10.0)
    _, _, reply = request(call, DOOR, WebrtcRestart(CALL, 2), 10.9)
    assert reply.code is Code.RATE_LIMITED
    now_s = 10.0
    for epoch in range(2, 11):
        now_s += 2.0
        call, _, reply = request(call, DOOR, WebrtcRestart(CALL, epoch), now_s)
        assert reply.ok
    _, _, reply = request(call, DOOR, WebrtcRestart(CALL, 11), now_s + 2.0)
    assert reply.code is Code.RATE_LIMITED
    call, _, reply = request(call, DOOR, WebrtcRestart(CALL, 11), 70.0)
    assert reply.ok
    assert len(call.restarts_s) == 10


def test_figures_settle_the_first_epoch_but_never_a_restart() -> None:
    assert request(connecting(), FLAT, CallMetrics(CALL, Metrics()))[0].phase is HubPhase.CONNECTED
    assert request(restarting(), FLAT, CallMetrics(CALL, Metrics()), 7.0)[0].phase is HubPhase.INTERRUPTED


def test_relayed_messages_are_written_down_only_now_and_then() -> None:
    """A hub that restarts leaps over more numbers than can be lost between two writes."""
    call = connecting()
    unwritten = longest = 0
    for _ in range(3 * SEQ_STRIDE):
        call, effects, _ = request(call, DOOR, WebrtcIceCandidate(CALL, None))
        unwritten = 0 if isinstance(effects[0], Persist) else unwritten + 1
        longest = max(longest, unwritten)
    assert 0 < longest < SEQ_STRIDE < SEQ_LEAP
