"""What the hub's reducer can hear and what it can order, and the few moves that all its rules share.

Events are facts in the past tense with the hub's clock in them; effects are imperatives, carried out in their
order.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from intercomd.core.admission import Admission
from intercomd.core.legs import STANDARD, Endpoint, HubCall, Leg, LegState, Limits, Party, view
from intercomd.core.protocol import (
    AcceptCall,
    CallMetrics,
    CancelCall,
    Code,
    EndCall,
    Notice,
    ProlongCall,
    RejectCall,
    RejoinCall,
    Reply,
    WebrtcAnswer,
    WebrtcIceCandidate,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.vocabulary import EndReason, HubPhase, Metrics
from intercomd.ids import CallId, IdentityId

CallRequest = (
    AcceptCall | RejectCall | CancelCall | EndCall | RejoinCall
    | WebrtcOffer | WebrtcAnswer | WebrtcIceCandidate | WebrtcRestart | CallMetrics | ProlongCall
)  # fmt: skip
"""Requests about one call that exists already."""

SEQ_STRIDE = 500
"""Relayed messages count up `seq` without a write; one is made whenever this many are crossed."""

SEQ_LEAP = 1000
"""A restarted hub goes on this much later: more than it can have counted since its last write."""


# ------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Initiated:
    """`initiate_call`. `admission` counts only if the call id is new."""

    now_s: float
    call_id: CallId
    caller: Party
    recipient_id: IdentityId
    admission: Admission
    limits: Limits = STANDARD
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Requested:
    """Any other request about a call. `free`: where it could ring next, should this one decline."""

    now_s: float
    sender: Endpoint
    request: CallRequest
    free: tuple[Party, ...] = ()


@dataclass(frozen=True, slots=True)
class Vanished:
    """The last connection of this device is gone."""

    now_s: float
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Returned:
    """A device came online and resynced. `engaged`: it has an open leg in another call, or is not to be
    disturbed."""

    now_s: float
    party: Party
    engaged: bool = False


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """`lease_s` has passed. Early and stale ones do nothing. `free`: where it could ring next."""

    now_s: float
    free: tuple[Party, ...] = ()


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Something has changed around a call that waits in a queue. `free`: where it could ring now. `quiet`:
    nobody of those whom it waits for is to be disturbed any more. `position`: the place that it has now."""

    now_s: float
    position: int
    free: tuple[Party, ...] = ()
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Unreached:
    """No phone of these could be woken. `free`: where the call could ring next."""

    now_s: float
    identities: tuple[IdentityId, ...]
    free: tuple[Party, ...] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """The hub has started and read this call: nobody is connected yet."""

    now_s: float


SwitchEvent = Initiated | Requested | Vanished | Returned | LeaseExpired | Reviewed | Unreached | Restored


# ------------------------------------------------------------------------------------------------ effects


@dataclass(frozen=True, slots=True)
class Persist:
    """Commit the returned state (and, when it has ended, its record) before anything that follows."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Deliver a notice to one device. At most once: resync repairs what is lost."""

    to: Endpoint
    notice: Notice


@dataclass(frozen=True, slots=True)
class Measured:
    """Keep a participant's latest figures for the record."""

    by: Endpoint
    role: str
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Answer:
    """The acknowledgement of the request. Every `Initiated` and `Requested` has exactly one, as its last
    effect."""

    reply: Reply


SwitchEffect = Persist | Tell | Measured | Answer

Step = tuple[HubCall, tuple[SwitchEffect, ...]]
"""What every rule about an existing call returns."""


# -------------------------------------------------------------------------------------------------- moves


def tell(
    call: HubCall, legs: Iterable[Leg], notice: Callable[[HubCall, Leg], Notice]
) -> tuple[HubCall, tuple[Tell, ...]]:
    """Tell each of the legs that is present; every notice has a `seq` of its own."""
    tells: list[Tell] = []
    for leg in legs:
        if leg.present:
            call = replace(call, seq=call.seq + 1)
            tells.append(Tell(leg.endpoint, notice(call, leg)))
    return call, tuple(tells)


def answer(call: HubCall, endpoint: Endpoint) -> Answer:
    """Yes, and this is the state now."""
    return Answer(Reply(ok=True, call=view(call, endpoint)))


def refuse(call: HubCall, endpoint: Endpoint, code: Code, message: str) -> tuple[Answer]:
    """No, and this is the state now."""
    return (Answer(Reply(ok=False, code=code, message=message, call=view(call, endpoint))),)


def changed(call: HubCall, tells: Iterable[SwitchEffect], *more: Answer | Measured) -> Step:
    """A new state: committed, then told, then acknowledged."""
    return call, (Persist(), *tells, *more)


def relayed(before: HubCall, call: HubCall, tells: Iterable[Tell], *more: Answer) -> Step:
    """Only `seq` has moved: written down now and then."""
    persist: tuple[Persist, ...] = (Persist(),) if before.seq // SEQ_STRIDE != call.seq // SEQ_STRIDE else ()
    return call, (*persist, *tells, *more)


def with_leg(call: HubCall, leg: Leg) -> HubCall:
    """The call with this leg instead of the one of the same device."""
    if leg.endpoint == call.caller.endpoint:
        return replace(call, caller=leg)
    return replace(call, callees=tuple(leg if old.endpoint == leg.endpoint else old for old in call.callees))


def armed(call: HubCall) -> HubCall:
    """Phase and lease as they follow from the legs, the epochs and `until_s` (not for ended calls).

    While ringing only the caller's absence counts; later either side's. Nothing else is limited while
    somebody is absent: a peer that reboots gets the whole grace. Nobody's talk is ended unwarned."""
    callee = call.callee
    if callee is None:
        lease_s = call.until_s
        if call.caller.absent_since_s is not None:
            lease_s = min(lease_s, call.caller.absent_since_s + call.limits.grace_s)
        return replace(call, phase=HubPhase.RINGING, lease_s=lease_s)
    absent = [leg.absent_since_s for leg in (call.caller, callee) if leg.absent_since_s is not None]
    is_talk = call.settled_epoch == call.epoch
    warning_s = call.limits.warning_s if is_talk and not call.warned else 0.0
    lease_s = min(absent) + call.limits.grace_s if absent else call.until_s - warning_s
    if absent or 0 < call.settled_epoch < call.epoch:
        phase = HubPhase.INTERRUPTED
    elif is_talk:
        phase = HubPhase.CONNECTED
    else:
        phase = HubPhase.CONNECTING
    return replace(call, phase=phase, lease_s=lease_s)


def left(leg: Leg, now_s: float, reason: EndReason) -> Leg:
    """The leg when the call goes on without it."""
    return replace(leg, state=LegState.LEFT, left_at=now_s, left_reason=reason)


def closed(call: HubCall, now_s: float, reason: EndReason, by: Leg | None) -> HubCall:
    """The final state."""
    return replace(
        call,
        phase=HubPhase.ENDED,
        ended_at=now_s,
        end_reason=reason,
        ender_id=by.party.identity if by else None,
        lease_s=None,
    )
