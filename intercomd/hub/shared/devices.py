"""Who is connected to which process, as all of them see it.

A device that connects is written here before its return is told to its calls; one that goes is taken out in the same
transaction that marks it absent in its call. Whoever chooses devices to ring locks their rows: so no call ever waits
for a device that has gone unseen."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from weakref import WeakValueDictionary

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.core.legs import Endpoint, Party
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.shared import statements
from intercomd.hub.storage.database import Database
from intercomd.ids import IdentityId, InstanceId

Depart = Callable[[Endpoint, str], Awaitable[None]]
"""Take a device of that process out, in one transaction with what it means for its call."""


def party_of(row: sa.Row[Any]) -> Party:
    return Party(IdentityId(row.identity), InstanceId(row.instance), row.name, row.role)


async def online(
    connection: AsyncConnection, identities: Iterable[IdentityId]
) -> dict[IdentityId, tuple[Party, ...]]:  # fmt: skip
    """The devices of these identities that living processes have, each once; locked against their departure."""
    names = list(dict.fromkeys(identities))
    rows = (await connection.execute(statements.ONLINE, {"identities": names})).all() if names else ()
    return by_identity(rows, names)


def by_identity(
    rows: Iterable[sa.Row[Any]], names: Iterable[IdentityId]
) -> dict[IdentityId, tuple[Party, ...]]:  # fmt: skip
    """Each device once, also one that two processes have."""
    found: dict[IdentityId, dict[Endpoint, Party]] = {name: {} for name in names}
    for row in rows:
        party = party_of(row)
        found[party.identity][party.endpoint] = party
    return {identity: tuple(parties.values()) for identity, parties in found.items()}


class Attendance:
    """Keeps this process's rows equal to its sockets."""

    def __init__(self, database: Database, presence: Presence, process: str, depart: Depart) -> None:
        self._database = database
        self._presence = presence
        self._process = process
        self._depart = depart
        self._written: dict[Endpoint, bool] = {}
        self._locks: WeakValueDictionary[Endpoint, asyncio.Lock] = WeakValueDictionary()
        self._digest: tuple[object, ...] | None = None

    async def settle(self, endpoint: Endpoint) -> None:
        """Afterwards the row is there exactly if the device is. Raises `DatabaseError`; then nothing is known of it."""
        lock = self._locks.setdefault(endpoint, asyncio.Lock())
        async with lock:
            while self._written.get(endpoint) is not self._is_here(endpoint):
                is_here = self._is_here(endpoint)
                # Unknown, should this fail half-way: a commit may have happened that nobody has confirmed.
                self._written.pop(endpoint, None)
                if is_here:
                    await self._arrive(endpoint)
                else:
                    await self._depart(endpoint, self._process)
                self._written[endpoint] = is_here
            if not self._written[endpoint]:
                del self._written[endpoint]

    def _is_here(self, endpoint: Endpoint) -> bool:
        return bool(self._presence.at(endpoint))

    async def _arrive(self, endpoint: Endpoint) -> None:
        newest = max(self._presence.at(endpoint), key=lambda socket: socket.connected_at)
        party = newest.party
        row = {
            "identity": party.identity, "instance": party.instance, "process": self._process,
            "name": party.name, "role": party.role, "capabilities": " ".join(sorted(newest.capabilities)),
            "connected_at": newest.connected_at,
        }  # fmt: skip
        async with self._database.statement() as connection:
            await connection.execute(statements.ARRIVE, [row])

    async def look_elsewhere(self) -> None:
        """Tell `presence` who is connected to the other processes. Raises `DatabaseError`."""
        self._digest = await look_elsewhere(self._database, self._presence, self._process, self._digest)


async def look_elsewhere(
    database: Database, presence: Presence, process: str = "", known: tuple[object, ...] | None = None
) -> tuple[object, ...]:
    """Tell `presence` who is connected to other processes than this one, unless it is what is `known`. Returns what is
    known now. Raises `DatabaseError`."""
    me = {"process": process}
    async with database.transaction() as connection:
        digest = tuple((await connection.execute(statements.ELSEWHERE_DIGEST, me)).one())
        if digest == known:
            return digest
        rows = (await connection.execute(statements.ELSEWHERE, me)).all()
    presence.look_elsewhere(_socket(row) for row in rows)
    return digest


def _socket(row: sa.Row[Any]) -> Socket:
    """A connection of another process, for whoever asks what is there; nothing can be sent to it from here."""
    return Socket(
        sid=f"elsewhere {row.process}",
        party=party_of(row),
        legacy=False,
        token_sha256=b"",
        heard_s=0.0,
        connected_at=row.connected_at,
        capabilities=frozenset(row.capabilities.split()),
        process=row.process,
    )


async def is_anywhere(connection: AsyncConnection, endpoint: Endpoint) -> bool:
    """Whether any process has, or had when it was last heard of, a connection to this device."""
    key = {"its_identity": endpoint.identity, "its_instance": endpoint.instance}
    return (await connection.execute(statements.IS_THERE, key)).first() is not None


async def take_out(connection: AsyncConnection, endpoint: Endpoint, process: str) -> None:
    """Blocks while a call is being written that is to ring there."""
    key = {"its_identity": endpoint.identity, "its_instance": endpoint.instance, "process": process}
    await connection.execute(statements.DEPART, key)
