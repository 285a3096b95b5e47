"""The station's call reducer: `handle(station, event, now_s) -> (station, effects)`. Pure; time is an argument.

Theory of operation. The hub owns the state of a call; a station owns its panel, its card and its media. Everything
the hub sends is a hint: after each connect one `resync` settles what is true (`core/reconcile.py`). Everything that
must survive a power cut is persisted before the hub hears of it. Media is ordered and heard of by epoch
(`core/recovery.py`); a message or a timer of an old epoch or another call changes nothing. Every end goes through
`core/closing.py`.

`handle` first settles what does not depend on the phase (boot, link, card, route, volumes, messages about other calls),
then asks the one function of the call's phase (`core/phases.py`).
"""

from msgspec.structs import replace

from intercomd.core import asides, auto, closing, phases, reconcile
from intercomd.core.effects import (
    CancelTimer,
    Effect,
    Persist,
    PrepareMedia,
    Report,
    Send,
    SetRoute,
    SetVolumes,
    StartTimer,
)
from intercomd.core.events import (
    Booted,
    Card,
    CardChanged,
    ClockSet,
    DoorPressed,
    Event,
    LinkDown,
    LinkUp,
    Received,
    Replied,
    SpeakerPressed,
    Timer,
    TimerFired,
    Unanswered,
    VolumeChosen,
    VolumeStepped,
)  # fmt: skip
from intercomd.core.protocol import (
    CallAccepted,
    CallCancelled,
    CallEnded,
    CallFailed,
    CallRejected,
    CallStateChanged,
    EndCall,
    IncomingCall,
    Notice,
    OfferReceived,
    OpenDoor,
    RejectCall,
    Reply,
    RestartOrdered,
    Resync,
)
from intercomd.core.snapshot import MAX_VOLUME, Role, Route, SavedPhase, bounded
from intercomd.core.station import Call, Phase, Station, Step, snapshot_of, with_call
from intercomd.core.vocabulary import EndReason  # fmt: skip
from intercomd.errors import ErrorCode
from intercomd.ids import CallId, IdentityId

_RESYNC_AGAIN_S = 1.0
VOLUME_STEP = 10


def handle(station: Station, event: Event, now_s: float) -> Step:
    """One event. `now_s` is the wall clock (Unix seconds), used for records only."""
    match event:
        case Booted():
            return _booted(station, event, now_s)
        case ClockSet(shift_s):
            return _clock_set(station, shift_s)
        case LinkUp():
            return replace(station, online=True, registered=False), (Send(reconcile.resync(station)),)
        case LinkDown():
            return _link_down(station)
        case CardChanged(card):
            return _card_changed(replace(station, card=card), now_s)
        case SpeakerPressed():
            return _toggle_route(station)
        case DoorPressed():
            return asides.open_door(station)
        case Replied(OpenDoor() as request, reply):
            return asides.door_answered(station, request, reply)
        case Unanswered(OpenDoor() as request):
            return asides.door_unanswered(station, request)
        case VolumeChosen():
            return _volume_chosen(station, event)
        case VolumeStepped(louder):
            return _volume_stepped(station, louder)
        case Received(notice):
            return _received(station, notice, now_s)
        case Replied(Resync(), reply):
            return _resynced(station, reply, now_s)
        case Unanswered(Resync()):
            return station, _resync_again(station)
        case TimerFired(timer):
            return _timer_fired(station, timer, now_s)
        case _ if station.call is None:
            return phases.idle(station, event, now_s)
        case _:
            return phases.PHASES[station.call.phase](station, station.call, event, now_s)


def _booted(station: Station, event: Booted, now_s: float) -> Step:
    volumes = bounded(event.snapshot.volumes)
    louder = (SetVolumes(volumes),) if volumes != station.volumes else ()
    station, effects = _call_restored(replace(station, volumes=volumes), event, now_s)
    return station, (*louder, *effects)


def _call_restored(station: Station, event: Booted, now_s: float) -> Step:
    saved = event.snapshot.call
    station = replace(station, tombstones=event.snapshot.tombstones)
    if saved is None:
        return station, ()
    call = Call(
        call_id=saved.call_id,
        role=saved.role,
        peer_id=saved.peer_id,
        phase=Phase.RESTORING,
        started_at=saved.started_at,
        peer_name=saved.peer_name,
        epoch=saved.epoch,
        answered_at=saved.answered_at,
        restored=True,
        saved=saved.phase,
        kept_at_s=event.kept_at_s if event.age_s is None else None,
        auto=saved.auto and auto.is_listed(station, saved.peer_id),
    )
    age_s = event.age_s or 0.0
    unlisted = saved.auto and not call.auto and saved.answered_at is not None
    if not station.settings.restore or age_s > station.settings.grace_s or unlisted:
        after, effects = closing.end(
            with_call(station, call), call, EndReason.PEER_LOST, now_s, ErrorCode.CALL_NOT_RESTORED
        )
        return replace(after, failure=None), effects
    timer = StartTimer(Timer("absent", call.call_id), station.settings.grace_s - age_s)
    reroute = (SetRoute(saved.route),) if saved.route is not station.route else ()
    return replace(station, call=call, route=saved.route), (timer, *reroute)


def _clock_set(station: Station, shift_s: float) -> Step:
    call = station.call
    if call is None:
        return station, ()
    answered_at = None if call.answered_at is None else call.answered_at + shift_s
    moved = with_call(station, replace(call, started_at=call.started_at + shift_s, answered_at=answered_at))
    # A restored call's times were written by a process that perhaps had the hub's time already.
    if call.phase is Phase.RESTORING:
        return station, ()
    return moved, (Persist(snapshot_of(moved)),) if call.saved is not None else ()


def _link_down(station: Station) -> Step:
    station = replace(station, online=False, registered=False)
    if station.call is not None and station.call.phase is Phase.ENDING:
        return with_call(station, None), (CancelTimer("ending"),)
    return station, ()


def _card_changed(station: Station, now_s: float) -> Step:
    call = station.call
    if call is None or call.phase is not Phase.WAITING_CARD or station.card is not Card.READY:
        return station, ()
    if call.role is Role.CALLER:
        return phases.dial(station, call)
    return reconcile.accept(station, call, now_s)


def _toggle_route(station: Station) -> Step:
    route = Route.HANDSET if station.route is Route.SPEAKER else Route.SPEAKER
    after = replace(station, route=route)
    if station.call is None or station.call.saved is None:
        return after, (SetRoute(route),)
    return after, (SetRoute(route), Persist(snapshot_of(after)))


def _volume_chosen(station: Station, event: VolumeChosen) -> Step:
    kinds = (event.kind,) if event.kind else ("voice", "ring", "prompts")
    volumes = bounded(replace(station.volumes, **dict.fromkeys(kinds, event.percent)))
    if volumes == station.volumes:
        return station, ()
    after = replace(station, volumes=volumes)
    return after, (SetVolumes(volumes), Persist(snapshot_of(after)))


def _volume_stepped(station: Station, louder: bool) -> Step:
    """A button never turns the ringing off: a resident would wait for a call that nobody hears."""
    step = VOLUME_STEP if louder else -VOLUME_STEP
    if station.call is not None and station.call.phase not in (Phase.RINGING_IN, Phase.RINGING_OUT):
        percent = max(VOLUME_STEP, station.volumes.voice + step)
        return _volume_chosen(station, VolumeChosen(min(MAX_VOLUME, percent), "voice"))
    percent = max(VOLUME_STEP, station.volumes.ring + step)
    return _volume_chosen(station, VolumeChosen(min(MAX_VOLUME, percent), "ring"))


def _resynced(station: Station, reply: Reply, now_s: float) -> Step:
    if not station.online:
        return station, ()
    if not reply.ok:
        return station, _resync_again(station)
    return reconcile.registered(station, reply, now_s)


def _resync_again(station: Station) -> tuple[Effect, ...]:
    return (StartTimer(Timer("resync"), _RESYNC_AGAIN_S),) if station.online else ()


def _received(station: Station, notice: Notice, now_s: float) -> Step:
    call = station.call
    if call is None or notice.call_id != call.call_id:
        return _about_another_call(station, notice, now_s)
    if notice.seq <= call.seq:
        return station, ()
    call = replace(call, seq=notice.seq)
    station = with_call(station, call)
    if call.phase is Phase.ENDING:
        return station, ()
    match notice:
        case CallEnded(reason=reason) | CallCancelled(reason=reason) | CallFailed(reason=reason):
            return closing.ended(station, call, reason, now_s)
        case CallRejected():
            return closing.ended(station, call, EndReason.REJECTED, now_s)
        case CallStateChanged(state=state):
            return reconcile.told(station, call, state, now_s)
        case _:
            return phases.PHASES[call.phase](station, call, Received(notice), now_s)


def _about_another_call(station: Station, notice: Notice, now_s: float) -> Step:
    call_id = CallId(notice.call_id)
    buried = next((tombstone for tombstone in station.tombstones if tombstone.call_id == call_id), None)
    match notice:
        case IncomingCall():
            return (station, (Send(closing.goodbye(buried)),)) if buried else _incoming(station, notice, now_s)
        case CallAccepted() | OfferReceived() | RestartOrdered():
            # The hub thinks that we take part, and nobody does.
            farewell = closing.goodbye(buried) if buried else EndCall(call_id, EndReason.FAILED)
            return station, (Send(farewell),)
        case _:
            return station, ()


def _incoming(station: Station, notice: IncomingCall, now_s: float) -> Step:
    call = station.call
    if call is None:
        return _ring(station, notice, now_s)
    if call.phase is Phase.ENDING:
        # The hub gives us another call, so it knows that the last one is over.
        after, effects = _ring(with_call(station, None), notice, now_s)
        return after, (CancelTimer("ending"), *effects)
    is_dial = call.phase is Phase.DIALLING or (call.phase is Phase.RESTORING and call.saved is SavedPhase.DIALLING)
    if is_dial and notice.caller_id == call.peer_id:
        return station, ()  # Glare: the hub judges, in its reply to our dial.
    if is_dial or (call.phase is Phase.WAITING_CARD and call.role is Role.CALLER):
        # The hub has not taken our dial, or it would not ring here: the ringing wins.
        dropped, effects = closing.withdraw(station, call)
        after, more = _ring(dropped, notice, now_s)
        return after, effects + more
    if call.phase is Phase.RESTORING:
        # The hub rings no device that has a part in a call: the one from before the restart is over.
        reason = EndReason.COMPLETED if call.answered_at is not None else EndReason.CANCELLED
        over, effects = closing.ended(station, call, reason, now_s)
        after, more = _ring(over, notice, now_s)
        return after, effects + more
    return station, (Send(RejectCall(notice.call_id, EndReason.BUSY)),)


def _ring(station: Station, notice: IncomingCall, now_s: float) -> Step:
    call = Call(
        call_id=CallId(notice.call_id),
        role=Role.CALLEE,
        peer_id=IdentityId(notice.caller_id),
        phase=Phase.RINGING_IN,
        started_at=now_s,
        peer_name=notice.caller_name,
        seq=notice.seq,
        saved=SavedPhase.RINGING,
        auto=auto.is_listed(station, IdentityId(notice.caller_id)),
    )
    after = replace(station, call=call, failure=None)
    limit_s = notice.ring_timeout + station.settings.ring_slack_s
    report = Report(ErrorCode.CALL_RANG, call.call_id, call.peer_id)
    return after, (
        Persist(snapshot_of(after)),
        StartTimer(Timer("ring", call.call_id), limit_s),
        *auto.announced(station, call),
        PrepareMedia(),
        report,
    )


def _timer_fired(station: Station, timer: Timer, now_s: float) -> Step:
    call = station.call
    match timer.kind:
        case "failure":
            return replace(station, failure=None), ()
        case "tone":
            failure = station.failure
            return replace(station, failure=replace(failure, loud=False) if failure else None), ()
        case "resync":
            return station, (Send(reconcile.resync(station)),) if station.online and not station.registered else ()
        case _ if call is None or timer.call_id != call.call_id:
            return station, ()
        case "connect" | "retry" if timer.epoch != call.epoch:
            return station, ()
        case _:
            return phases.PHASES[call.phase](station, call, TimerFired(timer), now_s)
