"""The least that speaks Socket.IO over a WebSocket (Engine.IO protocol 4): so cheap that thousands fit beside the
server that is measured."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import aiohttp

from tests.bench.hub.servers import Server

LIMIT_S: Final = 20.0
STATIONS_OF_A_HOUSE: Final = 500
ABREAST: Final = 32
"""Connections that are being made at a time."""
_DEFLATE_BITS: Final = 15


class Gone(Exception):
    """The connection was refused, broke, or an answer did not come in time."""


class Client:
    """One socket. `on_event` is called with the event's name and payload; an event that wants an acknowledgement gets
    one."""

    def __init__(self, token: str, on_event: Callable[[str, Any], None] = lambda _event, _payload: None) -> None:
        self.token = token
        self.on_event = on_event
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._socket: aiohttp.ClientWebSocketResponse
        self._reading: asyncio.Task[None] | None = None

    async def open(self, session: aiohttp.ClientSession, server: Server, *, deflate: bool = False) -> None:
        """Connected, and resynchronised where the server knows that. Raises `Gone`."""
        url = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
        try:
            async with asyncio.timeout(LIMIT_S):
                self._socket = await session.ws_connect(
                    url, compress=_DEFLATE_BITS if deflate else 0, max_msg_size=1 << 20
                )
                await self._socket.receive_str()
                auth = {"token": self.token, "instance": f"{self.token}-1", "protocol": 1}
                await self._socket.send_str("40" + json.dumps(auth))
                answer = await self._socket.receive_str()
        except (aiohttp.ClientError, TimeoutError, TypeError, OSError) as error:
            raise Gone(f"{self.token}: {error!r}") from None
        if not answer.startswith("40"):
            raise Gone(f"{self.token}: {answer[:200]}")
        self._reading = asyncio.create_task(self._read())
        if server.is_ours:
            await self.ask("resync", {})

    async def ask(self, event: str, payload: Mapping[str, Any]) -> Any:
        """The acknowledgement. Raises `Gone`."""
        self._last += 1
        number = self._last
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        try:
            await self._send(f"42{number}" + json.dumps([event, payload]))
            return await asyncio.wait_for(answer, LIMIT_S)
        except TimeoutError:
            raise Gone(f"{event} was not acknowledged") from None
        finally:
            self._waiting.pop(number, None)

    async def tell(self, event: str, payload: Mapping[str, Any]) -> None:
        """Without an acknowledgement."""
        await self._send("42" + json.dumps([event, payload]))

    @property
    def is_open(self) -> bool:
        return self._reading is not None and not self._reading.done()

    async def close(self) -> None:
        """Idempotent."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                await asyncio.wait_for(self._socket.close(), 1.0)

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send_str(text)
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise Gone(f"{self.token}: {error!r}") from None

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._take(message.data)
        except Gone:
            pass
        finally:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(Gone(f"{self.token}: the connection broke"))

    async def _take(self, text: str) -> None:
        if text == "2":
            await self._send("3")
        elif text.startswith("43"):
            digits = _digits(text)
            answer = self._waiting.get(int(digits))
            if answer is not None and not answer.done():
                answer.set_result(json.loads(text[2 + len(digits) :])[0])
        elif text.startswith("42"):
            digits = _digits(text)
            event, payload = json.loads(text[2 + len(digits) :])
            if digits:
                await self._send(f"43{digits}[]")
            self.on_event(event, payload)


def _digits(text: str) -> str:
    end = 2
    while end < len(text) and text[end].isdigit():
        end += 1
    return text[2:end]


@asynccontextmanager
async def session(house: int = 1) -> AsyncIterator[aiohttp.ClientSession]:
    """For any number of connections. `house`: each comes from an address of its own (127.0.0.0/8 is all loopback)."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(f"127.0.1.{house}", 0))
    async with aiohttp.ClientSession(connector=connector) as made:
        yield made


@asynccontextmanager
async def connected(server: Server, clients: Iterable[Client], *, deflate: bool = False) -> AsyncIterator[list[Client]]:
    """All of them, `ABREAST` at a time. Raises `Gone`."""
    everybody = list(clients)
    async with AsyncExitStack() as stack:
        turns = asyncio.Semaphore(ABREAST)
        # A hub limits how often one address connects: an estate has many.
        houses = -(-len(everybody) // STATIONS_OF_A_HOUSE)
        homes = [await stack.enter_async_context(session(house + 1)) for house in range(houses)]

        async def one(number: int, client: Client) -> None:
            async with turns:
                await client.open(homes[number // STATIONS_OF_A_HOUSE], server, deflate=deflate)

        try:
            await asyncio.gather(*(one(number, client) for number, client in enumerate(everybody)))
            yield everybody
        finally:
            await asyncio.gather(*(client.close() for client in everybody))
