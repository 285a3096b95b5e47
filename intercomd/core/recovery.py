"""Epochs: starting, losing and rebuilding a call's media (RELIABILITY.md, "Recovery of media").

An epoch is the life of one peer connection and belongs to the hub. A side whose media is lost asks the hub to leave the
epoch; the hub names the next one to both; the caller offers. An attempt counts only while our link is up and the peer
is present: a peer that reboots gets the whole grace, and whoever comes back gets all attempts anew."""

from msgspec.structs import replace

from intercomd.core.closing import fail
from intercomd.core.effects import (
    ApplyRemote,
    CancelTimer,
    Effect,
    Jingle,
    OpenMicrophone,
    Play,
    Report,
    Send,
    StartMedia,
    StartTimer,
)
from intercomd.core.events import Timer
from intercomd.core.protocol import OfferReceived, WebrtcRestart
from intercomd.core.snapshot import Role
from intercomd.core.station import Call, Phase, Station, Step, with_call
from intercomd.core.vocabulary import EndReason
from intercomd.errors import ErrorCode


def begin(station: Station, call: Call, epoch: int) -> Step:
    """Build media for `epoch`, which the hub has named."""
    phase = Phase.RECONNECTING if call.was_up or call.restored else Phase.CONNECTING
    started = with_call(station, replace(call, epoch=epoch, phase=phase, offer=""))
    effects: tuple[Effect, ...] = (
        CancelTimer("retry"),
        CancelTimer("absent"),
        StartMedia(call.call_id, epoch, offerer=call.role is Role.CALLER),
        StartTimer(Timer("connect", call.call_id, epoch), station.settings.connect_timeout_s),
    )
    opened, more = _open_microphone(started, call)
    return opened, effects + more


def adopt(station: Station, call: Call, epoch: int) -> Step:
    """The hub's epoch is `epoch`: move to it if it is newer than ours; else nothing happens."""
    return begin(station, call, epoch) if epoch > call.epoch else (station, ())


def offered(station: Station, call: Call, notice: OfferReceived) -> Step:
    """A remote offer. A newer epoch's offer implies the restart; a second one for a running epoch (a browser's ICE
    restart) gets a new connection too, since aiortc would answer it "stable" and move nothing."""
    if call.role is Role.CALLER or notice.epoch < call.epoch:
        return station, ()
    remote = ApplyRemote(notice.epoch, notice.sdp)
    taken = call.offer or call.phase is Phase.CONNECTED
    if notice.epoch > call.epoch or (taken and call.offer != notice.sdp.sdp):
        station, effects = begin(station, call, notice.epoch)
        assert station.call is not None
        call, effects = station.call, (*effects, remote)
    else:
        effects = (remote,)
    return with_call(station, replace(call, offer=notice.sdp.sdp)), effects


def audible(station: Station, call: Call) -> Step:
    """Remote audio of the current epoch is there."""
    up = replace(call, phase=Phase.CONNECTED, attempts=0, was_up=True)
    effects: tuple[Effect, ...] = tuple(CancelTimer(kind) for kind in ("connect", "retry", "absent"))
    if not call.was_up:
        report = Report(ErrorCode.CALL_CONNECTED, call.call_id, call.peer_id, call.epoch)
        effects = (*effects, report) if call.restored else (*effects, Play(Jingle.CONNECTED), report)
    return with_call(station, up), effects


def interrupted(station: Station, call: Call) -> Step:
    """The first second without any packet."""
    report = Report(ErrorCode.CALL_RECONNECTING, call.call_id, call.peer_id, call.epoch, "no packet for a second")
    return with_call(station, replace(call, phase=Phase.RECONNECTING)), (report,)


def recover(station: Station, call: Call, reason: str, now_s: float) -> Step:
    """The current epoch is lost: ask for the next one, now or after a back-off; or wait for the peer or the link."""
    settings = station.settings
    phase = Phase.RECONNECTING if call.was_up or call.restored else Phase.CONNECTING
    waiting = replace(call, phase=phase)
    if not (station.registered and call.peer_present):
        return _wait(station, waiting)
    if call.attempts >= settings.attempts:
        return fail(station, call, ErrorCode.MEDIA_FAILED, EndReason.MEDIA_FAILED, now_s)
    again = with_call(station, replace(waiting, attempts=call.attempts + 1))
    effects: tuple[Effect, ...] = ()
    if call.phase is Phase.CONNECTED or (call.attempts == 0 and call.phase is Phase.CONNECTING):
        effects = (Report(ErrorCode.CALL_RECONNECTING, call.call_id, call.peer_id, call.epoch, reason),)
    if call.attempts == 0:
        return again, (*effects, *_ask(call, settings.connect_timeout_s))
    timer = Timer("retry", call.call_id, call.epoch)
    return again, (
        *effects,
        CancelTimer("connect"),
        StartTimer(timer, settings.attempt_backoff_s * call.attempts),
    )


def _wait(station: Station, call: Call) -> Step:
    """Nothing is attempted while the link or the peer is away; the grace runs, and the attempts begin anew after it."""
    timers = (CancelTimer("connect"), CancelTimer("retry"))
    grace = StartTimer(Timer("absent", call.call_id), station.settings.grace_s)
    return with_call(station, replace(call, attempts=0)), (*timers, grace)


def rerouted(station: Station, call: Call, reason: str, now_s: float) -> Step:
    """The network under the call is another one: what was tried on the old one says nothing."""
    return recover(station, replace(call, attempts=0), reason, now_s)


def ask(station: Station, call: Call) -> Step:
    """The back-off is over."""
    if not (station.registered and call.peer_present):
        return _wait(station, call)
    return station, _ask(call, station.settings.connect_timeout_s)


def ask_later(station: Station, call: Call) -> Step:
    """The hub did not take the request for a restart (rate limit, no answer): once more after a back-off."""
    if not (station.registered and call.peer_present):
        return _wait(station, call)
    timer = Timer("retry", call.call_id, call.epoch)
    return station, (StartTimer(timer, station.settings.attempt_backoff_s),)


def _ask(call: Call, limit_s: float) -> tuple[Effect, ...]:
    timer = Timer("connect", call.call_id, call.epoch)
    return Send(WebrtcRestart(call.call_id, call.epoch)), StartTimer(timer, limit_s)


def _open_microphone(station: Station, call: Call) -> Step:
    """At once for a call that a person has just answered; after a tone for one that came back by itself."""
    if station.microphone:
        return station, ()
    if not call.restored:
        return replace(station, microphone=True), (OpenMicrophone(),)
    timer = StartTimer(Timer("microphone", call.call_id), station.settings.restored_tone_s)
    return station, (Play(Jingle.RESTORED), timer)


def open_microphone(station: Station) -> Step:
    """The tone of a restored call has been heard."""
    return replace(station, microphone=True), (OpenMicrophone(),)
