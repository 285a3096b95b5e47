"""What the panel shows: a pure view of the station's state. LEDs and lasting tones follow from it and from nothing
else, so that they are right after any event, also after a reboot.

LEDs: `ready` (registered and the card open), `ringing`, `talking`, `error`, `microphone` (the capture device
itself; slow while calls are half duplex).
"""

from dataclasses import dataclass
from typing import Literal

from intercomd.core.closing import CARD_CODES
from intercomd.core.effects import Light, Tone
from intercomd.core.events import Card
from intercomd.core.snapshot import Role
from intercomd.core.station import Phase, Shown, Station, shown
from intercomd.errors import ErrorCode, ErrorKind

Led = Literal["ready", "ringing", "talking", "error", "microphone"]
LEDS: tuple[Led, ...] = ("ready", "ringing", "talking", "error", "microphone")

ERROR_LIGHTS = {
    ErrorKind.NOT_ALLOWED: Light.FLASH_1,
    ErrorKind.NOT_FOUND: Light.FLASH_2,
    ErrorKind.NETWORK: Light.FLASH_3,
    ErrorKind.TIMEOUT: Light.FLASH_4,
    ErrorKind.UNKNOWN: Light.FLASH_5,
}
"""The error LED counts out the kind."""

ERROR_TONES = {
    ErrorKind.NOT_ALLOWED: Tone.ERROR_NOT_ALLOWED,
    ErrorKind.NOT_FOUND: Tone.ERROR_NOT_FOUND,
    ErrorKind.NETWORK: Tone.ERROR_NETWORK,
    ErrorKind.TIMEOUT: Tone.ERROR_TIMEOUT,
    ErrorKind.UNKNOWN: Tone.ERROR_UNKNOWN,
}

_BUSY = frozenset({ErrorCode.CALLEE_BUSY, ErrorCode.CALL_REJECTED})
"""Not faults: the busy tone, no error LED."""

_TALKING = {
    Phase.CONNECTING: Light.FAST,
    Phase.CONNECTED: Light.ON,
    Phase.RECONNECTING: Light.SLOW,
    Phase.RESTORING: Light.SLOW,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the view needs beside the call logic's state."""

    microphone_open: bool = False
    """The capture device runs: the truth, not the order."""
    hub_code: ErrorCode | None = None
    """HUB_UNREACHABLE after five failed attempts, HUB_REFUSED when it does not take us."""
    pins_code: ErrorCode | None = None
    """A GPIO line or the chip is not to be had."""
    store_failing: bool = False
    """The state is volatile: a power cut would lose the call."""
    half_duplex: bool = False
    """Only one end is heard at a time."""
    sought: bool = False
    """Somebody looks for this station (`intercomctl locate`)."""


@dataclass(frozen=True, slots=True)
class View:
    phase: Shown
    lights: tuple[tuple[Led, Light], ...]
    tone: Tone | None
    error: ErrorCode | None
    """What is wrong now, the call's failure first: for LED, text and status."""


def view(station: Station, around: Surroundings) -> View:
    """The panel for this state."""
    error = _error(station, around)
    phase = station.call.phase if station.call else None
    lights: tuple[tuple[Led, Light], ...] = (
        ("ready", _ready(station)),
        (
            "ringing",
            _ringing(station),
        ),
        ("talking", _TALKING.get(phase, Light.OFF) if phase else Light.OFF),
        ("error", _error_light(error)),
        ("microphone", _microphone_light(around)),
    )
    if around.sought and station.call is None:
        # The microphone's lamp never says anything but the truth.
        lights = tuple((led, light if led == "microphone" else Light.FAST) for led, light in lights)
        return View(shown(station.call), lights, Tone.LOCATE, error)
    return View(shown(station.call), lights, _tone(station), error)


def _ringing(station: Station) -> Light:
    """Slow at a caller: it rings there, or will when its turn has come."""
    call = station.call
    if call is None:
        return Light.OFF
    if call.phase is Phase.RINGING_IN:
        return Light.FAST
    return Light.SLOW if call.phase is Phase.RINGING_OUT or call.queued is not None else Light.OFF


def _microphone_light(around: Surroundings) -> Light:
    if not around.microphone_open:
        return Light.OFF
    return Light.SLOW if around.half_duplex else Light.ON


def _ready(station: Station) -> Light:
    if station.card is not Card.READY:
        return Light.OFF
    return Light.ON if station.registered else Light.SLOW


def _error(station: Station, around: Surroundings) -> ErrorCode | None:
    if station.failure is not None:
        return station.failure.code
    if station.card in CARD_CODES:
        return CARD_CODES[station.card][0]
    if around.hub_code is not None and not station.registered:
        return around.hub_code
    return around.pins_code or (ErrorCode.STORE_FAILING if around.store_failing else None)


def _error_light(error: ErrorCode | None) -> Light:
    if error is None or error in _BUSY:
        return Light.OFF
    return ERROR_LIGHTS[error.value.kind or ErrorKind.UNKNOWN]


def _tone(station: Station) -> Tone | None:
    call, failure = station.call, station.failure
    if call is not None:
        match call.phase:
            case Phase.RINGING_IN:
                return Tone.ANNOUNCED if call.auto else Tone.RINGING
            case Phase.CALLING if call.queued is not None:
                return Tone.QUEUED
            case Phase.WAITING_CARD if call.role is Role.CALLEE:
                return Tone.RINGING
            case Phase.RINGING_OUT:
                return Tone.RINGBACK
            case Phase.RECONNECTING | Phase.RESTORING:
                return Tone.RECONNECTING
            case _:
                return None
    if failure is None or not failure.loud:
        return None
    return Tone.BUSY if failure.code in _BUSY else ERROR_TONES[failure.code.value.kind or ErrorKind.UNKNOWN]
