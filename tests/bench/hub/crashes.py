"""Two hub processes on one PostgreSQL under calls: one of them is killed every so often, and once PostgreSQL is
restarted. Afterwards the records are held against what the callers were promised."""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import sqlalchemy as sa

from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import call_records
from tests.bench.hub.clients import Client, Gone, session
from tests.bench.hub.servers import Server, enrol, free_port, ours, station
from tests.postgres import Cluster

STATIONS: Final = 40
CALLS_PER_S: Final = 10.0
SPACING_S: Final = 9.0
"""Longer than the lease of a process: each death is noticed before the next."""
KILLS: Final = 20
MIN_CALLS: Final = 1000
TALK_S: Final = 0.3
GIVE_UP_S: Final = 45.0
RETRY_S: Final = 0.2


@dataclass(slots=True)
class Toll:
    """`promised`: calls of which a hub said yes. `unfinished`: those whose caller gave up asking."""

    calls: int = 0
    promised: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    kills: int = 0
    database_restarts: int = 0
    longest_s: float = 0.0
    """From the press to the final acknowledgement, the worst."""


class Station:
    """A device that goes to the other process when one is gone, and answers whatever rings."""

    def __init__(self, number: int, servers: tuple[Server, Server], http: aiohttp.ClientSession) -> None:
        self.name = station(number)
        self._turns: Iterator[Server] = itertools.cycle(servers if number % 2 == 0 else servers[::-1])
        self._http = http
        self._client = Client(self.name)
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, event: str, payload: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        """Again and again until a hub has an answer that is one. Raises `Gone` after the deadline."""
        while True:
            try:
                await self._connect()
                reply: dict[str, Any] = await self._client.ask(event, payload)
                if reply["ok"] or reply.get("code") not in ("try_again", "rate_limited", "internal"):
                    return reply
            except Gone:
                pass
            if time.monotonic() > deadline_s:
                raise Gone(f"{event} of {self.name} was not carried out")
            await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._client.close()

    async def stay(self) -> None:
        """Connected for ever."""
        while True:
            with suppress(Gone):
                await self._connect()
            await asyncio.sleep(RETRY_S)

    async def _connect(self) -> None:
        async with self._lock:
            if self._client.is_open:
                return
            await self._client.close()
            client = Client(self.name, self._heard)
            with suppress(Gone):
                await client.open(self._http, next(self._turns))
                self._client = client
                return
            raise Gone(f"{self.name} found no hub")

    def _heard(self, event: str, payload: Any) -> None:
        if event == "incoming_call":
            task = asyncio.create_task(self._answer(payload["callId"]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, call_id: str) -> None:
        with suppress(Gone):
            await self.ask("accept_call", {"callId": call_id}, time.monotonic() + GIVE_UP_S)


async def crashes(cluster: Cluster, directory: Path, name: str, kills: int = KILLS) -> Toll:
    """Calls as long as the faults last. Raises `ProgramError` and `DatabaseError`."""
    url = cluster.make_database(name)
    await enrol(url, STATIONS)
    toll = Toll()
    async with AsyncExitStack() as stack:
        ports = (free_port(), free_port())
        running: list[tuple[Server, AsyncExitStack]] = []
        for port in ports:
            own = await stack.enter_async_context(AsyncExitStack())
            running.append((await own.enter_async_context(ours(directory, url, port)), own))
        servers = (running[0][0], running[1][0])
        http = await stack.enter_async_context(session())
        stations = [Station(number, servers, http) for number in range(STATIONS)]
        staying = [asyncio.create_task(one.stay()) for one in stations]
        try:
            faults = asyncio.create_task(_faults(stack, directory, url, running, cluster, toll, kills))
            await _calls(stations, toll, faults)
            await faults
        finally:
            for task in staying:
                task.cancel()
            await asyncio.wait(staying)
            for one in stations:
                await one.close()
    await _judge(url, toll)
    cluster.drop_database(name)
    return toll


async def _faults(
    stack: AsyncExitStack, directory: Path, url: str, running: list[tuple[Server, AsyncExitStack]],
    cluster: Cluster, toll: Toll, kills: int,
) -> None:  # fmt: skip
    """Every `SPACING_S` one of the two dies and is started again; in the middle the database is."""
    for number in range(kills):
        due_s = time.monotonic() + SPACING_S
        if number == kills // 2:
            await asyncio.to_thread(cluster.stop)
            await asyncio.to_thread(cluster.start)
            toll.database_restarts += 1
        await asyncio.sleep(due_s - time.monotonic())
        server, own = running[number % 2]
        os.kill(server.pid, signal.SIGKILL)
        await own.aclose()
        own = await stack.enter_async_context(AsyncExitStack())
        running[number % 2] = (await own.enter_async_context(ours(directory, url, server.port)), own)
        toll.kills += 1


async def _calls(stations: list[Station], toll: Toll, faults: asyncio.Task[None]) -> None:
    free = list(stations)
    tasks: set[asyncio.Task[None]] = set()
    began_s = time.monotonic()
    while not faults.done():
        elapsed_s = time.monotonic() - began_s
        if toll.calls < elapsed_s * CALLS_PER_S and len(free) >= 2:
            caller, callee = free.pop(0), free.pop(0)
            task = asyncio.create_task(_call(f"crash-{toll.calls}", caller, callee, free, toll))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            toll.calls += 1
        await asyncio.sleep(0.01)
    if tasks:
        await asyncio.wait(tasks, timeout=2 * GIVE_UP_S)
    toll.unfinished |= {task.get_name() for task in tasks if not task.done()}


async def _call(call_id: str, caller: Station, callee: Station, free: list[Station], toll: Toll) -> None:
    began_s = time.monotonic()
    deadline_s = began_s + GIVE_UP_S
    try:
        reply = await caller.ask("initiate_call", {"callId": call_id, "recipientId": callee.name}, deadline_s)
        if reply["ok"]:
            toll.promised.add(call_id)
            await asyncio.sleep(TALK_S)
            await caller.ask("end_call", {"callId": call_id}, deadline_s)
        toll.longest_s = max(toll.longest_s, time.monotonic() - began_s)
    except Gone:
        toll.unfinished.add(call_id)
    finally:
        free.extend((caller, callee))


async def _judge(url: str, toll: Toll) -> None:
    database = Database(url)
    await database.open()
    try:
        async with database.transaction() as connection:
            own = sa.select(call_records.c.call_id).where(call_records.c.reported_by == "")
            found = Counter((await connection.execute(own)).scalars())
    finally:
        await database.close()
    toll.lost = {call_id for call_id in toll.promised - toll.unfinished if not found[call_id]}
    toll.doubled = {call_id for call_id, count in found.items() if count > 1}
