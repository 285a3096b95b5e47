"""Who is connected: a set of sockets per device. A late disconnect of an old socket never removes a new
one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
    process: str | None = None
    """The process that has it, where it is not this one."""

    @property
    def endpoint(self) -> Endpoint:
        return self.party.endpoint


class Presence:
    """All sockets, by their id, by device, by identity. `elsewhere` are the connections of other processes of this
    hub (`Socket.process` names them), as of a moment ago; `on_change` hears of each device that comes or goes here."""

    def __init__(self) -> None:
        self.elsewhere: Mapping[Endpoint, Socket] = {}
        self._away: Mapping[IdentityId, tuple[Endpoint, ...]] = {}
        self.on_change: Callable[[Endpoint], None] = lambda _endpoint: None
        self._sockets: dict[str, Socket] = {}
        self._devices: dict[IdentityId, dict[Endpoint, dict[str, Socket]]] = {}

    def look_elsewhere(self, sockets: Iterable[Socket]) -> None:
        """These are all connections of other processes; a device's newest one counts."""
        newest: dict[Endpoint, Socket] = {}
        for socket in sorted(sockets, key=lambda socket: socket.connected_at):
            newest[socket.endpoint] = socket
        away: dict[IdentityId, tuple[Endpoint, ...]] = {}
        for endpoint in newest:
            away[endpoint.identity] = (*away.get(endpoint.identity, ()), endpoint)
        self.elsewhere, self._away = newest, away

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
        for endpoint in self._away.get(identity, ()):
            if endpoint not in here:
                yield self.elsewhere[endpoint].party

    def newest(self, endpoint: Endpoint) -> Socket | None:
        """This device's newest connection, to whichever process."""
        away = self.elsewhere.get(endpoint)
        sockets = (*self.at(endpoint), *((away,) if away is not None else ()))
        return max(sockets, key=lambda socket: socket.connected_at, default=None)
