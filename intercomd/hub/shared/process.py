"""This process among the others: its lease, the clock that they share, and what dead ones have left behind."""

import secrets
import time
from collections import Counter
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import Executable

from intercomd.core.legs import Endpoint
from intercomd.core.vocabulary import HubPhase
from intercomd.hub.clock import HubClock
from intercomd.hub.shared import statements
from intercomd.hub.storage.database import Database
from intercomd.ids import IdentityId, InstanceId

LEASE_S: Final = 6.0
"""A process that has not renewed it for so long is dead. Clients see a dead one within 8 s."""
NOTICES_KEPT_S: Final = 60.0
"""A notice that nobody has delivered for so long is no news any more."""
SWEEP_EVERY_S: Final = 10.0


class Buried(Exception):
    """The others have taken this process for dead: its devices are gone for them. It must end, and start anew."""


class Process:
    """`register` once, `renew` every second."""

    def __init__(self, database: Database, clock: HubClock) -> None:
        self.id = secrets.token_hex(8)
        self.own_channel = statements.own_channel(self.id)
        self.channels = (statements.CHANNEL, self.own_channel)
        self._database = database
        self._clock = clock
        self._has_left = False
        self._renewed_s = 0.0
        self._since_s = 0.0
        self._swept_s = 0.0

    async def register(self) -> None:
        """Raises `DatabaseError`."""
        await self._take(statements.REGISTER)

    async def renew(self) -> None:
        """Raises `DatabaseError`, and `Buried` when it is too late."""
        if not self._has_left and not await self._take(statements.RENEW):
            raise Buried("this hub process was out of touch with the database for too long; it starts anew")

    async def leave(self) -> None:
        """What is left here is the others' at once. Raises `DatabaseError`."""
        self._has_left = True
        async with self._database.transaction() as connection:
            await connection.execute(statements.LEAVE, {"process": self.id})

    async def orphans(self) -> list[tuple[Endpoint, str]]:
        """The devices of processes that are dead. Only whoever has reached the database for a whole lease may say so:
        after an outage all leases are over, and each needs time to renew its own. Raises `DatabaseError`."""
        if time.monotonic() - self._since_s < LEASE_S:
            return []
        async with self._database.transaction() as connection:
            buried = (await connection.execute(statements.BURY)).first() is not None
            await self._sweep(connection, at_once=buried)
            rows = (await connection.execute(statements.ORPHANS)).all()
        return [(Endpoint(IdentityId(row.identity), InstanceId(row.instance)), row.process) for row in rows]

    async def survey(self) -> tuple[Counter[HubPhase], frozenset[IdentityId]]:
        """How many open calls there are, and who has a part in them. Raises `DatabaseError`."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statements.OPEN_CALLS)).all()
            engaged = (await connection.execute(statements.ENGAGED)).scalars()
            return Counter({HubPhase(phase): number for phase, number in rows}), frozenset(map(IdentityId, engaged))

    async def _sweep(self, connection: AsyncConnection, *, at_once: bool) -> None:
        if at_once or time.monotonic() - self._swept_s >= SWEEP_EVERY_S:
            self._swept_s = time.monotonic()
            await connection.execute(statements.FORGET_NOTICES, {"kept_s": NOTICES_KEPT_S})

    async def _take(self, statement: Executable) -> bool:
        async with self._database.statement() as connection:
            before_s = time.monotonic()
            now_s = (await connection.execute(statement, {"process": self.id, "life_s": LEASE_S})).scalar()
            after_s = time.monotonic()
        if now_s is None:
            return False
        # In the middle of its journey, or as late as that: as NTP does.
        self._clock.follow(now_s + (after_s - before_s) / 2)
        if after_s - self._renewed_s > LEASE_S:
            self._since_s = after_s
        self._renewed_s = after_s
        return True
