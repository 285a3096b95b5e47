"""The peer in `growth`: plain peer connections of stock aiortc, opened and closed in one long-lived process.

    python -m tests.bench.audio.plain_calls

JSON lines: for each `{"calls": N}` it makes so many calls between two connections, one after the other, silence as
their voice, until both have received a frame; then it says what it holds. It collects garbage as Python does by itself.
"""

import asyncio
import json
import sys
import threading
from typing import Any

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

from intercomd.device.health import process_figures


async def main() -> None:
    """Until its input ends."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]  # noqa: ARG005
    orders: asyncio.Queue[str] = asyncio.Queue()
    threading.Thread(target=_listen, args=(asyncio.get_running_loop(), orders), name="orders", daemon=True).start()
    while order := await orders.get():
        for _ in range(json.loads(order)["calls"]):
            await one_call()
        print(json.dumps(process_figures()), flush=True)


def _listen(loop: asyncio.AbstractEventLoop, orders: "asyncio.Queue[str]") -> None:
    while True:
        line = sys.stdin.readline()
        loop.call_soon_threadsafe(orders.put_nowait, line)
        if not line:
            return


async def one_call() -> None:
    """Both ends here."""
    caller, callee = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    heard = [_first_frame(caller), _first_frame(callee)]
    for end in (caller, callee):
        end.addTrack(AudioStreamTrack())
    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(caller.localDescription)
    await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)
    await asyncio.gather(*heard)
    await asyncio.gather(caller.close(), callee.close())


def _first_frame(end: RTCPeerConnection) -> "asyncio.Task[Any]":
    track: asyncio.Future[MediaStreamTrack] = asyncio.get_running_loop().create_future()
    end.on("track", track.set_result)

    async def first() -> None:
        await (await track).recv()

    return asyncio.create_task(first())


if __name__ == "__main__":
    asyncio.run(main())
