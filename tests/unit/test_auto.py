"""Calls that nobody answers by hand: whose they are, what announces them, and what ends them."""

import pytest

from intercomd.core.effects import OpenMicrophone, Persist, Report, Send, StartTimer, Tone
from intercomd.core.events import (
    AnswerRequested,
    Booted,
    CallPressed,
    Card,
    CardChanged,
    HangupPressed,
    LinkDown,
    LinkUp,
    MediaUp,
    Received,
    Replied,
    Timer,
    TimerFired,
)
from intercomd.core.panel import Surroundings, view
from intercomd.core.protocol import AcceptCall, EndCall, IncomingCall, RejectCall, Reply, Resync
from intercomd.core.snapshot import Role, SavedCall, SavedPhase, Snapshot
from intercomd.core.station import Phase, Settings, Station
from intercomd.core.vocabulary import EndReason, HubPhase
from intercomd.device.status import words
from intercomd.errors import ErrorCode
from tests.unit.desk import C1, C2, DOOR, FLAT, Desk, registered, ringing_in, state

LISTED = {"auto_answer": (DOOR,)}
AUTO = TimerFired(Timer("auto", C1))


def delays(desk: Desk) -> list[float]:
    """Of the timers of such calls that the last events started."""
    return [effect.delay_s for effect in desk.only(StartTimer) if effect.timer == Timer("auto", C1)]


def announced() -> Desk:
    return ringing_in(**LISTED)


def answered() -> Desk:
    desk = announced().hear(AUTO)
    return desk.hear(Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING))), MediaUp(1))


def tone(desk: Desk) -> Tone | None:
    return view(desk.station, Surroundings()).tone


def test_a_listed_caller_is_announced_by_a_tone_before_the_microphone_opens() -> None:
    desk = announced()
    assert (desk.phase, tone(desk), delays(desk)) == (Phase.RINGING_IN, Tone.ANNOUNCED, [4.0])
    assert not desk.only(OpenMicrophone)
    assert words(desk.station, view(desk.station, Surroundings()).phase)["en"].startswith("Somebody is calling and")
    desk.hear(AUTO)
    assert desk.sent == [AcceptCall(C1)]
    assert not desk.only(OpenMicrophone), "not before the hub has confirmed it"
    assert [report.code for report in desk.only(Report)][-1] is ErrorCode.CALL_AUTO_ANSWERED


def test_nobody_else_is_answered_whatever_the_hub_says_of_them() -> None:
    desk = registered(**LISTED)
    notice = IncomingCall(C1, 1, caller_id="garage", caller_name="door", caller_role="station", ring_timeout=60)
    desk.hear(Received(notice))
    assert (tone(desk), delays(desk)) == (Tone.RINGING, [])
    assert desk.hear(AUTO).sent == []
    assert desk.phase is Phase.RINGING_IN


def test_without_a_list_nobody_is() -> None:
    assert delays(ringing_in()) == []


def test_a_person_may_refuse_while_it_is_announced() -> None:
    desk = announced().hear(HangupPressed())
    assert desk.sent == [RejectCall(C1, EndReason.REJECTED)]
    assert desk.hear(AUTO).sent == []


@pytest.mark.parametrize("press", [CallPressed(C2), AnswerRequested()])
def test_a_person_who_answers_it_makes_it_a_call_like_any_other(press: object) -> None:
    desk = announced().hear(press)
    assert desk.sent == [AcceptCall(C1)]
    assert delays(desk) == []
    desk.hear(Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING))), MediaUp(1), AUTO)
    assert desk.phase is Phase.CONNECTED


def test_it_ends_by_the_stations_own_timer() -> None:
    desk = announced().hear(AUTO)
    assert delays(desk) == [120.0]
    desk = answered().hear(AUTO)
    assert (desk.phase, desk.sent) == (Phase.ENDING, [EndCall(C1, EndReason.COMPLETED)])
    assert not desk.station.microphone
    assert [report.code for report in desk.only(Report)] == [ErrorCode.CALL_ENDED, ErrorCode.CALL_AUTO_ENDED]


def test_it_ends_so_without_a_hub_too() -> None:
    desk = answered().hear(LinkDown(), AUTO)
    assert desk.phase is None
    assert not desk.station.microphone


@pytest.mark.parametrize("press", [CallPressed(C2), AnswerRequested()])
def test_a_person_who_presses_in_it_keeps_it(press: object) -> None:
    desk = answered()
    assert words(desk.station, view(desk.station, Surroundings()).phase)["en"].startswith("The microphone is open")
    desk.hear(press)
    assert desk.sent == [], "the first press takes it over, it does not prolong"
    (kept,) = desk.only(Persist)
    assert kept.snapshot.call is not None
    assert not kept.snapshot.call.auto
    assert desk.hear(AUTO).phase is Phase.CONNECTED


@pytest.mark.parametrize("trouble", [LinkDown(), CardChanged(Card.MISSING)])
def test_without_a_hub_or_a_card_it_goes_on_ringing_and_is_tried_again(trouble: object) -> None:
    desk = announced().hear(trouble, AUTO)
    assert (desk.phase, delays(desk)) == (Phase.RINGING_IN, [1.0])
    cured = (LinkUp(), Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING),))), CardChanged(Card.READY))
    desk.hear(*cured)
    assert desk.hear(AUTO).sent == [AcceptCall(C1)]


# ------------------------------------------------------------------------------------------------ over a power cut


def restored(phase: SavedPhase, answered_ago_s: float, listed: bool = True) -> Desk:
    """At second 1000."""
    answered_at = 1000.0 - answered_ago_s if phase is SavedPhase.CONNECTED else None
    saved = SavedCall(C1, Role.CALLEE, DOOR, phase, 1, 890.0, answered_at, auto=True)
    desk = Desk(Station(Settings(auto_answer=(DOOR if listed else FLAT,)), card=Card.READY))
    return desk.hear(Booted(Snapshot(saved), 1.0), LinkUp())


@pytest.mark.parametrize(("ago_s", "left_s"), [(30.0, 90.0), (115.0, 5.0), (300.0, 0.0), (-3600.0, 120.0)])
def test_a_restored_one_has_what_is_left_of_its_time(ago_s: float, left_s: float) -> None:
    desk = restored(SavedPhase.CONNECTED, ago_s)
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.CONNECTED),))))
    assert delays(desk) == [left_s]
    assert desk.hear(AUTO).phase is Phase.ENDING


def test_an_answer_that_the_hub_never_heard_has_its_limit_after_a_power_cut() -> None:
    desk = restored(SavedPhase.CONNECTED, 2.0)
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING),))))
    assert desk.sent == [AcceptCall(C1)]
    assert delays(desk) == [118.0]


def test_a_restored_ringing_is_announced_again() -> None:
    desk = restored(SavedPhase.RINGING, 0.0)
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING),))))
    assert (desk.phase, delays(desk), tone(desk)) == (Phase.RINGING_IN, [4.0], Tone.ANNOUNCED)


def test_who_is_not_on_the_list_any_more_is_not_listened_to_after_a_restart() -> None:
    desk = restored(SavedPhase.CONNECTED, 10.0, listed=False)
    assert desk.phase is None
    ringing = restored(SavedPhase.RINGING, 0.0, listed=False)
    ringing.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING),))))
    assert (ringing.phase, delays(ringing), tone(ringing)) == (Phase.RINGING_IN, [], Tone.RINGING)


def test_the_flash_knows_before_the_hub_does() -> None:
    desk = announced().hear(AUTO)
    kinds = [type(effect) for effect in desk.effects]
    assert kinds.index(Persist) < kinds.index(Send)
    (persist,) = desk.only(Persist)
    assert persist.snapshot.call is not None
    assert persist.snapshot.call.auto
