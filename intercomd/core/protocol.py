"""Signalling protocol, version 1: every message as a typed struct, shared by station, hub and page.

Requests go from client to hub and are always acknowledged (`Reply`); notices go from hub to client. Field names on
the wire are camelCase. Unknown fields are ignored, so that legacy clients' extra fields (`callerId`, `duration`, ...)
do no harm; a wrong shape raises `BadMessage`, which names the field and the reason.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType, field

from intercomd.core.vocabulary import (
    MAX_RECORDS_PER_UPLOAD,
    MAX_RESYNC_CALLS,
    STORABLE,
    CallRecord,
    CallState,
    Candidate,
    EndReason,
    Epoch,
    IceServer,
    Identifier,
    Metrics,
    Name,
    Sdp,
    Seconds,
    Seq,
    Struct,
)

PROTOCOL_VERSION = 1


# ---------------------------------------------------------------------------------------------------- requests


class Request(Struct, frozen=True):
    """Client to hub. `event` is the Socket.IO event's name."""

    event: ClassVar[str] = ""


class KnownCall(Struct, frozen=True):
    """A call as a client remembers it, sent with `resync`."""

    call_id: Identifier
    epoch: Epoch
    phase: Annotated[str, Meta(max_length=32)]


class Resync(Request, frozen=True):
    """Sent on every connect. The answer is the truth about this device's calls: its open ones, and those that it
    names, if only to say that they are over; with the hub's time and ICE servers."""

    event: ClassVar[str] = "resync"
    calls: Annotated[tuple[KnownCall, ...], Meta(max_length=MAX_RESYNC_CALLS)] = ()


class RejoinCall(Request, frozen=True):
    """`resync` for one call."""

    event: ClassVar[str] = "rejoin_call"
    call_id: Identifier


class Heartbeat(Request, frozen=True):
    """Every 5 s. The answer has the hub's time."""

    event: ClassVar[str] = "heartbeat"
    t: float


class InitiateCall(Request, frozen=True):
    """Ring a station, a resident or a group. The caller chooses `call_id`; the same one again is the same call."""

    event: ClassVar[str] = "initiate_call"
    call_id: Identifier
    recipient_id: Identifier
    conversation_id: Identifier | None = None


class AcceptCall(Request, frozen=True):
    """Answer. The first to do so has the call; the others stop ringing."""

    event: ClassVar[str] = "accept_call"
    call_id: Identifier


class RejectCall(Request, frozen=True):
    """Decline, for all devices of this identity."""

    event: ClassVar[str] = "reject_call"
    call_id: Identifier
    reason: Annotated[str, Meta(max_length=64)] | None = None


class CancelCall(Request, frozen=True):
    """Hang up before anybody has answered."""

    event: ClassVar[str] = "cancel_call"
    call_id: Identifier


class EndCall(Request, frozen=True):
    """`reason` is only taken when it names a failure that the client alone can know (`media_failed`, `card_missing`,
    `card_denied`, `network`, `peer_lost`, and `failed` for a device that has forgotten the call); anything else ends
    the call as `completed`."""

    event: ClassVar[str] = "end_call"
    call_id: Identifier
    reason: Annotated[str, Meta(max_length=64)] | None = None


class WebrtcOffer(Request, frozen=True):
    """From the caller to the callee, after `call_accepted` and in each epoch. Without `epoch`: the current one."""

    event: ClassVar[str] = "webrtc_offer"
    call_id: Identifier
    sdp: Sdp
    epoch: Epoch | None = None


class WebrtcAnswer(Request, frozen=True):
    """From the callee to the caller."""

    event: ClassVar[str] = "webrtc_answer"
    call_id: Identifier
    sdp: Sdp
    epoch: Epoch | None = None


class WebrtcIceCandidate(Request, frozen=True):
    """`candidate` null means the end of candidates."""

    event: ClassVar[str] = "webrtc_ice_candidate"
    call_id: Identifier
    candidate: Candidate | None
    epoch: Epoch | None = None


class WebrtcRestart(Request, frozen=True):
    """Leave `epoch`; the hub names the next one."""

    event: ClassVar[str] = "webrtc_restart"
    call_id: Identifier
    epoch: Epoch


class ProlongCall(Request, frozen=True):
    """The talk may go on for one talk limit from now. Nothing changes where the hub has no talk limit."""

    event: ClassVar[str] = "prolong_call"
    call_id: Identifier


class SetDoNotDisturb(Request, frozen=True):
    """Nobody rings at this identity until then (seconds of the hub's clock); without `until`, from now on everybody
    does again, save in its quiet hours."""

    event: ClassVar[str] = "set_do_not_disturb"
    until: Seconds | None = None


class CallMetrics(Request, frozen=True):
    """How this side hears the call: every 5 s and at its end. The last ones stay with the record."""

    event: ClassVar[str] = "call_metrics"
    call_id: Identifier
    metrics: Metrics


class OpenDoor(Request, frozen=True):
    """Switch the door opener of `station_id` on. Acknowledged `ok` only when its relay has really switched. `call_id`:
    of the call in which it is asked for. Never queued: without an `ok` the door does not open later either."""

    event: ClassVar[str] = "open_door"
    station_id: Identifier
    call_id: Identifier | None = None


class UploadRecords(Request, frozen=True):
    """What a station has written down itself, also of calls that the hub never saw."""

    event: ClassVar[str] = "upload_records"
    records: Annotated[tuple[CallRecord, ...], Meta(max_length=MAX_RECORDS_PER_UPLOAD)]


REQUESTS: dict[str, type[Request]] = {
    request.event: request
    for request in (
        Resync, RejoinCall, Heartbeat, InitiateCall, AcceptCall, RejectCall, CancelCall, EndCall, WebrtcOffer,
        WebrtcAnswer, WebrtcIceCandidate, WebrtcRestart, CallMetrics, UploadRecords,
        ProlongCall, SetDoNotDisturb,
        OpenDoor,
    )
}  # fmt: skip


class Code(StrEnum):
    """Why a request was not carried out."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_EVENT = "unknown_event"
    UNAUTHORISED = "unauthorised"
    BANNED = "banned"
    PROTOCOL_UNSUPPORTED = "protocol_unsupported"
    RATE_LIMITED = "rate_limited"
    NOT_FOUND = "not_found"
    NOT_PARTICIPANT = "not_participant"
    NOT_THIS_DEVICE = "not_this_device"
    CALL_ID_TAKEN = "call_id_taken"
    BUSY = "busy"
    STALE_EPOCH = "stale_epoch"
    WRONG_PHASE = "wrong_phase"
    NOT_ALLOWED = "not_allowed"
    TRY_AGAIN = "try_again"
    INTERNAL = "internal"
    USER_OFFLINE = "user_offline"
    NO_DOOR = "no_door"
    """The station has no opener, or one that is not to be opened from elsewhere."""
    DOOR_STUCK = "door_stuck"
    """The line or the relay does not switch."""
    EXPIRED = "expired"
    """The command came too late: the station has not carried it out."""
    UNCONFIRMED = "unconfirmed"
    """The station did not answer in time: it may have opened, and will not any more."""


class Reply(Struct, frozen=True):
    """The acknowledgement of every request. `call` is the state after it, where the request is about a call;
    the other fields belong to `resync` and `heartbeat`. `do_not_disturb_until`: as this identity has asked for."""

    ok: bool
    code: Code | None = None
    message: str | None = None
    call: CallState | None = None
    calls: tuple[CallState, ...] | UnsetType = UNSET
    server_time: float | UnsetType = UNSET
    do_not_disturb_until: float | UnsetType = UNSET
    ice_servers: list[IceServer] | UnsetType = UNSET


# ----------------------------------------------------------------------------------------------------- notices


class Notice(Struct, frozen=True):
    """Hub to client, about one call. `seq` counts per call: a client drops what it has seen."""

    event: ClassVar[str] = ""
    call_id: Identifier
    seq: Seq


class IncomingCall(Notice, frozen=True, kw_only=True):
    """It rings here, for `ring_timeout` seconds at most."""

    event: ClassVar[str] = "incoming_call"
    caller_id: Identifier
    caller_role: str = "station"
    caller_name: Name = ""
    caller_avatar: str | None = None
    conversation_id: Identifier | None = None
    ring_timeout: Seconds


class CallInitiated(Notice, frozen=True):
    """It rings at the other end. `ring_timeout`: for so long at most, with all whom it may ring one after another."""

    event: ClassVar[str] = "call_initiated"
    ring_timeout: Seconds | None = None


class CallQueued(Notice, frozen=True):
    """The called side is in another call and the caller's place in its queue is this (1: next). Told again whenever
    it changes; `call_initiated` follows when it rings. `ring_timeout`: for so long at most the hub lets the caller
    wait and ring."""

    event: ClassVar[str] = "call_queued"
    position: Annotated[int, Meta(ge=1)]
    ring_timeout: Seconds | None = None


class CallAccepted(Notice, frozen=True, kw_only=True):
    """The other side has answered: make the offer of this epoch."""

    event: ClassVar[str] = "call_accepted"
    accepter_id: Identifier
    accepter_role: str = "station"
    accepter_name: Name = ""
    epoch: Epoch


class CallRejected(Notice, frozen=True):
    """The called side has declined."""

    event: ClassVar[str] = "call_rejected"
    rejecter_id: Identifier
    reason: str | None = None


class CallCancelled(Notice, frozen=True, kw_only=True):
    """It stops ringing here."""

    event: ClassVar[str] = "call_cancelled"
    canceller_id: Identifier | None = None
    reason: EndReason


class CallEnded(Notice, frozen=True, kw_only=True):
    """The call is over. `duration`: of the talk."""

    event: ClassVar[str] = "call_ended"
    ender_id: Identifier | None = None
    duration: Seconds = 0.0
    reason: EndReason


class CallFailed(Notice, frozen=True):
    """The call did not come about."""

    event: ClassVar[str] = "call_failed"
    reason: EndReason
    message: str = ""


class OfferReceived(Notice, frozen=True):
    """The caller's description; `offer_id` is the caller."""

    event: ClassVar[str] = "webrtc_offer"
    offer_id: Identifier
    epoch: Epoch
    sdp: Sdp


class AnswerReceived(Notice, frozen=True):
    """The callee's description; `answer_id` is the callee."""

    event: ClassVar[str] = "webrtc_answer"
    answer_id: Identifier
    epoch: Epoch
    sdp: Sdp


class CandidateReceived(Notice, frozen=True):
    """The other side's candidate; null: there are no more."""

    event: ClassVar[str] = "webrtc_ice_candidate"
    candidate_id: Identifier
    epoch: Epoch
    candidate: Candidate | None


class RestartOrdered(Notice, frozen=True):
    """Leave the connection that stands: the caller makes an offer of this epoch."""

    event: ClassVar[str] = "webrtc_restart"
    epoch: Epoch


class TalkLimit(Notice, frozen=True):
    """The hub ends the talk in so many seconds, unless one of the two prolongs it. Told as a warning shortly before the
    end, and to both (with more time) when it was prolonged after a warning."""

    event: ClassVar[str] = "talk_limit"
    left_s: Seconds
    prolonged: bool = False


class CallStateChanged(Notice, frozen=True):
    """The whole state, sent when the peer vanishes or returns."""

    event: ClassVar[str] = "call_state"
    state: CallState


NOTICES: dict[str, type[Notice]] = {
    notice.event: notice
    for notice in (
        IncomingCall, CallInitiated, CallAccepted, CallRejected, CallCancelled, CallEnded, CallFailed, OfferReceived,
        AnswerReceived, CandidateReceived, RestartOrdered, CallStateChanged,
        CallQueued, TalkLimit,
    )
}  # fmt: skip

HUB_HEARTBEAT_EVENT = "heartbeat"
"""The hub's own heartbeat to the client: `{t}`, acknowledged with `{ok: true}`. It concerns no call."""


DOOR = "door"
"""The capability of a station that has an opener and lets the hub use it."""


class DoorCommand(Struct, frozen=True):
    """Hub to a station, about no call: switch your door opener on, once per `command_id`. It must not be carried out
    more than `ttl_ms` of the hub's time after the last heartbeat before it (the hub sends one just before)."""

    event: ClassVar[str] = "door_command"
    command_id: Identifier
    ttl_ms: Annotated[int, Meta(ge=1, le=60_000)]


class DoorReply(Struct, frozen=True):
    """A station's acknowledgement of `door_command`. `switched`: the relay is on, read back from its line."""

    ok: bool
    switched: bool = False
    code: Code | None = None
    message: Annotated[str, Meta(max_length=512)] = ""


_Capability = Annotated[str, Meta(max_length=64)]


class ConnectAuth(Struct, frozen=True):
    """The Socket.IO `auth` payload. `protocol` absent = a legacy client; `token` absent = a page, whose session is in
    its cookie."""

    token: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    instance: Identifier | None = None
    protocol: int | None = None
    capabilities: Annotated[list[Annotated[str, Meta(max_length=64, pattern=STORABLE)]], Meta(max_length=32)] = field(
        default_factory=list
    )
