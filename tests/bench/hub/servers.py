"""The servers that are measured: a hub of ours with so many stations known, on SQLite or PostgreSQL, and Node's."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import sqlalchemy as sa

from intercomd.hub.people.directory import Role, digest
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import identities
from tests.bench.programs import Program, ProgramError, module

RELAY: Final = Path(__file__).parents[2] / "node" / "relay.mjs"
NODE, OURS = "Node's Socket.IO server", "ours"
START_LIMIT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Server:
    """`name` is OURS or NODE."""

    name: str
    port: int
    pid: int = 0

    @property
    def is_ours(self) -> bool:
        return self.name == OURS


def station(number: int) -> str:
    """Its name, and its token: the name is all that the peer knows."""
    return f"station-{number}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def sqlite(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory}/hub.db"


async def enrol(url: str, count: int) -> None:
    """Make the stations known, all at once, while no hub runs."""
    database = Database(url)
    await database.open()
    rows = [
        {"id": name, "role": Role.STATION.value, "token_sha256": digest(name), "created_at": 0.0}
        for name in map(station, range(count))
    ]
    try:
        async with database.transaction() as connection:
            await connection.execute(sa.delete(identities))
            await connection.execute(sa.insert(identities), rows)
    finally:
        await database.close()


@asynccontextmanager
async def ours(directory: Path, url: str, port: int = 0, **settings: float) -> AsyncIterator[Server]:
    """A hub as a process of its own, as it is installed."""
    port = port or free_port()
    configuration = directory / f"hub-{port}.toml"
    lines = [f"{name} = {value}" for name, value in settings.items()]
    configuration.write_text(
        "\n".join(["[hub]", 'listen = "127.0.0.1"', f"port = {port}", f'database_url = "{url}"', *lines]) + "\n"
    )
    async with Program(module("intercomd", "hub", "--config", str(configuration)), {}) as program:
        await _serves(port)
        yield Server(OURS, port, program.pid)


@asynccontextmanager
async def node(*, deflate: bool = False) -> AsyncIterator[Server]:
    """Raises `ProgramError` where Node is not there."""
    port = free_port()
    try:
        async with Program(["node", str(RELAY), str(port), *(["deflate"] if deflate else [])], {}) as program:
            await program.line()
            yield Server(NODE, port, program.pid)
    except FileNotFoundError:
        raise ProgramError("node is not installed") from None


async def _serves(port: int) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            if time.monotonic() > deadline_s:
                raise ProgramError(f"the hub at port {port} is not ready within {START_LIMIT_S:.0f} s")
            await asyncio.sleep(0.05)
