"""What a station's call logic can hear. Events are facts in the past tense; they carry everything the core may not
look up by itself: new ids, the card's state, how old a snapshot is."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from intercomd.core.protocol import Notice, Reply, Request
from intercomd.core.snapshot import Snapshot, VolumeKind
from intercomd.core.vocabulary import Candidate, Sdp
from intercomd.ids import CallId, IdentityId


class Card(StrEnum):
    """The sound card as the engine finds it."""

    OPENING = "opening"
    """Not heard of yet, just after the start: no fault."""
    READY = "ready"
    MISSING = "missing"
    BUSY = "busy"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Booted:
    """The process has started. `snapshot` is what the last one left on flash; `age_s` is how long ago that was known to
    live, by the boot's own clock, and None over a reboot: then the hub tells, by its time, how long after `kept_at_s`
    (seconds, Unix) it is."""

    snapshot: Snapshot
    age_s: float | None = None
    kept_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class ClockSet:
    """The station's clock was moved by so much: the times of the call move with it."""

    shift_s: float


@dataclass(frozen=True, slots=True)
class CallPressed:
    """The call/answer button. `fresh_call_id` is used if the press starts a call."""

    fresh_call_id: CallId


@dataclass(frozen=True, slots=True)
class DialRequested:
    """`intercomctl call PEER`."""

    peer_id: IdentityId
    fresh_call_id: CallId


@dataclass(frozen=True, slots=True)
class AnswerRequested:
    """`intercomctl answer`: answers a ringing call and does nothing else."""


@dataclass(frozen=True, slots=True)
class HangupPressed:
    """The hang-up button or `intercomctl hangup`."""


@dataclass(frozen=True, slots=True)
class DoorPressed:
    """The door button: open the door of whoever calls or talks here."""


@dataclass(frozen=True, slots=True)
class SpeakerPressed:
    """The speaker toggle."""


@dataclass(frozen=True, slots=True)
class VolumeChosen:
    """`intercomctl volume [voice|ring|prompts] N`; None is all of them."""

    percent: int
    kind: VolumeKind | None = None


@dataclass(frozen=True, slots=True)
class VolumeStepped:
    """A volume button: the voice in a call, the ringing otherwise."""

    louder: bool


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A connection to the hub stands; nothing is registered yet: the resync follows."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection to the hub is gone. Media goes on."""


@dataclass(frozen=True, slots=True)
class Received:
    """A notice of the hub."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Replied:
    """The hub's acknowledgement of a request."""

    request: Request
    reply: Reply


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No acknowledgement in time, or the link broke while waiting: the request may or may not have arrived."""

    request: Request


@dataclass(frozen=True, slots=True)
class CardChanged:
    card: Card


@dataclass(frozen=True, slots=True)
class Described:
    """The local session description of an epoch is complete (all candidates gathered)."""

    epoch: int
    sdp: Sdp


@dataclass(frozen=True, slots=True)
class MediaUp:
    """Remote audio of this epoch is being decoded (again)."""

    epoch: int


@dataclass(frozen=True, slots=True)
class MediaSilent:
    """No packet at all (RTP or RTCP) for the watchdog's first limit."""

    epoch: int


@dataclass(frozen=True, slots=True)
class MediaLost:
    """This epoch will not carry audio (any more): the watchdog's second limit, a failed or closed connection."""

    epoch: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The network under the call is another one: an address that was in use is gone, or packets leave another way."""

    reason: str


@dataclass(frozen=True, slots=True)
class CandidateGathered:
    """A local candidate after the description (aiortc gathers before it; other media adapters may trickle)."""

    epoch: int
    candidate: Candidate | None


TimerKind = Literal[
    "card", "dial", "ring", "connect", "retry", "absent", "ending", "failure", "tone", "microphone", "resync", "auto"
]


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer's name. It belongs to one call and one epoch, so that one fired late is recognised as stale."""

    kind: TimerKind
    call_id: CallId | None = None
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class TimerFired:
    timer: Timer


Event = (
    Booted | ClockSet | CallPressed | DialRequested | AnswerRequested | HangupPressed | DoorPressed | SpeakerPressed
    | VolumeChosen | VolumeStepped
    | LinkUp | LinkDown
    | Received | Replied | Unanswered | CardChanged | Described | MediaUp | MediaSilent | MediaLost
    | PathChanged | CandidateGathered | TimerFired
)  # fmt: skip
