"""What is asked for beside the call: the door, more time; and a place in the queue."""

import pytest

from intercomd.core.effects import Jingle, Light, Play, Report, Send, StartTimer, Tone
from intercomd.core.events import CallPressed, DoorPressed, LinkDown, Received, Replied, Timer, Unanswered
from intercomd.core.panel import Surroundings, view
from intercomd.core.protocol import (
    CallAccepted,
    CallInitiated,
    CallQueued,
    Code,
    InitiateCall,
    OpenDoor,
    ProlongCall,
    Reply,
    Resync,
    TalkLimit,
)
from intercomd.core.snapshot import Role
from intercomd.core.station import Phase, Shown
from intercomd.core.vocabulary import HubPhase
from intercomd.device.status import words
from intercomd.errors import ErrorCode
from tests.unit.desk import C1, C2, Desk, connected, registered, ringing_in, state


def ring_limits(desk: Desk) -> list[float]:
    return [effect.delay_s for effect in desk.only(StartTimer) if effect.timer.kind == "ring"]


# ------------------------------------------------------------------------------------------------------------ doors


@pytest.mark.parametrize(("role", "other"), [(Role.CALLER, "flat"), (Role.CALLEE, "door")])
def test_the_door_button_asks_for_the_other_sides_door_in_this_call(role: Role, other: str) -> None:
    assert connected(role).hear(DoorPressed()).sent == [OpenDoor(other, C1)]


def test_while_it_rings_the_door_is_asked_for_without_the_call() -> None:
    assert ringing_in().hear(DoorPressed()).sent == [OpenDoor("door")]


def test_without_a_call_the_button_means_nothing() -> None:
    assert registered().hear(DoorPressed()).effects == ()
    assert registered().hear(CallPressed(C1), DoorPressed()).sent == [InitiateCall(C1, "flat")]


def test_without_a_link_it_is_refused_at_once_and_never_kept_for_later() -> None:
    desk = connected().hear(LinkDown(), DoorPressed())
    assert desk.sent == []
    assert desk.only(Play) == [Play(Jingle.REFUSED)]
    assert [report.code for report in desk.only(Report)] == [ErrorCode.DOOR_REFUSED]


def test_what_has_happened_is_heard() -> None:
    request = OpenDoor("flat", C1)
    opened = connected().hear(Replied(request, Reply(ok=True)))
    assert opened.only(Play) == [Play(Jingle.DOOR_OPENED)]
    assert opened.only(Report)[0].peer == "flat"
    refused = connected().hear(Replied(request, Reply(ok=False, code=Code.NOT_ALLOWED, message="no")))
    assert refused.only(Play) == [Play(Jingle.REFUSED)]
    assert refused.only(Report)[0].reason == "not_allowed"


def test_a_door_whose_answer_is_lost_is_not_asked_for_again() -> None:
    desk = connected().hear(Unanswered(OpenDoor("flat", C1)))
    assert desk.sent == []
    assert desk.only(Play) == [Play(Jingle.REFUSED)]


def test_an_answer_that_comes_after_the_call_is_heard_too() -> None:
    assert registered().hear(Replied(OpenDoor("door"), Reply(ok=True))).only(Play) == [Play(Jingle.DOOR_OPENED)]


# ------------------------------------------------------------------------------------------------------------- time


def test_the_talk_limit_is_a_beep_and_a_press_prolongs() -> None:
    desk = connected().hear(Received(TalkLimit(C1, 10, left_s=10.0)))
    assert desk.only(Play) == [Play(Jingle.TALK_LIMIT)]
    assert desk.hear(CallPressed(C2)).sent == [ProlongCall(C1)]
    desk.hear(Received(TalkLimit(C1, 11, left_s=300.0, prolonged=True)))
    assert desk.only(Play) == [Play(Jingle.PROLONGED)]
    assert desk.phase is Phase.CONNECTED


def test_a_second_press_of_the_answering_finger_does_not_prolong() -> None:
    desk = registered().hear(CallPressed(C1), Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)))
    assert desk.phase is Phase.CONNECTING
    assert desk.hear(CallPressed(C2)).sent == []


# ------------------------------------------------------------------------------------------------------------ queue


def test_a_caller_in_the_queue_sees_hears_and_reads_its_place() -> None:
    desk = registered().hear(CallPressed(C1), Received(CallQueued(C1, 1, position=2, ring_timeout=300.0)))
    seen = view(desk.station, Surroundings())
    assert (desk.phase, seen.phase, seen.tone) == (Phase.CALLING, Shown.CONNECTING, Tone.QUEUED)
    assert dict(seen.lights)["ringing"] is Light.SLOW
    said = words(desk.station, seen.phase)
    assert "number 2" in said["en"]
    assert "第 2 位" in said["zh"]
    assert ring_limits(desk) == [315.0], "its own limit lies beyond the hub's"
    assert Timer("dial", C1) not in [effect.timer for effect in desk.only(StartTimer)][1:]


def test_its_turn_is_ringing_like_any_other() -> None:
    queued = registered().hear(CallPressed(C1), Received(CallQueued(C1, 1, position=1, ring_timeout=300.0)))
    desk = queued.hear(Received(CallInitiated(C1, 2, ring_timeout=150.0)))
    assert (desk.phase, view(desk.station, Surroundings()).tone) == (Phase.RINGING_OUT, Tone.RINGBACK)
    assert ring_limits(desk) == [165.0]
    assert words(desk.station, Shown.RINGING)["en"].startswith("Ringing")


def test_the_reply_and_the_resync_know_the_place_too() -> None:
    queued = state(HubPhase.RINGING, queue_position=3)
    desk = registered().hear(CallPressed(C1), Replied(InitiateCall(C1, "flat"), Reply(ok=True, call=queued)))
    assert desk.station.call is not None
    assert desk.station.call.queued == 3
    desk.hear(LinkDown())
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(queued,))))
    later = registered().hear(CallPressed(C1), Received(CallInitiated(C1, 1)))
    later.hear(Received(CallQueued(C1, 2, position=1)))
    assert later.phase is Phase.CALLING
    assert not later.only(Send)


def test_a_group_that_rings_for_longer_than_the_grace_is_waited_for() -> None:
    desk = registered().hear(CallPressed(C1), Received(CallInitiated(C1, 1, ring_timeout=400.0)))
    assert ring_limits(desk) == [415.0]
    assert ring_limits(registered().hear(CallPressed(C1), Received(CallInitiated(C1, 1)))) == [120.0]
