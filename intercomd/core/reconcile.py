"""Resync: the hub's states are the truth, messages were only hints. The same rules serve `call_state`."""

from msgspec.structs import replace

from intercomd.core import auto
from intercomd.core.closing import end, ended, goodbye, withdraw
from intercomd.core.effects import (
    CancelTimer,
    Effect,
    FlushOutbox,
    Persist,
    PrepareMedia,
    Report,
    Send,
    StartTimer,
    StopMedia,
)
from intercomd.core.events import Timer
from intercomd.core.protocol import AcceptCall, EndCall, InitiateCall, KnownCall, Reply, Resync
from intercomd.core.recovery import adopt, begin, recover
from intercomd.core.snapshot import Role, SavedPhase
from intercomd.core.station import OUTGOING, Call, Phase, Station, Step, shown, snapshot_of, with_call
from intercomd.core.vocabulary import CallState, EndReason, HubPhase
from intercomd.errors import ErrorCode
from intercomd.ids import CallId, IdentityId


def resync(station: Station) -> Resync:
    """What we ask on every connect."""
    call = station.call
    if call is None or call.phase in (Phase.ENDING, Phase.WAITING_CARD):
        return Resync()
    return Resync((KnownCall(call.call_id, call.epoch, shown(call).value),))


def registered(station: Station, reply: Reply, now_s: float) -> Step:
    """The hub's answer to `resync`."""
    calls = reply.calls if isinstance(reply.calls, tuple) else ()
    by_id = {state.call_id: state for state in calls}
    station = replace(station, registered=True)
    effects: list[Effect] = [CancelTimer("resync"), FlushOutbox()]
    buried = {tombstone.call_id: tombstone for tombstone in station.tombstones}
    for state in calls:
        if state.phase is HubPhase.ENDED or (station.call and state.call_id == station.call.call_id):
            continue
        tombstone = buried.get(CallId(state.call_id))
        if tombstone is not None:
            effects.append(Send(goodbye(tombstone)))
        elif state.phase is not HubPhase.RINGING:
            # Bound to this device, but forgotten here (the state file was lost): nobody is at that end any more.
            effects.append(Send(EndCall(state.call_id, EndReason.FAILED)))
    if station.call is None:
        return station, tuple(effects)
    if _is_too_old(station, station.call, reply):
        code = ErrorCode.CALL_NOT_RESTORED
        after, more = end(station, station.call, EndReason.PEER_LOST, now_s, code)
        return replace(after, failure=None), (*effects, *more)
    after, more = _settle(station, station.call, by_id.get(station.call.call_id), now_s)
    return after, (*effects, *more)


def _is_too_old(station: Station, call: Call, reply: Reply) -> bool:
    """Over a reboot no clock of the station's can be believed: a call that it kept is judged in the hub's time."""
    if call.phase is not Phase.RESTORING or call.kept_at_s is None or not isinstance(reply.server_time, float):
        return False
    return reply.server_time - call.kept_at_s > station.settings.grace_s


def _settle(station: Station, call: Call, state: CallState | None, now_s: float) -> Step:
    match call.phase:
        case Phase.WAITING_CARD | Phase.ENDING:
            return station, ()
        case _ if state is not None:
            return told(station, call, state, now_s, fresh_link=True)
        case Phase.DIALLING:
            return dial(station, call)
        case Phase.RESTORING if call.saved is SavedPhase.DIALLING:
            return dial(with_call(station, replace(call, phase=Phase.DIALLING)), replace(call, phase=Phase.DIALLING))
        case _:
            return ended(station, call, EndReason.FAILED, now_s)


def dial(station: Station, call: Call) -> Step:
    """(Again) ask the hub for the call; it is idempotent there."""
    timer = Timer("dial", call.call_id)
    effects: tuple[Effect, ...] = (StartTimer(timer, station.settings.setup_timeout_s),)
    if station.registered:
        effects = (Send(InitiateCall(call.call_id, call.peer_id)), *effects)
    return station, effects


def told(station: Station, call: Call, state: CallState, now_s: float, *, fresh_link: bool = False) -> Step:
    """The hub's state of our call. `fresh_link`: what was under way when the last connection broke may be lost."""
    came_back = fresh_link or (state.peer_present and not call.peer_present)
    call = replace(call, peer_present=state.peer_present, attempts=0 if came_back else call.attempts)
    station = with_call(station, call)
    if state.phase is HubPhase.ENDED:
        return ended(station, call, state.end_reason or EndReason.COMPLETED, now_s)
    if state.phase is HubPhase.RINGING:
        return _still_ringing(station, call, state, now_s)
    return _answered(station, call, state, now_s, fresh_link)


def _still_ringing(station: Station, call: Call, state: CallState, now_s: float) -> Step:
    if call.role is Role.CALLER:
        if call.phase not in OUTGOING and call.phase is not Phase.RESTORING:
            return station, ()
        if state.queue_position is not None:
            return queued(station, call, state.queue_position, None)
        return ringing_out(station, call, None)
    if call.answered_at is not None:
        # Somebody pressed, but the hub never heard it.
        answering = with_call(station, replace(call, phase=Phase.CONNECTING, epoch=0))
        timer = Timer("connect", call.call_id)
        limit_s = station.settings.connect_timeout_s
        limits = (*auto.limited(station, call, now_s), StartTimer(timer, limit_s))
        return answering, (CancelTimer("absent"), Send(AcceptCall(call.call_id)), *limits)
    if call.phase is Phase.RESTORING:
        return ringing_again(station, call)
    return station, ()


def ringing_again(station: Station, call: Call) -> Step:
    """The hub still rings here: the ringing is restored, as ringing."""
    limit = StartTimer(Timer("ring", call.call_id), station.settings.grace_s)
    return with_call(station, replace(call, phase=Phase.RINGING_IN)), (
        CancelTimer("absent"),
        limit,
        *auto.announced(station, call),
        PrepareMedia(),
        _restored(call),
    )


def ring_limit(station: Station, call: Call, hub_limit_s: float | None = None) -> Effect:
    """The caller's own limit for ringing and waiting in a queue: beyond the hub's, for when the hub is gone."""
    settings = station.settings
    limit_s = max(settings.grace_s, (hub_limit_s or 0.0) + settings.ring_slack_s)
    return StartTimer(Timer("ring", call.call_id), limit_s)


def ringing_out(station: Station, call: Call, hub_limit_s: float | None) -> Step:
    """It rings at the other end."""
    ringing = with_call(station, replace(call, phase=Phase.RINGING_OUT, queued=None))
    effects: tuple[Effect, ...] = (CancelTimer("dial"), CancelTimer("absent"), PrepareMedia())
    if call.phase is not Phase.RINGING_OUT or hub_limit_s is not None:
        effects = (*effects, ring_limit(station, call, hub_limit_s))
    return ringing, (*effects, _restored(call)) if call.phase is Phase.RESTORING else effects


def queued(station: Station, call: Call, position: int, hub_limit_s: float | None) -> Step:
    """The called side is in another call; the hub rings it when it is free. Addresses are gathered when it rings."""
    waiting = with_call(station, replace(call, phase=Phase.CALLING, queued=position))
    effects: tuple[Effect, ...] = (CancelTimer("dial"), CancelTimer("absent"))
    if call.phase is not Phase.CALLING or hub_limit_s is not None:
        effects = (*effects, ring_limit(station, call, hub_limit_s))
    return waiting, (*effects, _restored(call)) if call.phase is Phase.RESTORING else effects


def prepared_anew(call: Call) -> tuple[Effect, ...]:
    """The network changed while it rings: candidates of the old one are of no use."""
    return (StopMedia(), PrepareMedia()) if call.phase in (Phase.RINGING_IN, Phase.RINGING_OUT) else ()


def _answered(station: Station, call: Call, state: CallState, now_s: float, fresh_link: bool) -> Step:
    match call.phase:
        case Phase.DIALLING | Phase.CALLING | Phase.RINGING_OUT | Phase.RINGING_IN:
            return answered(station, call, state.epoch, state.callee_id, state.callee_name, now_s)
        case Phase.RESTORING:
            # With the peer there, a restart is asked for at once. Where it is away too (both lost their power), whoever
            # comes back last asks, and is not told that it was asked a moment ago.
            back = replace(call, epoch=state.epoch, answered_at=call.answered_at or now_s, saved=SavedPhase.CONNECTED)
            back = replace(back, phase=Phase.RECONNECTING, attempts=0)
            after, effects = recover(with_call(station, back), back, "it came back from flash", now_s)
            limits = auto.limited(station, back, now_s)
            return after, (CancelTimer("absent"), _restored(call), *limits, *effects)
        case Phase.CONNECTING | Phase.RECONNECTING if _must_ask(call, state, fresh_link):
            current = replace(call, epoch=state.epoch)
            return recover(with_call(station, current), current, "the link or the peer was away", now_s)
        case _:
            return adopt(station, call, state.epoch)


def _must_ask(call: Call, state: CallState, fresh_link: bool) -> bool:
    """Whether the epoch under way is in doubt. A caller simply offers on a newer one; a callee may have missed
    the offer while its link was down."""
    if fresh_link:
        return call.role is Role.CALLEE or state.epoch <= call.epoch
    return call.phase is Phase.RECONNECTING and call.peer_present and state.epoch <= call.epoch


def answered(station: Station, call: Call, epoch: int, peer_id: str | None, peer_name: str, now_s: float) -> Step:
    """The call was answered: by the peer (we are the caller), or by us in a reply that got lost."""
    peer = IdentityId(peer_id) if peer_id and call.role is Role.CALLER else call.peer_id
    name = peer_name if call.role is Role.CALLER else call.peer_name
    up = replace(call, peer_id=peer, peer_name=name, answered_at=now_s, saved=SavedPhase.CONNECTED, epoch=epoch)
    begun, effects = begin(with_call(station, up), up, epoch)
    report = Report(ErrorCode.CALL_ANSWERED, call.call_id, peer, epoch)
    before = (CancelTimer("dial"), CancelTimer("ring"), Persist(snapshot_of(begun)), report)
    return begun, (*before, *effects)


def glare(station: Station, call: Call, state: CallState, now_s: float) -> Step:
    """Our dial met the other side's (rule 3): the hub answered with that call. Both wanted to talk, and a person here
    has just pressed: ours is withdrawn, theirs is answered."""
    dropped, effects = withdraw(station, call)
    theirs = Call(
        call_id=CallId(state.call_id),
        role=Role.CALLEE,
        peer_id=IdentityId(state.caller_id),
        phase=Phase.RINGING_IN,
        started_at=now_s,
        peer_name=state.caller_name,
        restored=call.restored,
        saved=SavedPhase.RINGING,
    )
    accepted, more = accept(with_call(dropped, theirs), theirs, now_s)
    return accepted, effects + more


def accept(station: Station, call: Call, now_s: float) -> Step:
    """A person answers: write it down, then tell the hub; the epoch comes with its reply."""
    taken = replace(call, phase=Phase.CONNECTING, answered_at=now_s, saved=SavedPhase.CONNECTED, epoch=0)
    after = with_call(station, taken)
    effects: list[Effect] = [CancelTimer("ring"), CancelTimer("card"), Persist(snapshot_of(after))]
    effects.append(Report(ErrorCode.CALL_ANSWERED, call.call_id, call.peer_id))
    if station.registered:
        effects.append(Send(AcceptCall(call.call_id)))
    effects += auto.limited(station, taken, now_s)
    effects.append(StartTimer(Timer("connect", call.call_id), station.settings.connect_timeout_s))
    return after, tuple(effects)


def _restored(call: Call) -> Report:
    return Report(ErrorCode.CALL_RESTORED, call.call_id, call.peer_id, call.epoch)
