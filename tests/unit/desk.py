"""A station's state and its last effects, and the ways to get there."""

from intercomd.core import call as core
from intercomd.core.effects import (
    Send,
)
from intercomd.core.events import (
    Booted,
    CallPressed,
    Card,
    LinkUp,
    MediaUp,
    Received,
    Replied,
)
from intercomd.core.protocol import AcceptCall, CallAccepted, IncomingCall, Reply, Resync
from intercomd.core.snapshot import Role, Route, SavedCall, SavedPhase, Snapshot
from intercomd.core.station import Phase, Settings, Station
from intercomd.core.vocabulary import CallState, HubPhase, Sdp
from intercomd.ids import CallId, IdentityId

FLAT, DOOR = IdentityId("flat"), IdentityId("door")
C1, C2 = CallId("c1"), CallId("c2")
OFFER, ANSWER = Sdp("offer", "o"), Sdp("answer", "a")


class Desk:
    """A station with its last effects."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.effects: tuple = ()

    def hear(self, *events: object) -> "Desk":
        self.effects = ()
        for event in events:
            self.station, effects = core.handle(self.station, event, 1000.0)
            self.effects += effects
        return self

    def only(self, kind: type) -> list:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def sent(self) -> list:
        return [effect.request for effect in self.only(Send)]

    @property
    def phase(self) -> Phase | None:
        return self.station.call.phase if self.station.call else None


def state(phase: HubPhase, call_id: str = C1, epoch: int = 1, **more: object) -> CallState:
    return CallState(call_id, "door", "flat", phase, epoch, 1, 0.0, **more)


def registered(peer: str | None = FLAT, **settings: object) -> Desk:
    desk = Desk(Station(Settings(peer_id=IdentityId(peer) if peer else None, **settings), card=Card.READY))
    return desk.hear(LinkUp(), Replied(Resync(), Reply(ok=True, calls=())))


def ringing_in(**settings: object) -> Desk:
    return registered(**settings).hear(Received(IncomingCall(C1, 1, caller_id="door", ring_timeout=60)))


def connected(role: Role = Role.CALLER) -> Desk:
    if role is Role.CALLER:
        desk = registered().hear(CallPressed(C1), Received(CallAccepted(C1, 2, accepter_id="flat", epoch=1)))
    else:
        accepted = Replied(AcceptCall(C1), Reply(ok=True, call=state(HubPhase.CONNECTING)))
        desk = ringing_in().hear(CallPressed(C2), accepted)
    return desk.hear(MediaUp(1))


def saved(phase: SavedPhase, role: Role = Role.CALLEE, route: Route = Route.SPEAKER) -> Snapshot:
    answered_at = 900.0 if phase is SavedPhase.CONNECTED else None
    return Snapshot(SavedCall(C1, role, DOOR, phase, 1, 890.0, answered_at, route=route))


def booted(snapshot: Snapshot, age_s: float | None = 1.0, **settings: object) -> Desk:
    desk = Desk(Station(Settings(**settings), card=Card.READY))
    return desk.hear(Booted(snapshot, age_s), LinkUp())
