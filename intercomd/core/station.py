"""A station's state, as the reducer in `core/call.py` moves it: frozen, hashable, without a clock.

idle ─press─▶ WAITING_CARD ─▶ DIALLING ─ack─▶ CALLING ─▶ RINGING_OUT ─accepted─▶ CONNECTING ─▶ CONNECTED
idle ─incoming─▶ RINGING_IN ─press─▶ (WAITING_CARD) ─▶ CONNECTING ─▶ CONNECTED ⇄ RECONNECTING
boot with a saved call ─▶ RESTORING ─resync─▶ whatever the hub says        any ─hang-up─▶ ENDING ─▶ idle
"""

from enum import Enum, StrEnum, auto

import msgspec

from intercomd.core.effects import Effect
from intercomd.core.events import Card
from intercomd.core.snapshot import Role, Route, SavedCall, SavedPhase, Snapshot, Tombstone, Volumes
from intercomd.errors import ErrorCode
from intercomd.ids import CallId, IdentityId


class Phase(Enum):
    """Where a call is, seen from this station. No call = idle."""

    WAITING_CARD = auto()
    """A person pressed, the sound card is not there yet (on a page: the browser's permission)."""
    DIALLING = auto()
    """Written down, not yet acknowledged by the hub."""
    CALLING = auto()
    """The hub has taken the call."""
    RINGING_OUT = auto()
    RINGING_IN = auto()
    CONNECTING = auto()
    """Answered; the epoch's media is being built. Epoch 0 = the hub has not confirmed the answer yet."""
    CONNECTED = auto()
    RECONNECTING = auto()
    """Was connected; the audio stopped."""
    RESTORING = auto()
    """Came back from flash; the hub has not said yet what became of it."""
    ENDING = auto()
    """Over here; the hub is being told."""


ANSWERED = frozenset({Phase.CONNECTING, Phase.CONNECTED, Phase.RECONNECTING})
OUTGOING = frozenset({Phase.DIALLING, Phase.CALLING, Phase.RINGING_OUT})


class Shown(StrEnum):
    """The phase's name for people, status and page (the seed guide's words)."""

    IDLE = "idle"
    INITIALIZING = "initializing"
    PERMISSION = "permission"
    CONNECTING = "connecting"
    RINGING = "ringing"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    ENDING = "ending"


class Settings(msgspec.Struct, frozen=True):
    """From the configuration, constant for the process's life."""

    peer_id: IdentityId | None = None
    default_route: Route = Route.SPEAKER
    restore: bool = True
    grace_s: float = 120.0
    setup_timeout_s: float = 10.0
    card_wait_s: float = 5.0
    connect_timeout_s: float = 10.0
    attempts: int = 3
    attempt_backoff_s: float = 1.0
    retry_window_s: float = 10.0
    failure_tone_s: float = 3.0
    ring_slack_s: float = 15.0
    """The hub ends ringing; the station's own limit is this much later, for when the hub is gone."""
    ending_limit_s: float = 2.0
    restored_tone_s: float = 0.4
    """From the tone that announces a restored call to its microphone."""
    auto_answer: tuple[IdentityId, ...] = ()
    """Whose calls are answered without a person."""
    auto_answer_after_s: float = 4.0
    auto_limit_s: float = 120.0
    """So long the microphone is open to somebody whom no person here has answered, at most."""


class Call(msgspec.Struct, frozen=True):
    call_id: CallId
    role: Role
    peer_id: IdentityId
    phase: Phase
    started_at: float
    peer_name: str = ""
    epoch: int = 0
    seq: int = 0
    """The last notice's; older ones are replays."""
    answered_at: float | None = None
    attempts: int = 0
    """Restarts since audio last flowed, or since the link or the peer came back."""
    offer: str = ""
    """The offer that this epoch's connection has taken (at the callee): it takes no other."""
    peer_present: bool = True
    kept_at_s: float | None = None
    """Over a reboot: when the last process was known to live, for the hub's time to judge."""
    restored: bool = False
    """Came back from flash: a tone precedes the microphone."""
    saved: SavedPhase | None = None
    """What flash says of it; a restored call starts from here."""
    was_up: bool = False
    """Audio has flowed in this process's life of the call."""
    auto: bool = False
    """Answered, or about to be, without a person."""
    queued: int | None = None
    """The caller's place in the queue for the called side."""


class Failure(msgspec.Struct, frozen=True):
    """Why the last call failed, shown for the retry window. `peer_id` is redialled by a press."""

    code: ErrorCode
    peer_id: IdentityId | None
    loud: bool = True


class Station(msgspec.Struct, frozen=True):
    settings: Settings
    call: Call | None = None
    tombstones: tuple[Tombstone, ...] = ()
    failure: Failure | None = None
    online: bool = False
    """A connection to the hub stands."""
    registered: bool = False
    """... and the hub has answered the resync."""
    card: Card = Card.OPENING
    microphone: bool = False
    """Ordered open."""
    route: Route = Route.SPEAKER
    volumes: Volumes = Volumes()


Step = tuple[Station, tuple[Effect, ...]]
"""What every rule returns."""


def with_call(station: Station, call: Call | None) -> Station:
    return msgspec.structs.replace(station, call=call)


def snapshot_of(station: Station) -> Snapshot:
    """What belongs on flash now."""
    call = station.call
    saved = None
    if call is not None and call.saved is not None:
        saved = SavedCall(
            call_id=call.call_id,
            role=call.role,
            peer_id=call.peer_id,
            phase=call.saved,
            epoch=call.epoch,
            started_at=call.started_at,
            answered_at=call.answered_at,
            peer_name=call.peer_name,
            route=station.route,
            auto=call.auto,
        )
    return Snapshot(saved, station.tombstones, station.volumes)


def shown(call: Call | None) -> Shown:
    """The shown name of a call's phase (ARCHITECTURE.md's table)."""
    if call is None:
        return Shown.IDLE
    if call.phase is Phase.RESTORING:
        return Shown.RECONNECTING if call.saved is SavedPhase.CONNECTED else Shown.CONNECTING
    return _SHOWN[call.phase]


_SHOWN = {
    Phase.WAITING_CARD: Shown.PERMISSION,
    Phase.DIALLING: Shown.INITIALIZING,
    Phase.CALLING: Shown.CONNECTING,
    Phase.RINGING_OUT: Shown.RINGING,
    Phase.RINGING_IN: Shown.RINGING,
    Phase.CONNECTING: Shown.CONNECTING,
    Phase.CONNECTED: Shown.CONNECTED,
    Phase.RECONNECTING: Shown.RECONNECTING,
    Phase.ENDING: Shown.ENDING,
}
