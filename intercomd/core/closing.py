"""How a call comes to its end: by us, by the hub, by a failure. Every end leaves a tombstone and a record."""

from typing import Literal

from msgspec.structs import replace

from intercomd.core.effects import (
    CancelTimer,
    CloseMicrophone,
    Effect,
    FlushOutbox,
    Jingle,
    Persist,
    Play,
    Report,
    Send,
    SetRoute,
    StartTimer,
    StopMedia,
)
from intercomd.core.events import Card, Timer, TimerKind
from intercomd.core.protocol import CancelCall, EndCall, RejectCall, Request
from intercomd.core.snapshot import MAX_TOMBSTONES, Role, Tombstone
from intercomd.core.station import (
    ANSWERED,
    OUTGOING,
    Call,
    Failure,
    Phase,
    Station,
    Step,
    snapshot_of,
    with_call,
)
from intercomd.core.vocabulary import CallRecord, EndReason
from intercomd.errors import ErrorCode, Remedy
from intercomd.ids import IdentityId

Verb = Literal["end", "reject", "cancel"]

_FAILURES = {
    EndReason.OFFLINE: ErrorCode.CALLEE_OFFLINE,
    EndReason.BUSY: ErrorCode.CALLEE_BUSY,
    EndReason.DO_NOT_DISTURB: ErrorCode.CALLEE_BUSY,
    EndReason.TIMEOUT: ErrorCode.RING_TIMEOUT,
    EndReason.REJECTED: ErrorCode.CALL_REJECTED,
    EndReason.NOT_ALLOWED: ErrorCode.CALL_NOT_ALLOWED,
    EndReason.PEER_LOST: ErrorCode.PEER_LOST,
    EndReason.MEDIA_FAILED: ErrorCode.MEDIA_FAILED,
    EndReason.NETWORK: ErrorCode.HUB_LOST,
    EndReason.CARD_MISSING: ErrorCode.CALL_FAILED,
    EndReason.CARD_DENIED: ErrorCode.CALL_FAILED,
    EndReason.FAILED: ErrorCode.CALL_FAILED,
}
"""Reasons that a person is told about. What is missing here is an ordinary end."""

_CALLEE_SILENT = frozenset({EndReason.TIMEOUT, EndReason.REJECTED, EndReason.BUSY, EndReason.OFFLINE})
"""A callee that did not answer is not told that the caller's call failed."""

_TIMERS: tuple[TimerKind, ...] = ("card", "dial", "ring", "connect", "retry", "absent", "microphone", "auto")
"""Of a call."""

CARD_CODES = {
    Card.MISSING: (ErrorCode.CARD_MISSING, EndReason.CARD_MISSING),
    Card.BUSY: (ErrorCode.CARD_BUSY, EndReason.CARD_DENIED),
    Card.DENIED: (ErrorCode.CARD_DENIED, EndReason.CARD_DENIED),
}


def verb_for(call: Call) -> Verb:
    """Which word tells the hub that this call is over here."""
    if call.phase in ANSWERED or (call.phase is Phase.RESTORING and call.answered_at is not None):
        return "end"
    return "cancel" if call.role is Role.CALLER else "reject"


def goodbye(tombstone: Tombstone) -> Request:
    """The request that a tombstone stands for."""
    match tombstone.verb:
        case "cancel":
            return CancelCall(tombstone.call_id)
        case "reject":
            return RejectCall(tombstone.call_id, tombstone.reason)
        case "end":
            return EndCall(tombstone.call_id, tombstone.reason)


def end(station: Station, call: Call, reason: EndReason, now_s: float, code: ErrorCode | None = None) -> Step:
    """We end the call: write it down, tell the hub, wait for its word for a moment."""
    was_sent = not (call.phase is Phase.WAITING_CARD and call.role is Role.CALLER)
    tombstone = Tombstone(call.call_id, verb_for(call), reason)
    closed, effects = _bury(station, call, tombstone, reason, now_s, code)
    if not (station.registered and was_sent):
        return closed, effects
    timer = Timer("ending", call.call_id)
    ending = with_call(closed, replace(call, phase=Phase.ENDING, saved=None))
    send: tuple[Effect, ...] = (Send(goodbye(tombstone)), StartTimer(timer, station.settings.ending_limit_s))
    return ending, effects + send


def ended(station: Station, call: Call, reason: EndReason, now_s: float) -> Step:
    """The hub says that the call is over."""
    return _bury(station, call, Tombstone(call.call_id, verb_for(call), reason), reason, now_s, None)


def fail(station: Station, call: Call, code: ErrorCode, reason: EndReason, now_s: float) -> Step:
    """We give the call up; the person hears and sees why, and may retry."""
    return end(station, call, reason, now_s, code)


def withdraw(station: Station, call: Call) -> Step:
    """Drop our own dial in favour of a call that the hub prefers: no record, no failure, but a tombstone in case the
    hub took it after all."""
    tombstone = Tombstone(call.call_id, "cancel", EndReason.CANCELLED)
    timers = tuple(CancelTimer(kind) for kind in ("card", "dial", "ring", "absent"))
    return replace(station, call=None, tombstones=_keep(station, tombstone)), timers


def refuse(station: Station, code: ErrorCode, peer_id: IdentityId | None) -> Step:
    """A press that could not become a call."""
    return _show(station, Failure(code, peer_id))


def _bury(
    station: Station,
    call: Call,
    tombstone: Tombstone,
    reason: EndReason,
    now_s: float,
    code: ErrorCode | None,
) -> Step:
    record = CallRecord(
        call_id=call.call_id,
        peer_id=call.peer_id,
        role=call.role.value,
        end_reason=reason,
        started_at=call.started_at,
        ended_at=now_s,
        answered_at=call.answered_at,
    )
    after = replace(station, call=None, tombstones=_keep(station, tombstone), microphone=False)
    effects: list[Effect] = [Persist(snapshot_of(after), record), StopMedia()]
    if station.microphone:
        effects.append(CloseMicrophone())
    effects += [CancelTimer(kind) for kind in _TIMERS]
    if call.phase in ANSWERED or call.phase in OUTGOING:
        effects.append(Play(Jingle.ENDED))
    if station.route is not station.settings.default_route:
        after = replace(after, route=station.settings.default_route)
        effects.append(SetRoute(after.route))
    if station.registered:
        effects.append(FlushOutbox())
    code = code or _failure_of(call, reason)
    effects.append(Report(code or ErrorCode.CALL_ENDED, call.call_id, call.peer_id, call.epoch, reason.value))
    if code is None:
        return after, tuple(effects)
    shown, more = _show(after, Failure(code, call.peer_id), reported=True)
    return shown, (*effects, *more)


def _failure_of(call: Call, reason: EndReason) -> ErrorCode | None:
    if call.role is Role.CALLEE and call.answered_at is None and reason in _CALLEE_SILENT:
        return None
    return _FAILURES.get(reason)


def _show(station: Station, failure: Failure, *, reported: bool = False) -> Step:
    settings = station.settings
    effects: tuple[Effect, ...] = (
        StartTimer(Timer("failure"), settings.retry_window_s),
        StartTimer(Timer("tone"), settings.failure_tone_s),
    )
    if not reported:
        effects = (Report(failure.code, None, failure.peer_id or ""), *effects)
    return replace(station, failure=failure), effects


def _keep(station: Station, tombstone: Tombstone) -> tuple[Tombstone, ...]:
    others = tuple(old for old in station.tombstones if old.call_id != tombstone.call_id)
    return (*others, tombstone)[-MAX_TOMBSTONES:]


def is_retryable(code: ErrorCode) -> bool:
    """Whether a press within the retry window redials the failed call's peer."""
    return code.value.remedy is Remedy.RETRY
