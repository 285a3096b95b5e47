"""What is left of a call after a power cut, and what clocks have to say about it."""

import pytest

from intercomd.core import call as core
from intercomd.core.effects import (
    Jingle,
    OpenMicrophone,
    Persist,
    Play,
    Report,
    StartMedia,
    StartTimer,
)
from intercomd.core.events import (
    Booted,
    Card,
    ClockSet,
    HangupPressed,
    LinkDown,
    LinkUp,
    Received,
    Replied,
    Timer,
    TimerFired,
)
from intercomd.core.protocol import (
    AcceptCall,
    CallStateChanged,
    Code,
    EndCall,
    InitiateCall,
    Reply,
    Resync,
    WebrtcRestart,
)
from intercomd.core.snapshot import Role, Route, SavedPhase
from intercomd.core.station import Phase, Settings, Shown, Station, shown
from intercomd.core.vocabulary import EndReason, HubPhase
from intercomd.errors import ErrorCode
from tests.unit.desk import C1, DOOR, Desk, booted, connected, registered, saved, state


def test_a_connected_call_comes_back_with_a_tone_before_the_microphone() -> None:
    desk = booted(saved(SavedPhase.CONNECTED, route=Route.HANDSET))
    assert desk.station.route is Route.HANDSET
    assert shown(desk.station.call) is Shown.RECONNECTING
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.INTERRUPTED, epoch=3),))))
    assert desk.sent == [WebrtcRestart(C1, 3)]
    desk.hear(Replied(WebrtcRestart(C1, 3), Reply(ok=True, call=state(HubPhase.INTERRUPTED, epoch=4))))
    assert desk.only(StartMedia) == [StartMedia(C1, 4, offerer=False)]
    assert desk.only(Play) == [Play(Jingle.RESTORED)]
    assert not desk.only(OpenMicrophone)
    assert desk.hear(TimerFired(Timer("microphone", C1))).only(OpenMicrophone)


def test_ringing_comes_back_as_ringing_only_when_the_hub_still_rings() -> None:
    desk = booted(saved(SavedPhase.RINGING))
    assert desk.phase is Phase.RESTORING
    still = Reply(ok=True, calls=(state(HubPhase.RINGING, epoch=0),))
    assert desk.hear(Replied(Resync(), still)).phase is Phase.RINGING_IN
    over = Reply(ok=True, calls=(state(HubPhase.ENDED, end_reason=EndReason.CANCELLED),))
    assert booted(saved(SavedPhase.RINGING)).hear(Replied(Resync(), over)).phase is None


def test_a_dial_comes_back_as_the_same_dial() -> None:
    desk = booted(saved(SavedPhase.DIALLING, Role.CALLER)).hear(Replied(Resync(), Reply(ok=True, calls=())))
    assert desk.sent == [InitiateCall(C1, DOOR)]


def test_what_is_older_than_the_grace_is_not_restored() -> None:
    desk = booted(saved(SavedPhase.CONNECTED), age_s=121.0)
    assert desk.station.call is None
    assert [report.code for report in desk.only(Report)] == [ErrorCode.CALL_NOT_RESTORED]
    alive = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED),))
    assert EndCall(C1, EndReason.PEER_LOST) in desk.hear(Replied(Resync(), alive)).sent


def test_a_station_told_not_to_restore_ends_the_call() -> None:
    assert booted(saved(SavedPhase.CONNECTED), restore=False).station.call is None


def test_a_restored_call_that_is_over_is_not_restored() -> None:
    over = Reply(ok=True, calls=(state(HubPhase.ENDED, end_reason=EndReason.COMPLETED),))
    assert booted(saved(SavedPhase.CONNECTED)).hear(Replied(Resync(), over)).phase is None


def test_a_boot_that_never_reaches_the_hub_gives_up_after_the_grace() -> None:
    desk = booted(saved(SavedPhase.CONNECTED), age_s=20.0)
    assert [
        e.delay_s for e in Desk(Station(Settings())).hear(Booted(saved(SavedPhase.CONNECTED), 20.0)).only(StartTimer)
    ] == [100.0]
    assert desk.hear(TimerFired(Timer("absent", C1))).phase is not Phase.RESTORING


def test_an_answer_that_the_hub_never_heard_is_given_again_after_a_power_cut() -> None:
    desk = booted(saved(SavedPhase.CONNECTED))
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING, epoch=0),))))
    assert desk.sent == [AcceptCall(C1)]


YEAR_S = 365 * 86400.0
KEPT_AT_S = 5000.0


@pytest.mark.parametrize(
    ("hub_s", "comes_back"),
    [(KEPT_AT_S + 119, True), (KEPT_AT_S + 121, False), (KEPT_AT_S - YEAR_S, True), (KEPT_AT_S + YEAR_S, False)],
)
def test_over_a_reboot_the_hubs_time_says_whether_a_call_is_too_old(hub_s: float, comes_back: bool) -> None:
    desk = Desk(Station(Settings(), card=Card.READY)).hear(
        Booted(saved(SavedPhase.CONNECTED), None, KEPT_AT_S), LinkUp()
    )
    assert desk.phase is Phase.RESTORING, "the station's own clock does not judge"
    truth = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED),), server_time=hub_s)
    desk.hear(Replied(Resync(), truth))
    assert (desk.phase is Phase.RECONNECTING) is comes_back
    if not comes_back:
        assert desk.sent == [EndCall(C1, EndReason.PEER_LOST)]
        assert ErrorCode.CALL_NOT_RESTORED in [report.code for report in desk.only(Report)]


def test_within_a_boot_the_hubs_time_does_not_judge() -> None:
    desk = Desk(Station(Settings(), card=Card.READY)).hear(
        Booted(saved(SavedPhase.CONNECTED), 2.0, KEPT_AT_S), LinkUp()
    )
    truth = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED),), server_time=KEPT_AT_S + YEAR_S)
    assert desk.hear(Replied(Resync(), truth)).phase is Phase.RECONNECTING


@pytest.mark.parametrize("shift_s", [-YEAR_S, YEAR_S])
def test_a_clock_that_is_set_in_a_call_takes_its_times_along(shift_s: float) -> None:
    desk = connected()
    before = desk.station.call
    desk.hear(ClockSet(shift_s))
    assert desk.phase is Phase.CONNECTED
    call = desk.station.call
    assert (call.started_at, call.answered_at) == (before.started_at + shift_s, before.answered_at + shift_s)
    assert desk.only(Persist)[0].snapshot.call.answered_at == call.answered_at
    _, effects = core.handle(desk.station, HangupPressed(), 1000.0 + shift_s + 60.0)
    (record,) = [effect.record for effect in effects if isinstance(effect, Persist)]
    assert record.ended_at - record.answered_at == 60.0


def test_a_clock_that_is_set_while_idle_or_restoring_moves_nothing() -> None:
    desk = registered()
    assert not desk.hear(ClockSet(YEAR_S)).effects
    desk = booted(saved(SavedPhase.CONNECTED))
    before = desk.station
    assert desk.hear(ClockSet(YEAR_S)).station == before


def test_after_a_power_cut_of_both_ends_the_last_one_back_asks_and_nobody_earlier() -> None:
    """A restart that nobody can answer would only make the hub refuse the next one for a second."""
    desk = booted(saved(SavedPhase.CONNECTED))
    alone = Reply(ok=True, calls=(state(HubPhase.INTERRUPTED, epoch=3, peer_present=False),))
    desk.hear(Replied(Resync(), alone))
    assert not desk.sent
    assert shown(desk.station.call) is Shown.RECONNECTING
    assert [(e.timer.kind, e.delay_s) for e in desk.only(StartTimer)] == [("absent", 120.0)]
    back = Received(CallStateChanged(C1, 9, state(HubPhase.INTERRUPTED, epoch=3, peer_present=True)))
    assert desk.hear(back).sent == [WebrtcRestart(C1, 3)]
    refused = Reply(ok=False, code=Code.STALE_EPOCH, call=state(HubPhase.INTERRUPTED, epoch=4))
    assert desk.hear(Replied(WebrtcRestart(C1, 3), refused)).only(StartMedia) == [StartMedia(C1, 4, offerer=False)]


def test_a_dial_that_rings_again_after_a_power_cut_has_its_limit() -> None:
    """Without one it would ring for ever once the hub is gone for good."""
    desk = booted(saved(SavedPhase.DIALLING, Role.CALLER))
    desk.hear(Replied(Resync(), Reply(ok=True, calls=(state(HubPhase.RINGING, epoch=0),))))
    assert desk.phase is Phase.RINGING_OUT
    assert [(e.timer.kind, e.delay_s) for e in desk.only(StartTimer)] == [("ring", 120.0)]
    assert desk.hear(LinkDown(), TimerFired(Timer("ring", C1))).phase is None
