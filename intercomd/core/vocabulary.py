"""What the protocol's messages are made of: limits of sizes, identifiers, phases and reasons, the structs that stand in
several messages; how they are decoded and encoded. `core/protocol.py` has the messages themselves."""

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

MAX_MESSAGE_BYTES = 64 * 1024
MAX_SDP_CHARS = 32 * 1024
MAX_ID_CHARS = 128
MAX_NAME_CHARS = 200
MAX_CANDIDATE_CHARS = 1024
MAX_RECORDS_PER_UPLOAD = 200
MAX_RESYNC_CALLS = 16

STORABLE = r"^[^\x00]*$"
"""Any text but U+0000, which PostgreSQL cannot store (its manual, 8.3)."""
Identifier = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS, pattern=STORABLE)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
Epoch = Annotated[int, Meta(ge=0, le=1_000_000)]
Seq = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=10_000_000_000)]


class BadMessage(ValueError):
    """A payload of the wrong shape. The text says which field and why; it never repeats the payload."""


class HubPhase(StrEnum):
    """A call's phase as the hub owns it."""

    RINGING = "ringing"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    INTERRUPTED = "interrupted"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a call is over. The inward reason of the record; `outcome` gives the outward word."""

    COMPLETED = "completed"
    TALK_LIMIT = "talk_limit"
    """The talk limit that the hub is configured with is over."""
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    BUSY = "busy"
    OFFLINE = "user_offline"
    NOT_ALLOWED = "not_allowed"
    DO_NOT_DISTURB = "do_not_disturb"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    CALLER_GONE = "caller_gone"
    PEER_LOST = "peer_lost"
    MEDIA_FAILED = "media_failed"
    CARD_MISSING = "card_missing"
    CARD_DENIED = "card_denied"
    NETWORK = "network"
    FAILED = "failed"


class Struct(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of everything on the wire: immutable, hashable, camelCase outside."""


class Sdp(Struct, frozen=True):
    """A session description (RFC 8866) and its role in offer/answer (RFC 3264)."""

    type: Literal["offer", "answer"]
    sdp: Annotated[str, Meta(max_length=MAX_SDP_CHARS)]


class Candidate(Struct, frozen=True):
    """An ICE candidate as browsers write it (RFC 8839)."""

    candidate: Annotated[str, Meta(max_length=MAX_CANDIDATE_CHARS)]
    sdp_mid: Annotated[str, Meta(max_length=64)] | None = None
    sdp_m_line_index: Annotated[int, Meta(ge=0, le=64)] | None = None


Count = Annotated[int, Meta(ge=0, le=2**53)]


class Metrics(Struct, frozen=True):
    """The guide's five metrics and more of our own, of a whole call; all optional. Times in seconds, frames of 48 kHz.

    Of the voice that was received: `played_frames` are real (`recovered_frames` of them by error correction),
    `concealed_frames` stood in for missing ones, in so many `concealments`; `stretched_frames` were left out of the
    voice or repeated in it to move the buffer's delay. `late_packets` came after their time, `left_out_packets` were
    dropped to come back to `buffer_target`. `mouth_to_ear` is an estimate for the direction that is heard here; `mos`
    is by the E-model (ITU-T G.107) on a scale of 1 to 4.5. `erle_db`: by how much the canceller weakens the echo.
    `drift_ppm`: how much faster the far end's clock runs. `cpu_ratio`: of one processor, the whole process.
    """

    connection_time: Seconds | None = None
    audio_packets_lost: Annotated[int, Meta(ge=-(2**31), le=2**31)] | None = None
    audio_packets_received: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    jitter: Seconds | None = None
    round_trip_time: Seconds | None = None
    call_duration: Seconds | None = None
    concealed_ratio: Annotated[float, Meta(ge=0, le=1)] | None = None
    buffer_delay: Seconds | None = None
    buffer_target: Seconds | None = None
    played_frames: Count | None = None
    recovered_frames: Count | None = None
    concealed_frames: Count | None = None
    concealments: Count | None = None
    stretched_frames: Count | None = None
    late_packets: Count | None = None
    left_out_packets: Count | None = None
    mouth_to_ear: Seconds | None = None
    mos: Annotated[float, Meta(ge=1, le=5)] | None = None
    erle_db: Annotated[float, Meta(ge=-200, le=200)] | None = None
    xruns: Count | None = None
    drift_ppm: Annotated[float, Meta(ge=-1e6, le=1e6)] | None = None
    cpu_ratio: Annotated[float, Meta(ge=0, le=10_000)] | None = None


class CallState(Struct, frozen=True):
    """The hub's view of a call: the truth. Times are seconds of the hub's clock (Unix). `queue_position` is set while
    the caller waits until the called side gets free (1: next); the phase is then `ringing`, though nothing rings
    yet."""

    call_id: Identifier
    caller_id: Identifier
    recipient_id: Identifier
    phase: HubPhase
    epoch: Epoch
    seq: Seq
    created_at: float
    callee_id: Identifier | None = None
    caller_name: Name = ""
    callee_name: Name = ""
    peer_present: bool = True
    answered_at: float | None = None
    ended_at: float | None = None
    end_reason: EndReason | None = None
    lease: float | None = None
    queue_position: Annotated[int, Meta(ge=1)] | None = None


class IceServer(Struct, frozen=True):
    """As RTCIceServer of the W3C's WebRTC 1.0."""

    urls: list[str]
    username: str | None = None
    credential: str | None = None


class CallRecord(Struct, frozen=True):
    """A call record as a station keeps it in its outbox and uploads it."""

    call_id: Identifier
    peer_id: Identifier
    role: Literal["caller", "callee"]
    end_reason: EndReason
    started_at: float
    ended_at: float
    answered_at: float | None = None
    metrics: Metrics | None = None


_S = TypeVar("_S", bound=Struct)


def decode(kind: type[_S], payload: object) -> _S:
    """Turn a JSON-like `payload` (dict, list, str, ...) into a struct. Raises `BadMessage`."""
    try:
        return msgspec.convert(payload, kind, strict=True)
    except msgspec.ValidationError as error:
        raise BadMessage(_without_value(str(error))) from None


def _without_value(text: str) -> str:
    """msgspec names the type and the place, but for enumerations it repeats what was sent, however long that is."""
    if not text.startswith("Invalid enum value"):
        return text
    _, at, place = text.rpartition(" - at ")
    return f"Invalid enum value{at}{place}" if at else "Invalid enum value"


def encode(struct: Struct) -> dict[str, Any]:
    """The JSON-like dict of a struct, with its wire names; defaults are left out."""
    encoded: dict[str, Any] = msgspec.to_builtins(struct)
    return encoded
