"""The volume buttons: what they change, and that a resident cannot turn the ringing off by them."""

import pytest
from msgspec.structs import replace

from intercomd.core.call import VOLUME_STEP, handle
from intercomd.core.effects import Persist, SetVolumes
from intercomd.core.events import VolumeStepped
from intercomd.core.snapshot import Role, Volumes
from intercomd.core.station import Call, Phase, Settings, Station
from intercomd.ids import CallId, IdentityId

CALL = Call(
    call_id=CallId("00000000-0000-4000-8000-000000000001"),
    role=Role.CALLEE,
    peer_id=IdentityId("flat"),
    phase=Phase.CONNECTED,
    started_at=0.0,
)


def stepped(station: Station, *louder: bool) -> Volumes:
    for up in louder:
        station, _ = handle(station, VolumeStepped(up), 0.0)
    return station.volumes


def test_in_idle_the_ringing_gets_quieter_and_never_silent() -> None:
    assert stepped(Station(Settings()), False) == Volumes(ring=100 - VOLUME_STEP)
    assert stepped(Station(Settings()), *[False] * 50) == Volumes(ring=VOLUME_STEP)


@pytest.mark.parametrize("phase", [Phase.CONNECTED, Phase.RECONNECTING])
def test_in_a_call_it_is_the_voice(phase: Phase) -> None:
    station = Station(Settings(), call=replace(CALL, phase=phase))
    assert stepped(station, False, False, True) == Volumes(voice=100 - VOLUME_STEP)


def test_while_it_rings_it_is_the_ringing() -> None:
    station = Station(Settings(), call=replace(CALL, phase=Phase.RINGING_IN))
    assert stepped(station, False) == Volumes(ring=100 - VOLUME_STEP)


def test_a_step_is_heard_and_kept_and_one_beyond_the_end_costs_no_write() -> None:
    _, effects = handle(Station(Settings()), VolumeStepped(louder=False), 0.0)
    assert [type(effect) for effect in effects] == [SetVolumes, Persist]
    assert handle(Station(Settings()), VolumeStepped(louder=True), 0.0)[1] == ()
