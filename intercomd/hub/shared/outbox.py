"""What this process has to deliver: rows that any process wrote, in the order in which they were decided.

The rows of one call are numbered and become visible in the order of its transitions, because each of them held the
call's lock until its commit. What was handed to the sockets is remembered until its row is gone, so nothing is told
twice."""

import asyncio
from typing import Final

import msgspec

from intercomd.core.legs import Endpoint
from intercomd.core.protocol import NOTICES
from intercomd.core.vocabulary import decode
from intercomd.hub.calling.calls import Deliver
from intercomd.hub.shared import statements
from intercomd.hub.storage.database import Database
from intercomd.ids import IdentityId, InstanceId

POLL_S: Final = 1.0
"""Should a wake-up be lost."""
SWEEP_AT: Final = 100
"""So many delivered rows are deleted at once, at the latest with the next quiet moment."""


class Outbox:
    """`run` delivers, woken by `wake`."""

    def __init__(self, database: Database, process: str, deliver: Deliver) -> None:
        self._database = database
        self._process = process
        self._deliver = deliver
        self._wake = asyncio.Event()
        self._delivered: list[int] = []
        self._wanted = 0
        self._passed = 0
        self._pass_done = asyncio.Condition()

    def wake(self) -> int:
        """There is something to deliver. Returns what `passed` is to be told."""
        self._wanted += 1
        self._wake.set()
        return self._wanted

    async def passed(self, ticket: int, limit_s: float) -> None:
        """Wait until everything that was written before that wake-up is delivered, for so long at most."""
        try:
            async with asyncio.timeout(limit_s), self._pass_done:
                await self._pass_done.wait_for(lambda: self._passed >= ticket)
        except TimeoutError:
            return  # the database hangs: what is written will be delivered; nobody is to wait for it

    async def deliver_waiting(self) -> None:
        """Wait for the next wake-up, and deliver. Raises `DatabaseError`."""
        try:
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        except TimeoutError:
            await self.sweep()
        self._wake.clear()
        await self._deliver_all()

    async def _deliver_all(self) -> None:
        wanted = self._wanted
        while await self._deliver_some():
            pass
        async with self._pass_done:
            self._passed = max(self._passed, wanted)
            self._pass_done.notify_all()
        if len(self._delivered) >= SWEEP_AT:
            await self.sweep()

    async def _deliver_some(self) -> bool:
        """Whether there may be more: what is written later wakes again."""
        waiting = {"process": self._process, "done": self._delivered}
        async with self._database.statement() as connection:
            rows = (await connection.execute(statements.WAITING, waiting)).all()
        for row in rows:
            self._delivered.append(row.id)
            notice = decode(NOTICES[row.event], msgspec.json.decode(row.payload))
            await self._deliver(Endpoint(IdentityId(row.identity), InstanceId(row.instance)), notice)
        return len(rows) == statements.MOST_NOTICES

    async def sweep(self) -> None:
        """Delete what is delivered. Raises `DatabaseError`."""
        delivered = set(self._delivered)
        if not delivered:
            return
        async with self._database.statement() as connection:
            await connection.execute(statements.DONE, {"done": list(delivered)})
        self._delivered = [number for number in self._delivered if number not in delivered]
