"""The station's link to the hub: a pure supervisor that decides when to connect, to beat and to let go.

    down ──Connect──▶ connecting ──Connected──▶ up
     ▲  ◀── Ended, deadline ──┘ │                │
     │                          └─ Refused ▶ refused ─ slow retry ▶ connecting
     └───────────── Ended, two misses, silence ──┘

Attempts are numbered; what is heard of an older one is stale and changes nothing. It never gives up: while the
link is not up there is either an attempt with its deadline or a retry timer. Time (`at_s`, monotonic) and
randomness (`chance`, uniform in [0, 1)) come in with the events. A *cycle* lasts from the first failure until a
heartbeat was acknowledged again; each kind of failure is reported once per cycle, so that a hub that accepts and
drops at once does not fill the journal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from intercomd.core.effects import Report
from intercomd.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and counts. The defaults see a hung hub within 8 s."""

    attempt_s: float = 20.0
    """From the first packet to the hub's acceptance, name resolution and TLS included."""
    first_retry_s: float = 1.0
    longest_retry_s: float = 5.0
    """Full jitter: each delay is uniform below a ceiling that doubles from the first to the longest."""
    refused_retry_s: float = 30.0
    attempts_before_report: int = 5
    heartbeat_s: float = 5.0
    ack_s: float = 3.0
    misses: int = 2
    silence_s: float = 8.0
    young_attempt_s: float = 5.0
    """A kick leaves a younger attempt alone: a hub that needs 1.5 s to accept must not be kicked for ever."""


class Phase(StrEnum):
    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Link:
    """`attempt` is the number of the newest one. `beat_at_s` is when the unacknowledged heartbeat left."""

    limits: Limits = Limits()
    phase: Phase = Phase.DOWN
    attempt: int = 0
    began_at_s: float = 0.0
    failed_attempts: int = 0
    heard_at_s: float | None = None
    beat_at_s: float | None = None
    missed: int = 0
    checking: bool = False
    """A kick wants to know: one miss is enough."""
    refused: bool = False
    reason: str = ""
    cause: ErrorCode | None = None
    """What is wrong, where the last failure had a name of its own."""
    reported: frozenset[ErrorCode] = frozenset()


# ----------------------------------------------------------------------------------------------------- events


class Timer(StrEnum):
    """Each belongs to one attempt; setting one again replaces it."""

    DEADLINE = "deadline"
    RETRY = "retry"
    HEARTBEAT = "heartbeat"
    ACK = "ack"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Started:
    at_s: float


@dataclass(frozen=True, slots=True)
class Connected:
    """The hub has accepted this attempt."""

    attempt: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The attempt failed, or its connection broke, or the hub closed it. `cause`: a failure that has a name."""

    attempt: int
    at_s: float
    chance: float
    reason: str
    cause: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The hub answered the attempt with a connect error of this code (the wire's word, possibly unknown)."""

    attempt: int
    at_s: float
    chance: float
    code: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Any message of the hub: a notice, an acknowledgement, its own heartbeat. `answered`: it is the acknowledgement
    of a request. The resync's proves that the attempt succeeded, 5 s before the first heartbeat's; the cycle goes on,
    so that a hub that dies again and again after it is still told of once."""

    attempt: int
    at_s: float
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Acked:
    """A heartbeat of ours was acknowledged, in time or late."""

    attempt: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Kicked:
    """The network changed or a person waits. `rerouted`: packets to the hub now leave another way."""

    at_s: float
    rerouted: bool = False


@dataclass(frozen=True, slots=True)
class Fired:
    timer: Timer
    attempt: int
    at_s: float
    chance: float


Event = Started | Connected | Ended | Refused | Heard | Acked | Kicked | Fired

# ---------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Connect:
    """Make a new client and try; answers with `Connected`, `Refused` or `Ended`."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Let go of this attempt's client, in the background, within a limit. Idempotent."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SendHeartbeat:
    """Answers with `Acked`, or not at all."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the station that the link is up, or no longer."""

    up: bool


@dataclass(frozen=True, slots=True)
class SetTimer:
    timer: Timer
    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    timer: Timer


Effect = Connect | Disconnect | SendHeartbeat | Announce | SetTimer | StopTimer | Report
Step = tuple[Link, Sequence[Effect]]

REFUSALS = {
    "unauthorised": "the hub does not know this station's token, or it was revoked",
    "protocol_unsupported": "the hub does not speak this station's protocol version",
    "banned": "the hub has banned this station",
}
"""What waiting does not cure: retried slowly. Any other code (`rate_limited`, ...) is a failed attempt."""

_FIRST_FAILURES = frozenset({ErrorCode.HUB_LOST, ErrorCode.HUB_UNREACHABLE})


# ------------------------------------------------------------------------------------------------- supervisor


def handle(link: Link, event: Event) -> Step:
    """Decide. Events of older attempts, or that make no sense in this phase, change nothing."""
    match event:
        case Started():
            return _connect(link, event.at_s) if link.attempt == 0 else (link, ())
        case Kicked(at_s, rerouted=True):
            return _rerouted(link, at_s)
        case Kicked():
            return _kicked(link, event.at_s)
        case _ if event.attempt != link.attempt:
            return link, ()
        case Connected():
            return _connected(link, event.at_s) if link.phase is Phase.CONNECTING else (link, ())
        case Ended():
            return _ended(link, event)
        case Refused():
            return _refused(link, event) if link.phase is Phase.CONNECTING else (link, ())
        case Heard():
            return _heard(link, event), ()
        case Acked():
            return _acked(link, event.at_s)
        case Fired():
            return _fired(link, event)
        case _:
            assert_never(event)


def shown(link: Link) -> str:
    """The state as status shows it: a refused station stays refused while it tries again."""
    return str(Phase.REFUSED if link.refused else link.phase)


def age_s(link: Link, now_s: float) -> float | None:
    """Seconds since the hub was last heard, None if it never was."""
    return None if link.heard_at_s is None else max(0.0, now_s - link.heard_at_s)


def _connect(link: Link, at_s: float) -> Step:
    attempt = link.attempt + 1
    state = replace(link, phase=Phase.CONNECTING, attempt=attempt, began_at_s=at_s)
    deadline = SetTimer(Timer.DEADLINE, attempt, link.limits.attempt_s)
    return state, (StopTimer(Timer.RETRY), deadline, Connect(attempt))


def _connected(link: Link, at_s: float) -> Step:
    state = replace(
        link,
        phase=Phase.UP,
        heard_at_s=at_s,
        beat_at_s=None,
        missed=0,
        checking=False,
        refused=False,
        reason="",
        cause=None,
    )
    return state, (
        StopTimer(Timer.DEADLINE),
        SetTimer(Timer.HEARTBEAT, link.attempt, link.limits.heartbeat_s),
        SetTimer(Timer.SILENCE, link.attempt, link.limits.silence_s),
        Announce(up=True),
    )


def _ended(link: Link, event: Ended) -> Step:
    match link.phase:
        case Phase.CONNECTING:
            return _failed(link, event.chance, event.reason, event.cause)
        case Phase.UP:
            return _lost(link, event.chance, event.reason)
        case Phase.DOWN | Phase.REFUSED:
            return link, ()
        case _:
            assert_never(link.phase)


def _failed(link: Link, chance: float, reason: str, cause: ErrorCode | None = None) -> Step:
    failed_attempts = link.failed_attempts + 1
    link = replace(link, phase=Phase.DOWN, failed_attempts=failed_attempts, refused=False, reason=reason, cause=cause)
    named: Sequence[Report] = ()
    if cause is not None:
        link, named = _report_once(link, cause)
    state, reports = _report_failure(link, ErrorCode.HUB_UNREACHABLE)
    reports = (*named, *reports)
    stop = (StopTimer(Timer.DEADLINE), Disconnect(link.attempt))
    return state, (*stop, *reports, _retry(state, chance))


def _lost(link: Link, chance: float, reason: str) -> Step:
    # Dropped before its first acknowledgement, in a cycle that had failed before: the back-off goes on growing.
    unproven = int(bool(link.reported))
    link = replace(link, phase=Phase.DOWN, failed_attempts=link.failed_attempts + unproven, reason=reason)
    state, reports = _report_failure(link, ErrorCode.HUB_LOST)
    stop = (StopTimer(Timer.HEARTBEAT), StopTimer(Timer.ACK), StopTimer(Timer.SILENCE))
    return state, (*stop, Announce(up=False), Disconnect(link.attempt), *reports, _retry(state, chance))


def _refused(link: Link, event: Refused) -> Step:
    words = REFUSALS.get(event.code)
    if words is None:
        return _failed(link, event.chance, "the hub put this station off; it may be overloaded")
    link = replace(link, phase=Phase.REFUSED, failed_attempts=0, refused=True, reason=words)
    state, reports = _report_once(link, ErrorCode.HUB_REFUSED)
    delay_s = link.limits.refused_retry_s * (0.9 + 0.2 * event.chance)
    stop = (StopTimer(Timer.DEADLINE), Disconnect(link.attempt))
    return state, (*stop, *reports, SetTimer(Timer.RETRY, link.attempt, delay_s))


def _heard(link: Link, event: Heard) -> Link:
    if link.phase is not Phase.UP:
        return link
    heard = replace(link, heard_at_s=event.at_s)
    return replace(heard, failed_attempts=0) if event.answered else heard


def _acked(link: Link, at_s: float) -> Step:
    if link.phase is not Phase.UP:
        return link, ()
    state = replace(
        link,
        heard_at_s=at_s,
        beat_at_s=None,
        missed=0,
        checking=False,
        failed_attempts=0,
        reported=frozenset(),
    )
    return state, (StopTimer(Timer.ACK),)


def _kicked(link: Link, at_s: float) -> Step:
    match link.phase:
        case Phase.DOWN | Phase.REFUSED:
            return _connect(link, at_s)
        case Phase.CONNECTING if at_s - link.began_at_s < link.limits.young_attempt_s:
            return link, ()
        case Phase.CONNECTING:
            state, effects = _connect(link, at_s)
            return state, (Disconnect(link.attempt), *effects)
        case Phase.UP:
            return _check(link, at_s)
        case _:
            assert_never(link.phase)


def _rerouted(link: Link, at_s: float) -> Step:
    """What stands or is being built leaves from an address that is not ours any more: no time-out would be shorter
    than building it anew. That is no failure of the hub's."""
    let_go: Sequence[Effect] = ()
    match link.phase:
        case Phase.UP:
            let_go = (StopTimer(Timer.HEARTBEAT), StopTimer(Timer.ACK), StopTimer(Timer.SILENCE), Announce(up=False))
        case Phase.CONNECTING:
            pass
        case Phase.DOWN | Phase.REFUSED:
            return _connect(link, at_s)
        case _:
            assert_never(link.phase)
    state, effects = _connect(replace(link, reason="the way to the hub has changed"), at_s)
    return state, (*let_go, Disconnect(link.attempt), *effects)


def _check(link: Link, at_s: float) -> Step:
    """Ask at once whether the hub is still there; one miss is then enough."""
    if link.beat_at_s is not None:
        return replace(link, checking=True), ()
    return _beat(replace(link, checking=True), at_s)


def _fired(link: Link, event: Fired) -> Step:
    match event.timer:
        case Timer.RETRY if link.phase in (Phase.DOWN, Phase.REFUSED):
            return _connect(link, event.at_s)
        case Timer.DEADLINE if link.phase is Phase.CONNECTING:
            return _failed(link, event.chance, f"the hub did not accept within {link.limits.attempt_s:g} s")
        case _ if link.phase is not Phase.UP:
            return link, ()
        case Timer.HEARTBEAT:
            return _beat(link, event.at_s)
        case Timer.ACK:
            return _miss(link, event)
        case Timer.SILENCE:
            return _silence(link, event)
        case Timer.RETRY | Timer.DEADLINE:
            return link, ()
        case _:
            assert_never(event.timer)


def _beat(link: Link, at_s: float) -> Step:
    return replace(link, beat_at_s=at_s), (
        SendHeartbeat(link.attempt),
        SetTimer(Timer.ACK, link.attempt, link.limits.ack_s),
        SetTimer(Timer.HEARTBEAT, link.attempt, link.limits.heartbeat_s),
    )


def _miss(link: Link, event: Fired) -> Step:
    if link.beat_at_s is None or link.heard_at_s is None:
        return link, ()
    missed = link.missed + 1
    if missed >= link.limits.misses or (link.checking and link.heard_at_s <= link.beat_at_s):
        return _lost(link, event.chance, "the hub does not answer heartbeats")
    return replace(link, missed=missed, beat_at_s=None, checking=False), ()


def _silence(link: Link, event: Fired) -> Step:
    """The timer is not restarted by each message; it looks when it fires and sleeps for the rest."""
    left_s = link.limits.silence_s - (age_s(link, event.at_s) or 0.0)
    if left_s > 0.001:  # timers of an event loop may fire a clock tick early
        return link, (SetTimer(Timer.SILENCE, link.attempt, left_s),)
    return _lost(link, event.chance, f"nothing was heard from the hub for {link.limits.silence_s:g} s")


def _retry(link: Link, chance: float) -> SetTimer:
    doublings = min(max(link.failed_attempts - 1, 0), 16)
    ceiling_s = min(link.limits.longest_retry_s, link.limits.first_retry_s * 2**doublings)
    return SetTimer(Timer.RETRY, link.attempt, ceiling_s * chance)


def _report_failure(link: Link, code: ErrorCode) -> tuple[Link, Sequence[Report]]:
    """The cycle's first failure, then the one that says that it lasts; those in between are silent."""
    first: Sequence[Report] = ()
    if not link.reported & _FIRST_FAILURES:
        link, first = _report_once(link, code)
    if link.failed_attempts < link.limits.attempts_before_report:
        return link, first
    link, lasting = _report_once(link, ErrorCode.HUB_GIVING_NO_ANSWER)
    return link, (*first, *lasting)


def _report_once(link: Link, code: ErrorCode) -> tuple[Link, Sequence[Report]]:
    if code in link.reported:
        return link, ()
    return replace(link, reported=link.reported | {code}), (Report(code, reason=link.reason),)
