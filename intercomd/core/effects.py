"""What a station's call logic can order. Effects are imperatives; one interpreter carries them out in their order,
and a `Persist` is on flash before the `Send` that follows it leaves."""

from dataclasses import dataclass
from enum import StrEnum

from intercomd.core.events import Timer, TimerKind
from intercomd.core.protocol import Request
from intercomd.core.snapshot import Route, Snapshot, Volumes
from intercomd.core.vocabulary import CallRecord, Candidate, Sdp
from intercomd.errors import ErrorCode
from intercomd.ids import CallId


class Jingle(StrEnum):
    """A tone that is played once. Tones that last as long as a phase follow from the view (`core/panel.py`)."""

    CONNECTED = "connected"
    """Both directions carry audio: speak now."""
    RESTORED = "restored"
    """A call comes back after a reboot: the microphone opens after this."""
    ENDED = "ended"
    TALK_LIMIT = "talk_limit"
    """The talk ends in a moment unless somebody presses."""
    PROLONGED = "prolonged"
    DOOR_OPENED = "door_opened"
    """The relay of the other side's door has switched."""
    REFUSED = "refused"
    """What was asked for beside the call is not done."""


class Tone(StrEnum):
    """A tone that lasts as long as the view shows it (`core/panel.py`)."""

    RINGING = "ringing"
    RINGBACK = "ringback"
    BUSY = "busy"
    QUEUED = "queued"
    """The called side talks with somebody else, and the caller waits."""
    ANNOUNCED = "announced"
    """A call is about to be answered without a person: the microphone opens after this."""
    RECONNECTING = "reconnecting"
    LOCATE = "locate"
    """Somebody looks for this station."""
    ERROR_NOT_ALLOWED = "error_not_allowed"
    ERROR_NOT_FOUND = "error_not_found"
    ERROR_NETWORK = "error_network"
    ERROR_TIMEOUT = "error_timeout"
    ERROR_UNKNOWN = "error_unknown"


class Light(StrEnum):
    """What an LED does. Every pattern begins lit, so that its first edge is the event's."""

    OFF = "off"
    ON = "on"
    SLOW = "slow"
    """1 Hz."""
    FAST = "fast"
    """4 Hz."""
    FLASH_1 = "flash_1"
    FLASH_2 = "flash_2"
    FLASH_3 = "flash_3"
    FLASH_4 = "flash_4"
    FLASH_5 = "flash_5"
    """n short flashes, then a pause of 1 s: the error LED counts out the kind of error."""


@dataclass(frozen=True, slots=True)
class Persist:
    """Write the snapshot (and put `record` into the outbox) in one transaction, before anything that follows."""

    snapshot: Snapshot
    record: CallRecord | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request to the hub; comes back as `Replied` or `Unanswered`."""

    request: Request


@dataclass(frozen=True, slots=True)
class PrepareMedia:
    """It rings: gather candidates ahead, so that the answer finds them ready. Idempotent; `StartMedia` uses what is
    ready, `StopMedia` drops it."""


@dataclass(frozen=True, slots=True)
class StartMedia:
    """Build a peer connection for this epoch (the last one's ends). The offerer's description comes as `Described`;
    the answerer waits for `ApplyRemote`."""

    call_id: CallId
    epoch: int
    offerer: bool


@dataclass(frozen=True, slots=True)
class StopMedia:
    """End the peer connection, whatever its epoch. Closing goes on in the background."""


@dataclass(frozen=True, slots=True)
class ApplyRemote:
    epoch: int
    sdp: Sdp


@dataclass(frozen=True, slots=True)
class AddCandidate:
    epoch: int
    candidate: Candidate | None


@dataclass(frozen=True, slots=True)
class OpenMicrophone:
    pass


@dataclass(frozen=True, slots=True)
class CloseMicrophone:
    pass


@dataclass(frozen=True, slots=True)
class SetRoute:
    route: Route


@dataclass(frozen=True, slots=True)
class SetVolumes:
    volumes: Volumes


@dataclass(frozen=True, slots=True)
class Play:
    jingle: Jingle


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Fires as `TimerFired(timer)` after `delay_s`; a timer of the same kind is replaced."""

    timer: Timer
    delay_s: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    kind: TimerKind


@dataclass(frozen=True, slots=True)
class Report:
    """A line for the technician's journal. `reason` is free text of ours, never text from the wire."""

    code: ErrorCode
    call_id: CallId | None = None
    peer: str = ""
    epoch: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FlushOutbox:
    """The hub has us registered: upload waiting records in batches."""


Effect = (
    Persist | Send | PrepareMedia | StartMedia | StopMedia | ApplyRemote | AddCandidate | OpenMicrophone
    | CloseMicrophone | SetRoute | SetVolumes | Play | StartTimer | CancelTimer | Report | FlushOutbox
)  # fmt: skip
