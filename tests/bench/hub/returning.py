"""A thousand clients whose hub goes away, then takes connections and says nothing, then answers slowly: how many are
back, and when. Ours are stations' own links; the peers are the stock Python client with its defaults.

    python -m tests.bench.hub.returning ours|stock PORT COUNT     is the crowd: JSON lines of how many are connected
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import socketio

from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.core.protocol import Resync
from intercomd.fakes.signalling import SilentJournal
from intercomd.ids import InstanceId
from intercomd.ports import Unreachable
from tests.bench.hub.servers import free_port, ours, station
from tests.bench.programs import Program, module

LOOK_S: Final = 0.25
SLOW_S: Final = 1.5
BLACK_HOLE_S: Final = 10.0
START_S: Final = 40.0


class Obstacle:
    """A TCP proxy before the hub: it passes everything on, or takes connections and never answers, or holds what the
    hub says back for `SLOW_S`."""

    def __init__(self, hub_port: int) -> None:
        self.mode = "pass"
        self.port = 0
        self._hub_port = hub_port
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Obstacle"]:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self.cut()

    async def cut(self) -> None:
        """Every connection breaks."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.mode == "black hole":
                while await reader.read(1 << 16):
                    pass
                return
            hub_reader, hub_writer = await asyncio.open_connection("127.0.0.1", self._hub_port)
            delay_s = SLOW_S if self.mode == "slow" else 0.0
            ways = [
                asyncio.create_task(_pass(reader, hub_writer, 0.0)),
                asyncio.create_task(_pass(hub_reader, writer, delay_s)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                hub_writer.close()
        except OSError:
            pass
        finally:
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Each piece as much later; the later ones do not wait for the earlier ones' delays once more."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while piece := await reader.read(1 << 16):
            if delay_s:
                loop.call_later(delay_s, _write, writer, piece)
            else:
                _write(writer, piece)


def _write(writer: asyncio.StreamWriter, piece: bytes) -> None:
    if not writer.is_closing():
        writer.write(piece)


# -------------------------------------------------------------------------------------------------------- the trial


@dataclass(frozen=True, slots=True)
class Return:
    """How many of `count` were connected before the hub went, and when which share was back, counted from the moment in
    which it takes connections again."""

    count: int
    before: int
    back: int
    median_s: float | None
    last_s: float | None


async def returning(crowd: str, directory: Path, url: str, count: int, limit_s: float) -> Return:
    """One crowd through one restart. Raises `ProgramError`."""
    port = free_port()
    async with Obstacle(port).serving() as obstacle, AsyncExitStack() as stack:
        hub = await stack.enter_async_context(ours(directory, url, port))
        argv = module("tests.bench.hub.returning", crowd, str(obstacle.port), str(count))
        people = await stack.enter_async_context(Program(argv, {}))
        before = await _counted(people, lambda connected: connected >= count, START_S)
        os.kill(hub.pid, signal.SIGKILL)
        obstacle.mode = "black hole"
        await obstacle.cut()
        async with ours(directory, url, port):
            await asyncio.sleep(BLACK_HOLE_S)
            obstacle.mode = "slow"
            await obstacle.cut()
            began_s = time.monotonic()
            history = await _counted(people, lambda connected: connected >= count, limit_s)
    seen = [(at_s - began_s, connected) for at_s, connected in history if at_s >= began_s]
    return Return(
        count,
        max(connected for _, connected in before),
        max((connected for _, connected in seen), default=0),
        next((at_s for at_s, connected in seen if connected >= count / 2), None),
        next((at_s for at_s, connected in seen if connected >= count), None),
    )


async def _counted(people: Program, enough: Callable[[int], bool], limit_s: float) -> list[tuple[float, int]]:
    """What the crowd tells, until it is enough or time is over."""
    told: list[tuple[float, int]] = []
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        said = await people.says()
        told.append((said["at_s"], said["connected"]))
        if enough(said["connected"]) and said["at_s"] > deadline_s - limit_s:
            break
    return told


# ------------------------------------------------------------------------------------------------------- the crowds


async def _ours(port: int, count: int) -> None:
    back: set[int] = set()
    links = [
        SocketIoSignalling(
            f"http://127.0.0.1:{port}",
            partial(station, number),
            InstanceId(f"{station(number)}-1"),
            (),
            SilentJournal(),
        )
        for number in range(count)
    ]

    async def resynced(number: int) -> None:
        with suppress(Unreachable):
            if (await links[number].request(Resync())).ok:
                back.add(number)

    tasks: set[asyncio.Task[None]] = set()

    def follow(number: int, up: bool) -> None:
        if not up:
            back.discard(number)
            return
        task = asyncio.create_task(resynced(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    running = []
    for number, link in enumerate(links):
        running.append(asyncio.create_task(link.run(partial(follow, number), lambda _notice: None)))
        await asyncio.sleep(0.003)
    await _tell(lambda: len(back))


async def _stock(port: int, count: int) -> None:
    """With the library's own reconnect and its defaults; only polling is left out, as the hub does."""
    clients = [socketio.AsyncClient() for _ in range(count)]

    async def one(number: int, client: socketio.AsyncClient) -> None:
        auth = {"token": station(number), "instance": f"{station(number)}-1", "protocol": 1}
        client.on("heartbeat", lambda *_: {})
        with suppress(socketio.exceptions.ConnectionError):
            await client.connect(f"http://127.0.0.1:{port}", auth=auth, transports=["websocket"], retry=True)

    connecting = []
    for number, client in enumerate(clients):
        connecting.append(asyncio.create_task(one(number, client)))
        await asyncio.sleep(0.003)
    await _tell(lambda: sum(client.connected for client in clients))


async def _tell(connected: Callable[[], int]) -> None:
    while True:
        print(json.dumps({"at_s": time.monotonic(), "connected": connected()}), flush=True)
        await asyncio.sleep(LOOK_S)


def main(kind: str, port: str, count: str) -> None:
    """Until it is killed."""
    asyncio.run({"ours": _ours, "stock": _stock}[kind](int(port), int(count)))


if __name__ == "__main__":
    main(*sys.argv[1:])
