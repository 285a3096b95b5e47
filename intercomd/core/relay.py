"""What two bound sides exchange through the hub: descriptions, candidates, restarts, figures.

Epochs are the hub's. A description or candidate of another epoch than the current one is dropped and answered
`stale_epoch`; one without an epoch (a legacy client) means the current one. Offers come from the caller,
answers from the callee, in every epoch (RFC 3264: one offer at a time, and here always from the same side, so
there is no glare)."""

from msgspec.structs import replace

from intercomd.core import talk
from intercomd.core.legs import Endpoint, HubCall, Leg, peers_of
from intercomd.core.protocol import (
    AnswerReceived,
    CallMetrics,
    CandidateReceived,
    Code,
    Notice,
    OfferReceived,
    RestartOrdered,
    WebrtcAnswer,
    WebrtcIceCandidate,
    WebrtcOffer,
    WebrtcRestart,
)
from intercomd.core.switchboard import (
    Answer,
    Measured,
    Requested,
    Step,
    answer,
    armed,
    changed,
    refuse,
    relayed,
    tell,
)

_MINUTE_S = 60.0


def offer(call: HubCall, event: Requested, request: WebrtcOffer) -> Step:
    """From the caller to the callee."""
    sender = event.sender
    if sender != call.caller.endpoint:
        return call, refuse(call, sender, Code.NOT_ALLOWED, "the offer comes from the caller")
    if request.sdp.type != "offer":
        return call, refuse(call, sender, Code.BAD_REQUEST, "sdp.type must be 'offer'")
    refused = _undeliverable(call, sender, request.epoch)
    if refused:
        return call, refused
    after, tells = tell(
        call,
        peers_of(call, sender),
        lambda now, _: OfferReceived(now.call_id, now.seq, sender.identity, now.epoch, request.sdp),
    )
    return relayed(call, after, tells, answer(after, sender))


def take_answer(call: HubCall, event: Requested, request: WebrtcAnswer) -> Step:
    """From the callee to the caller: with it the epoch is settled."""
    sender = event.sender
    if sender == call.caller.endpoint:
        return call, refuse(call, sender, Code.NOT_ALLOWED, "the answer comes from the callee")
    if request.sdp.type != "answer":
        return call, refuse(call, sender, Code.BAD_REQUEST, "sdp.type must be 'answer'")
    refused = _undeliverable(call, sender, request.epoch)
    if refused:
        return call, refused
    settled = talk.settled(call, event.now_s)
    after, tells = tell(
        settled,
        peers_of(call, sender),
        lambda now, _: AnswerReceived(now.call_id, now.seq, sender.identity, now.epoch, request.sdp),
    )
    if settled is call:
        return relayed(call, after, tells, answer(after, sender))
    return changed(after, tells, answer(after, sender))


def candidate(call: HubCall, event: Requested, request: WebrtcIceCandidate) -> Step:
    """From either side to the other."""
    sender = event.sender
    refused = _undeliverable(call, sender, request.epoch)
    if refused:
        return call, refused

    def notice(now: HubCall, _: Leg) -> Notice:
        return CandidateReceived(now.call_id, now.seq, sender.identity, now.epoch, request.candidate)

    after, tells = tell(call, peers_of(call, sender), notice)
    return relayed(call, after, tells, answer(after, sender))


def restart(call: HubCall, event: Requested, request: WebrtcRestart) -> Step:
    """Leave an epoch: compare-and-set, so that two sides that both ask get one new epoch between them."""
    sender, limits = event.sender, call.limits
    if request.epoch != call.epoch:
        return call, refuse(call, sender, Code.STALE_EPOCH, f"the epoch is {call.epoch}")
    recent = tuple(at_s for at_s in call.restarts_s if event.now_s - at_s < _MINUTE_S)
    too_soon = bool(recent) and event.now_s - recent[-1] < limits.restart_interval_s
    if too_soon or len(recent) >= limits.restarts_per_minute:
        return call, refuse(call, sender, Code.RATE_LIMITED, "too many restarts of this call; wait and ask again")
    moved = replace(
        call,
        epoch=call.epoch + 1,
        restarts_s=(*recent, event.now_s),
        until_s=event.now_s + limits.setup_s,
    )
    after, tells = tell(
        armed(moved), moved.open_legs, lambda now, _: RestartOrdered(now.call_id, now.seq, now.epoch)
    )  # fmt: skip
    return changed(after, tells, answer(after, sender))


def metrics(call: HubCall, event: Requested, request: CallMetrics) -> Step:
    """Figures of a participant. The first ones say that audio flows, should the answer have gone unseen (a
    hub that restarted); they carry no epoch, so they cannot settle a restart."""
    measured = measure(call, event, request)
    if call.settled_epoch:
        return call, (*measured, answer(call, event.sender))
    after = talk.settled(call, event.now_s)
    return changed(after, (), *measured, answer(after, event.sender))


def measure(call: HubCall, event: Requested, request: CallMetrics) -> tuple[Measured, ...]:
    """Keep the figures if they come from one of the two sides."""
    callee = call.callee
    if event.sender == call.caller.endpoint:
        return (Measured(event.sender, "caller", request.metrics),)
    if callee is not None and event.sender == callee.endpoint:
        return (Measured(event.sender, "callee", request.metrics),)
    return ()


def _undeliverable(call: HubCall, sender: Endpoint, epoch: int | None) -> tuple[Answer, ...]:
    """Why this cannot be passed on, if it cannot."""
    if epoch is not None and epoch != call.epoch:
        return refuse(call, sender, Code.STALE_EPOCH, f"the epoch is {call.epoch}")
    if not any(peer.present for peer in peers_of(call, sender)):
        return refuse(call, sender, Code.TRY_AGAIN, "the other side is away; try again when it is present")
    return ()
