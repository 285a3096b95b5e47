"""A station of stock aiortc and a stock python-socketio client, as their examples would make it: it calls, it answers,
and when something breaks it does what the libraries do by themselves.

    python -m tests.bench.recovery.stock_peer HUB_URL CAPTURE_PCM PLAYOUT_PCM

Microphone and loudspeaker are those of `tests.bench.stock`. JSON lines: `{"ready": true}` when audio and link are
there; on `{"do": "call"}` the offer goes through the hub; `{"first_voice_t_ns": …}` at the first audible frame;
`{"link": …, "t_ns": …}` whenever the link comes or goes; `{"media": …}` with each state of the connection.
"""

import asyncio
import json
import sys
import threading
import time
from typing import Any

import socketio
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.bench.stock import OPEN_LIMIT_S, Loudspeaker, Microphone, say


class Peer:
    """One call in its life."""

    def __init__(self, capture_pcm: str, playout_pcm: str) -> None:
        self._loudspeaker, self._microphone = Loudspeaker(playout_pcm), Microphone(capture_pcm)
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._following: list[asyncio.Task[None]] = []
        self._pc.addTrack(self._microphone)
        self._pc.on("track", self._follow)
        self._pc.on("connectionstatechange", lambda: say({"media": self._pc.connectionState}))
        self.link = socketio.AsyncClient()
        self.link.on("signal", self._take)
        self.link.on("connect", lambda: say({"link": True, "t_ns": time.monotonic_ns()}))
        self.link.on("disconnect", lambda *_: say({"link": False, "t_ns": time.monotonic_ns()}))

    async def audible(self) -> None:
        for part in (self._loudspeaker, self._microphone):
            await asyncio.to_thread(part.moving.wait, OPEN_LIMIT_S)

    async def call(self) -> None:
        await self._pc.setLocalDescription(await self._pc.createOffer())
        await self._send()

    def _follow(self, track: Any) -> None:
        self._following.append(asyncio.create_task(self._loudspeaker.follow(track)))

    async def _take(self, message: dict[str, str]) -> None:
        await self._pc.setRemoteDescription(RTCSessionDescription(message["sdp"], message["type"]))
        if message["type"] == "offer":
            await self._pc.setLocalDescription(await self._pc.createAnswer())
            await self._send()

    async def _send(self) -> None:
        local = self._pc.localDescription
        await self.link.emit("signal", {"type": local.type, "sdp": local.sdp})


async def station(hub_url: str, capture_pcm: str, playout_pcm: str) -> None:
    """Until its input ends."""
    peer = Peer(capture_pcm, playout_pcm)
    await peer.audible()
    await peer.link.connect(hub_url, transports=["websocket"], retry=True)
    orders: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_listen, args=(loop, orders), name="orders", daemon=True).start()
    say({"ready": True})
    while order := await orders.get():
        if json.loads(order).get("do") == "call":
            await peer.call()


def _listen(loop: asyncio.AbstractEventLoop, orders: "asyncio.Queue[str]") -> None:
    while True:
        line = sys.stdin.readline()
        loop.call_soon_threadsafe(orders.put_nowait, line)
        if not line:
            return


if __name__ == "__main__":
    asyncio.run(station(*sys.argv[1:]))
