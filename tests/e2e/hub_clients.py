"""Clients of a hub for tests: the real python-socketio client, with everything it hears kept and waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import socketio

from intercomd.config import Hub
from intercomd.hub.people import directory
from intercomd.hub.people.directory import Role
from intercomd.hub.storage.database import Database

LIMIT_S = 10.0


def settings(folder: Path, **changed: Any) -> Hub:
    """A hub of its own, on any free port of loopback."""
    return Hub(**{"port": 0, "database_url": f"sqlite+aiosqlite:///{folder / 'hub.db'}", **changed})


async def enrol(hub: Hub, *stations: str, group: str | None = None) -> dict[str, str]:
    """Make stations known while no hub runs; their tokens by name."""
    database = Database(hub.database_url)
    await database.open()
    try:
        return {name: await directory.enrol(database, name, Role.STATION, group, 0.0) for name in stations}
    finally:
        await database.close()


class Client:
    """One socket. `heard` are all notices in their order, as (event, payload)."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.gone = asyncio.Event()
        self._changed = asyncio.Condition()
        self._socket = socketio.AsyncClient(reconnection=False)
        self._socket.on("*", self._on_any)
        self._socket.on("disconnect", lambda *_: self.gone.set())

    async def connect(
        self, port: int, auth: Any, scheme: str = "http", transport: str = "websocket"
    ) -> dict[str, Any] | None:
        """None when connected, else the refusal."""
        refusals: list[dict[str, Any]] = []
        self._socket.on("connect_error", refusals.append)
        try:
            await self._socket.connect(
                f"{scheme}://127.0.0.1:{port}", auth=auth, transports=[transport], wait_timeout=LIMIT_S
            )
        except socketio.exceptions.ConnectionError as error:
            return refusals[-1] if refusals else {"error": str(error)}
        return None

    async def call(self, event: str, *payload: Any) -> dict[str, Any]:
        reply: dict[str, Any] = await self._socket.call(event, payload if payload else None, timeout=LIMIT_S)
        return reply

    async def say(self, event: str, payload: Any) -> None:
        """Without waiting for the acknowledgement."""
        await self._socket.emit(event, payload)

    async def hears(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until this event has come so often; the latest one's payload."""
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.all(event)) >= count)
        return self.all(event)[-1]

    def all(self, event: str) -> list[dict[str, Any]]:
        return [payload for name, payload in self.heard if name == event]

    async def close(self) -> None:
        await self._socket.disconnect()

    async def _on_any(self, event: str, payload: dict[str, Any]) -> dict[str, bool]:
        self.heard.append((event, payload))
        async with self._changed:
            self._changed.notify_all()
        return {"ok": True}


class Household:
    """Opens clients by a station's name and closes them all at the end."""

    def __init__(self, port: int, tokens: dict[str, str]) -> None:
        self.port = port
        self.tokens = tokens
        self._clients: list[Client] = []

    async def join(self, name: str, instance: str = "1", *, resync: bool = True, **auth: Any) -> Client:
        client = Client()
        self._clients.append(client)
        device = {"token": self.tokens[name], "instance": f"{name}-{instance}", "protocol": 1, **auth}
        refusal = await client.connect(self.port, {key: value for key, value in device.items() if value is not None})
        assert refusal is None, refusal
        if resync:
            reply = await client.call("resync", {})
            assert reply["ok"], reply
        return client

    async def refused(self, auth: Any) -> dict[str, Any]:
        client = Client()
        self._clients.append(client)
        refusal = await client.connect(self.port, auth)
        assert refusal is not None
        return refusal

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@asynccontextmanager
async def household(port: int, tokens: dict[str, str]) -> AsyncIterator[Household]:
    people = Household(port, tokens)
    try:
        yield people
    finally:
        await people.close()


async def until(holds: Callable[[], bool]) -> None:
    """Poll; for what nobody announces."""
    async with asyncio.timeout(LIMIT_S):
        while not holds():
            await asyncio.sleep(0.01)


OFFER = {"type": "offer", "sdp": "v=0 offer"}
ANSWER = {"type": "answer", "sdp": "v=0 answer"}


async def talk(caller: Client, callee: Client, call_id: str, recipient: str) -> None:
    """From the press to the relayed answer."""
    reply = await caller.call("initiate_call", {"callId": call_id, "recipientId": recipient})
    assert reply["ok"], reply
    assert reply["call"]["phase"] == "ringing", reply
    await callee.hears("incoming_call", 1)
    reply = await callee.call("accept_call", {"callId": call_id})
    assert reply["call"]["phase"] == "connecting", reply
    reply = await caller.call("webrtc_offer", {"callId": call_id, "epoch": 1, "sdp": OFFER})
    assert reply["ok"], reply
    reply = await callee.call("webrtc_answer", {"callId": call_id, "epoch": 1, "sdp": ANSWER})
    assert reply["call"]["phase"] == "connected", reply
