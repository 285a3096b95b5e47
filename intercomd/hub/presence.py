"""Who is connected: a set of sockets per device. A late disconnect of an old socket never removes a new
one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from intercomd.core.legs import Endpoint, Party
from intercomd.ids import IdentityId


@dataclass(slots=True)
class Socket:
    """One connection. `heard_s` is monotonic. A legacy client answers no heartbeat and never resyncs;
    `owes_beat`: a heartbeat is not acknowledged yet."""

    sid: str
    party: Party
    legacy: bool
    token_sha256: bytes
    heard_s: float
    connected_at: float
    resynced: bool = False
    owes_beat: bool = False
    capabilities: frozenset[str] = frozenset()

    @property
    def endpoint(self) -> Endpoint:
        return self.party.endpoint


class Presence:
    """All sockets, by their id, by device, by identity. `elsewhere` are the devices that other processes of this hub
    have connections to, `on_change` hears of each device that comes or goes here."""

    def __init__(self) -> None:
        self.elsewhere: Mapping[IdentityId, tuple[Party, ...]] = {}
        self.on_change: Callable[[Endpoint], None] = lambda _endpoint: None
        self._sockets: dict[str, Socket] = {}
        self._devices: dict[IdentityId, dict[Endpoint, dict[str, Socket]]] = {}

    def add(self, socket: Socket) -> None:
        self._sockets[socket.sid] = socket
        devices = self._devices.setdefault(socket.party.identity, {})
        devices.setdefault(socket.endpoint, {})[socket.sid] = socket
        self.on_change(socket.endpoint)

    def remove(self, sid: str) -> Socket | None:
        """The socket that was removed, None if it was not there."""
        socket = self._sockets.pop(sid, None)
        if socket is None:
            return None
        devices = self._devices[socket.party.identity]
        devices[socket.endpoint].pop(sid)
        if not devices[socket.endpoint]:
            del devices[socket.endpoint]
        if not devices:
            del self._devices[socket.party.identity]
        self.on_change(socket.endpoint)
        return socket

    def get(self, sid: str) -> Socket | None:
        return self._sockets.get(sid)

    def at(self, endpoint: Endpoint) -> tuple[Socket, ...]:
        """The sockets of one device."""
        return tuple(self._devices.get(endpoint.identity, {}).get(endpoint, {}).values())

    def has_resynced(self, endpoint: Endpoint) -> bool:
        return any(socket.resynced for socket in self.at(endpoint))

    def __iter__(self) -> Iterator[Socket]:
        return iter(tuple(self._sockets.values()))

    def __len__(self) -> int:
        return len(self._sockets)

    def online(self, identities: tuple[IdentityId, ...]) -> Mapping[IdentityId, tuple[Party, ...]]:
        """The devices of these identities, as admission asks for them."""
        return {identity: (*self._here(identity), *self._elsewhere(identity)) for identity in identities}

    def _here(self, identity: IdentityId) -> Iterator[Party]:
        for sockets in self._devices.get(identity, {}).values():
            yield next(iter(sockets.values())).party

    def _elsewhere(self, identity: IdentityId) -> Iterator[Party]:
        here = self._devices.get(identity, {})
        return (party for party in self.elsewhere.get(identity, ()) if party.endpoint not in here)
