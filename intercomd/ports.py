"""The ports: what the station needs from the outside, as typed Protocols.

Behind each stands one adapter (`intercomd/adapters/`) and one faithful fake (`intercomd/fakes.py`); both pass the same
contract tests (`tests/contract/`). Callbacks named `on_…` may come from any thread unless the port says otherwise.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from intercomd.core.events import Card
from intercomd.core.protocol import DoorCommand, DoorReply, Notice, Reply, Request
from intercomd.core.snapshot import Snapshot
from intercomd.core.vocabulary import CallRecord, Candidate, IceServer, Metrics, Sdp
from intercomd.errors import ErrorCode
from intercomd.ids import InstanceId
from intercomd.media.pcm import Pcm, VoiceSink, VoiceSource

# ------------------------------------------------------------------------------------------------- sound card


class CardError(Exception):
    """The card cannot be opened or has gone. `card` says in which way; the text names the PCM, alsa-lib's reason and,
    for a busy card, its holder where it is known."""

    def __init__(self, card: Card, message: str) -> None:
        super().__init__(message)
        self.card = card


class PlayoutStream(Protocol):
    """An open playback PCM: 48 kHz, mono, S16, 480 frames × 4 (checked against what was granted)."""

    def wait(self) -> None:
        """Block until one more period is due, at most 500 ms: a period that is made then, and not before, is heard
        10 ms sooner. Raises `CardError` as `write` does."""
        ...

    def write(self, period: Pcm) -> int:
        """Write one period, shape (480,), blocking while more than `QUEUED_PERIODS` are queued, at most 500 ms.
        Returns the frames lost by an underrun (0 as a rule): after one, the stream is refilled by this call.
        Raises `CardError` when the card is gone or does not move."""
        ...

    def queued_frames(self) -> int:
        """Frames written and not yet heard, as far as alsa-lib can tell."""
        ...

    def close(self) -> None:
        """Drop what is queued and close, fast. Idempotent."""
        ...


class CaptureStream(Protocol):
    """An open capture PCM: 48 kHz, mono, S16, 480 frames × 4."""

    def read(self) -> tuple[Pcm, int]:
        """One period, shape (480,), and the frames lost before it by an overrun. Blocks at most 500 ms.
        Raises `CardError` when the card is gone or does not move."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class SoundCard(Protocol):
    """PCMs by ALSA name. Opening may take up to a second and is done in the audio threads, never on the event loop."""

    def open_playout(self, pcm: str) -> PlayoutStream:
        """Raises `CardError`."""
        ...

    def open_capture(self, pcm: str) -> CaptureStream:
        """Raises `CardError`."""
        ...


# ------------------------------------------------------------------------------------------------------ pins


class PinsError(Exception):
    """A line or the chip is not to be had. `code` is GPIO_MISSING or GPIO_BUSY; the text names the line."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Pins(Protocol):
    """The panel's lines by their names in the board file (`call`, `hangup`, ...; `ready`, `ringing`, ...; `door`)."""

    def start(self, on_edge: Callable[[str, bool, int], None]) -> Sequence[PinsError]:
        """Claim all lines; lines that cannot be had are returned, the others work. `on_edge(button, pressed, at_ns)`
        is called for each raw edge (no debounce here), from any thread, with CLOCK_MONOTONIC nanoseconds."""
        ...

    def set_led(self, name: str, lit: bool) -> None:
        """Idempotent; an LED that is not on this board is ignored."""
        ...

    def switch_on(self, output: str, for_s: float) -> None:
        """On now, and off again after `for_s` whatever becomes of the caller (a thread of its own sees to it); once
        more while on begins anew. Off at `start` and `close`. Raises `PinsError` for an output that is not to be had
        or could not be switched: the line is read back."""
        ...

    def levels(self) -> Mapping[str, bool]:
        """Every button, LED and output by name: pressed, lit or on, read back from the lines."""
        ...

    def drive(self, button: str, pressed: bool) -> None:
        """Move a button's line: only with simulated pins (demo, tests). Raises `PinsError` on real ones."""
        ...

    def close(self) -> None:
        """LEDs and outputs off, lines released. Idempotent."""
        ...


# ----------------------------------------------------------------------------------------------------- store


class StoreError(Exception):
    """A write failed or did not end in time; the text says why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the store found at start. `age_s` is how long ago the last process was known to live, by the boot's clock;
    None over a reboot. `kept_at_s` is when that was by the clock that it went by (None for a store that is new).
    `quarantined` says what was wrong with a file that was set aside, and where it is now."""

    snapshot: Snapshot
    instance: InstanceId
    age_s: float | None
    quarantined: str | None = None
    kept_at_s: float | None = None


class Store(Protocol):
    """State and outbox on flash. One writer; a `save` that has returned survives a power cut."""

    async def load(self) -> Loaded:
        """Open, check, create or quarantine. Never raises for a bad file; raises `StoreError` only if nothing at all
        can be stored (the station then runs with volatile state)."""
        ...

    async def save(self, snapshot: Snapshot, record: CallRecord | None) -> None:
        """One transaction. Raises `StoreError`; the store then goes on trying, and what was saved later comes later.
        A caller that stops waiting (a deadline) loses nothing: the write may still land."""
        ...

    async def waiting_records(self, limit: int) -> Sequence[CallRecord]:
        """The oldest records of the outbox; while the disk fails, those that are in memory."""
        ...

    @property
    def is_written(self) -> bool:
        """All that was saved or forgotten is on flash: what a power cut leaves is the present state."""
        ...

    async def forget_records(self, call_ids: Sequence[str]) -> None:
        """The hub has them. What cannot be deleted now is deleted later, and not offered again."""
        ...

    async def close(self) -> None: ...


# ------------------------------------------------------------------------------------------------ signalling


class Unreachable(Exception):
    """No acknowledgement in time, or no link: the request may or may not have arrived."""


class Signalling(Protocol):
    """The link to the hub with its own supervisor. All callbacks and methods on the event loop."""

    async def run(
        self,
        on_link: Callable[[bool], None],
        on_notice: Callable[[Notice], None],
        on_hub_time: Callable[[float], None] = ...,
        on_door: Callable[[DoorCommand], DoorReply] = ...,
    ) -> None:
        """Connect and stay connected until cancelled. `on_link(True)` when a connection stands (not yet resynced).
        `on_hub_time` hears the hub's time of that moment, with each of its heartbeats and each resync. `on_door`
        carries out a door command of the standing connection, and says what came of it, at once."""
        ...

    async def request(self, request: Request, deadline_s: float = 5.0) -> Reply:
        """Send and await the acknowledgement. Raises `Unreachable`."""
        ...

    def kick(self, *, rerouted: bool = False) -> None:
        """A person waits or the network changed: try at once instead of after the back-off, or ask a hub that seems to
        be there for a sign of life. `rerouted`: the way to the hub is another one; what stands or is being built on
        the old way is let go and built anew at once."""
        ...

    @property
    def status(self) -> "LinkStatus": ...


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """`state` is down, connecting, up or refused; `age_s` the seconds since the hub was last heard, None if never."""

    state: str
    age_s: float | None
    failed_attempts: int = 0
    reason: str = ""
    cause: ErrorCode | None = None
    """Of the last failure, where it has a name of its own."""


# --------------------------------------------------------------------------------------------------- network


@dataclass(frozen=True, slots=True)
class Paths:
    """The network at one moment: this machine's addresses, the default routes in words, the interfaces with a carrier,
    and the address that packets to the hub leave from (None without a route)."""

    addresses: frozenset[str]
    routes: frozenset[str]
    carriers: frozenset[str]
    source: str | None


class Network(Protocol):
    """The network under the station. On the event loop."""

    def paths(self) -> Paths:
        """At this moment. Raises OSError where the kernel does not tell."""
        ...

    async def run(self, on_change: Callable[[Paths], None]) -> None:
        """Tell of each change, once it has settled (150 ms, at most 1 s), until cancelled. Raises as `paths`."""
        ...


# ----------------------------------------------------------------------------------------------------- media


class MediaListener(Protocol):
    """What media tells the station; always on the event loop."""

    def described(self, epoch: int, sdp: Sdp) -> None: ...
    def candidate_gathered(self, epoch: int, candidate: Candidate | None) -> None: ...
    def media_up(self, epoch: int) -> None: ...
    def media_silent(self, epoch: int) -> None: ...
    def media_lost(self, epoch: int, reason: str) -> None: ...


class Media(Protocol):
    """Peer connections, one at a time, each for one epoch. Methods on the event loop; none of them blocks or raises:
    what goes wrong is heard as `media_lost`. Events of an epoch that was stopped are never delivered."""

    def prepare(self, ice_servers: Sequence[IceServer]) -> None:
        """It rings: gather addresses ahead. `start` uses what was gathered if servers and network are still the same;
        `stop` gives it up, and so does time (150 s). Again, or in an epoch, it does nothing new."""
        ...

    def start(self, epoch: int, offerer: bool, ice_servers: Sequence[IceServer]) -> None: ...
    def apply(self, epoch: int, sdp: Sdp) -> None: ...
    def add_candidate(self, epoch: int, candidate: Candidate | None) -> None: ...
    def stop(self) -> None:
        """The connection closes in the background, within 2 s; what was prepared is given up."""
        ...

    @property
    def source(self) -> VoiceSource:
        """The far end's voice: silence while there is no connection. The same object for the process's life."""
        ...

    @property
    def sink(self) -> VoiceSink:
        """The near end's voice goes here; dropped while there is no connection. The same object for ever."""
        ...

    def metrics(self) -> Metrics | None:
        """Of the running connection."""
        ...

    @property
    def local_address(self) -> str | None:
        """The address of this machine that the running connection's packets leave from; None where that is not known
        (nothing runs, or a relay is used)."""
        ...

    @property
    def candidate_types(self) -> str | None:
        """How the running connection's packets go, by the types of its two candidates, ours first: `host-host`,
        `host-relay` (RFC 8445); None while there is no path."""
        ...

    @property
    def first_voice_ns(self) -> int | None:
        """When the far end was first heard in this epoch: the moment, by CLOCK_MONOTONIC, in which the first audible
        sound came out of the decoder. None before, and without an epoch."""
        ...

    @property
    def drift_ppm(self) -> float:
        """By how much the far end's clock is found to run faster than the card's; 0.0 while nothing is corrected."""
        ...

    @property
    def packet_s(self) -> float:
        """How long the far end's packets of voice last: a part of its way to the ear."""
        ...

    async def close(self) -> None: ...


# ----------------------------------------------------------------------------------------- STUN and TURN servers


class Verdict(StrEnum):
    """What a look at a server has shown."""

    GOOD = "good"
    REFUSED = "refused"
    """It answers and does not accept the credentials."""
    UNREACHABLE = "unreachable"
    UNSUPPORTED = "unsupported"
    """This station will never use it."""


@dataclass(frozen=True, slots=True)
class Probed:
    """`round_trip_s` of a request; `reason` why it is not good, in words that hold no secret."""

    verdict: Verdict
    round_trip_s: float | None = None
    reason: str = ""


class Probe(Protocol):
    """Asks a STUN or TURN server as a call would. Never raises, takes at most 4 s."""

    async def __call__(self, url: str, username: str | None, credential: str | None) -> Probed: ...


# --------------------------------------------------------------------------------------------------- journal


class Journal(Protocol):
    """Lines with fields for the technician (INTERFACES: CALL_ID, PEER, EPOCH, PHASE, REASON, ...)."""

    def report(self, code: ErrorCode, message: str = "", **fields: str | int | float) -> None:
        """One line. Never raises, never blocks for long; values are length-capped and stripped of control characters.
        `message` overrides the code's text where a line needs a name in it."""
        ...


class Supervisor(Protocol):
    """systemd's side of a service: readiness, watchdog, status text. Without systemd all are no-ops."""

    def ready(self) -> None: ...
    def status(self, text: str) -> None: ...
    def alive(self) -> None:
        """Feed the watchdog."""
        ...

    def stopping(self) -> None: ...

    @property
    def watchdog_s(self) -> float | None:
        """How often systemd wants to hear `alive`, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Levels:
    """Meters of the engine, in dBFS, and its counters."""

    capture_dbfs: float = -96.0
    playout_dbfs: float = -96.0
    capture_open: bool = False
    playout_open: bool = False
    xruns: int = 0
    playout_queued_ms: float = 0.0
    periods_played: int = 0
    periods_captured: int = 0
    extra: Mapping[str, float] = field(default_factory=dict)


Spawn = Callable[[Awaitable[None]], None]
