"""A client that does not give up: it comes back to whichever hub answers, resyncs, and asks again. For tests in which
hubs and databases go away."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import socketio

from tests.e2e.hub_clients import Client

GIVE_UP_S = 30.0
ASK_LIMIT_S = 6.0
PAUSE_S = 0.1


class Steadfast:
    """`ports` are tried in turn. `heard` are the notices of all its connections."""

    def __init__(self, name: str, token: str, ports: Sequence[int]) -> None:
        self.name = name
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._auth = {"token": token, "instance": f"{name}-1", "protocol": 1}
        self._ports = list(ports)
        self._client: Client | None = None

    async def connect(self) -> None:
        await self._connected()

    async def ask(self, event: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Until the hub takes it: every request may be repeated."""
        async with asyncio.timeout(GIVE_UP_S):
            while True:
                reply = await self._try(event, payload)
                if reply is not None and reply.get("code") not in ("try_again", "rate_limited"):
                    return reply
                await asyncio.sleep(PAUSE_S)

    async def state(self, call_id: str) -> dict[str, Any]:
        """What the hub says of this call."""
        known = {"calls": [{"callId": call_id, "epoch": 1, "phase": "connected"}]}
        states = (await self.ask("resync", known))["calls"]
        return next((state for state in states if state["callId"] == call_id), {"phase": "unknown"})

    async def until_phase(self, call_id: str, phase: str) -> dict[str, Any]:
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        while (state := await self.state(call_id))["phase"] != phase:
            assert asyncio.get_running_loop().time() < deadline, f"{self.name} waits for {phase}: {state}"
            await asyncio.sleep(PAUSE_S)
        return state

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(socketio.exceptions.SocketIOError):
                await client.close()

    async def _try(self, event: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        client = await self._connected()
        try:
            async with asyncio.timeout(ASK_LIMIT_S):
                asked = asyncio.ensure_future(client.call(event, payload))
                gone = asyncio.ensure_future(client.gone.wait())
                try:
                    done, _ = await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
                    return asked.result() if asked in done else None
                finally:
                    for task in (asked, gone):
                        task.cancel()
                    await asyncio.gather(asked, gone, return_exceptions=True)
        except (TimeoutError, socketio.exceptions.SocketIOError):
            await self.close()
            return None

    async def _connected(self) -> Client:
        if self._client is not None and not self._client.gone.is_set():
            return self._client
        await self.close()
        async with asyncio.timeout(GIVE_UP_S):
            while True:
                client = Client()
                client.heard = self.heard
                refusal = await client.connect(self._ports[0], self._auth)
                if refusal is None:
                    self._client = client
                    with contextlib.suppress(TimeoutError, socketio.exceptions.SocketIOError):
                        if (await client.call("resync", {}))["ok"]:
                            return client
                await client.close()
                self._client = None
                self._ports.append(self._ports.pop(0))
                await asyncio.sleep(PAUSE_S)
