"""What a person sees and hears follows from the state alone."""

import pytest
from msgspec.structs import replace

from intercomd.core.effects import Light, Tone
from intercomd.core.events import Card
from intercomd.core.panel import ERROR_LIGHTS, ERROR_TONES, Surroundings, View, view
from intercomd.core.snapshot import Role, SavedPhase
from intercomd.core.station import Call, Failure, Phase, Settings, Shown, Station
from intercomd.errors import ErrorCode, ErrorKind
from intercomd.ids import CallId, IdentityId

IDLE = Station(Settings(), card=Card.READY, online=True, registered=True)


def in_phase(phase: Phase, role: Role = Role.CALLEE) -> Station:
    return replace(IDLE, call=Call(CallId("c"), role, IdentityId("p"), phase, 0.0, saved=SavedPhase.CONNECTED))


def lights(station: Station, around: Surroundings | None = None) -> dict[str, Light]:
    return dict(view(station, around or Surroundings()).lights)


def test_ready_means_registered_with_a_card() -> None:
    assert lights(IDLE)["ready"] is Light.ON
    assert lights(replace(IDLE, registered=False))["ready"] is Light.SLOW
    assert lights(replace(IDLE, card=Card.MISSING))["ready"] is Light.OFF


@pytest.mark.parametrize(
    ("phase", "led", "light", "tone"),
    [
        (Phase.RINGING_IN, "ringing", Light.FAST, Tone.RINGING),
        (Phase.RINGING_OUT, "ringing", Light.SLOW, Tone.RINGBACK),
        (Phase.CONNECTING, "talking", Light.FAST, None),
        (Phase.CONNECTED, "talking", Light.ON, None),
        (Phase.RECONNECTING, "talking", Light.SLOW, Tone.RECONNECTING),
        (Phase.RESTORING, "talking", Light.SLOW, Tone.RECONNECTING),
        (Phase.DIALLING, "talking", Light.OFF, None),
        (Phase.ENDING, "talking", Light.OFF, None),
    ],
)
def test_every_phase_has_its_lamp_and_tone(phase: Phase, led: str, light: Light, tone: Tone | None) -> None:
    station = in_phase(phase)
    assert lights(station)[led] is light
    assert view(station, Surroundings()).tone is tone


def test_the_microphone_lamp_follows_the_capture_device_not_the_order() -> None:
    ordered = replace(in_phase(Phase.CONNECTED), microphone=True)
    assert lights(ordered)["microphone"] is Light.OFF
    assert lights(IDLE, Surroundings(microphone_open=True))["microphone"] is Light.ON


def test_the_microphone_lamp_tells_that_only_one_end_is_heard_at_a_time() -> None:
    assert lights(IDLE, Surroundings(microphone_open=True, half_duplex=True))["microphone"] is Light.SLOW
    assert lights(IDLE, Surroundings(half_duplex=True))["microphone"] is Light.OFF


@pytest.mark.parametrize("code", [code for code in ErrorCode if code.value.kind is not None])
def test_every_kind_of_error_has_its_own_count_of_flashes_and_beeps(code: ErrorCode) -> None:
    shown: View = view(replace(IDLE, failure=Failure(code, None)), Surroundings())
    if code is ErrorCode.CALLEE_BUSY:
        return
    assert dict(shown.lights)["error"] is ERROR_LIGHTS[code.value.kind]
    assert shown.tone is ERROR_TONES[code.value.kind]
    assert shown.error is code


def test_the_five_kinds_are_told_apart() -> None:
    assert len(set(ERROR_LIGHTS.values())) == len(set(ERROR_TONES.values())) == len(ErrorKind) == 5


@pytest.mark.parametrize("code", [ErrorCode.CALLEE_BUSY, ErrorCode.CALL_REJECTED])
def test_busy_and_declined_are_no_faults(code: ErrorCode) -> None:
    shown = view(replace(IDLE, failure=Failure(code, None)), Surroundings())
    assert shown.tone is Tone.BUSY
    assert dict(shown.lights)["error"] is Light.OFF


def test_an_error_falls_silent_before_it_goes_dark() -> None:
    shown = view(replace(IDLE, failure=Failure(ErrorCode.RING_TIMEOUT, None, loud=False)), Surroundings())
    assert shown.tone is None
    assert dict(shown.lights)["error"] is Light.FLASH_4


def test_a_station_that_is_just_starting_shows_no_fault() -> None:
    starting = replace(IDLE, card=Card.OPENING)
    assert lights(starting)["error"] is Light.OFF
    assert lights(starting)["ready"] is Light.OFF


def test_lasting_faults_light_the_error_lamp() -> None:
    assert lights(replace(IDLE, card=Card.MISSING))["error"] is Light.FLASH_2
    assert lights(replace(IDLE, card=Card.BUSY))["error"] is Light.FLASH_1
    away = replace(IDLE, registered=False)
    assert lights(away, Surroundings(hub_code=ErrorCode.HUB_UNREACHABLE))["error"] is Light.FLASH_3
    assert lights(away, Surroundings(hub_code=ErrorCode.HUB_REFUSED))["error"] is Light.FLASH_5
    assert lights(away)["error"] is Light.OFF
    assert lights(IDLE, Surroundings(pins_code=ErrorCode.GPIO_BUSY))["error"] is Light.FLASH_5
    volatile = view(IDLE, Surroundings(store_failing=True))
    assert dict(volatile.lights)["error"] is Light.FLASH_5
    assert volatile.error is ErrorCode.STORE_FAILING


def test_idle_is_quiet() -> None:
    dark = tuple((led, Light.OFF) for led in ("ringing", "talking", "error", "microphone"))
    assert view(IDLE, Surroundings()) == View(Shown.IDLE, (("ready", Light.ON), *dark), None, None)


def test_a_station_that_is_looked_for_shows_it_but_a_call_comes_first() -> None:
    sought = Surroundings(sought=True)
    seen = view(IDLE, sought)
    assert seen.tone is Tone.LOCATE
    assert {led: light for led, light in seen.lights if light is not Light.FAST} == {"microphone": Light.OFF}
    ringing = in_phase(Phase.RINGING_IN)
    assert view(ringing, sought) == view(ringing, Surroundings())
