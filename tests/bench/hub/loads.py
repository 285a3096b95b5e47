"""What a server costs and how soon it rings, under one load after the other: connections, relayed events, calls."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.footprint import footprint
from tests.bench.hub.clients import Client, Gone, connected
from tests.bench.hub.servers import Server, station

SETTLE_S: Final = 1.0
RING_S: Final = 10.0
RELAY_S: Final = 10.0
IDLE_S: Final = 5.0
CANDIDATE: Final = {
    "candidate": "candidate:1 1 udp 2130706431 192.0.2.7 51234 typ host generation 0 ufrag abcd network-cost 999",
    "sdpMid": "0",
    "sdpMLineIndex": 0,
}
Names = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Connections:
    """`bytes_each` of resident memory, `cpu_s_each` of the server's processor."""

    count: int
    bytes_each: float
    per_s: float
    cpu_s_each: float


@dataclass(frozen=True, slots=True)
class Relayed:
    """`wanted` were sent; `events` of them arrived, each through the server once."""

    wanted: int
    events: int
    cpu_s_each: float


@dataclass(frozen=True, slots=True)
class Rung:
    """Seconds from the caller's `initiate_call` to the callee's `incoming_call`; `late_s` how late the generator itself
    came to its calls."""

    calls: int
    delays_s: Sequence[float]
    late_s: Sequence[float]


async def connections(server: Server, count: int, *, deflate: bool = False) -> Connections:
    """So many at once, then let go of."""
    before = footprint(server.pid)
    began_s = time.monotonic()
    async with connected(server, map(Client, map(station, range(count))), deflate=deflate):
        took_s = time.monotonic() - began_s
        cpu_s = footprint(server.pid).cpu_s - before.cpu_s
        await asyncio.sleep(SETTLE_S)
        grown = footprint(server.pid).rss_bytes - before.rss_bytes
    return Connections(count, grown / count, count / took_s, cpu_s / count)


async def idle_cpu(server: Server) -> float:
    """Of a core, in percent, while nobody calls: heartbeats alone."""
    before = footprint(server.pid).cpu_s
    await asyncio.sleep(IDLE_S)
    return (footprint(server.pid).cpu_s - before) / IDLE_S * 100


async def relaying(server: Server, clients: Sequence[Client], per_s: float) -> Relayed:
    """Candidates between the two ends of calls: one event in, an acknowledgement, one event out. Raises `Gone`."""
    arrived = 0

    def heard(event: str, _payload: Any) -> None:
        nonlocal arrived
        arrived += event == "webrtc_ice_candidate"

    pairs = list(zip(clients[::2], clients[1::2], strict=False))
    if server.is_ours:
        for number, (caller, callee) in enumerate(pairs):
            await _answered(caller, callee, f"relay-{server.port}-{number}")
    for client in clients:
        client.on_event = heard
    before_s = footprint(server.pid).cpu_s
    sent = 0
    began_s = time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < RELAY_S:
        due = int(elapsed_s * per_s)
        while sent < due:
            number = sent % (2 * len(pairs))
            caller, callee = pairs[number // 2]
            sender, other = (caller, callee) if number % 2 == 0 else (callee, caller)
            payload = {
                "callId": f"relay-{server.port}-{number // 2}",
                "recipientId": other.token,
                "candidate": CANDIDATE,
            }
            await sender.tell("webrtc_ice_candidate", payload)
            sent += 1
        await asyncio.sleep(0.005)
    await asyncio.sleep(SETTLE_S)
    used_s = footprint(server.pid).cpu_s - before_s
    if server.is_ours:
        for number, (caller, _) in enumerate(pairs):
            await caller.ask("end_call", {"callId": f"relay-{server.port}-{number}"})
    return Relayed(sent, arrived, used_s / max(1, arrived))


async def _answered(caller: Client, callee: Client, call_id: str) -> None:
    rung = asyncio.Event()
    callee.on_event = lambda event, _payload: rung.set() if event == "incoming_call" else None
    await caller.ask("initiate_call", {"callId": call_id, "recipientId": callee.token})
    await asyncio.wait_for(rung.wait(), SETTLE_S * 5)
    reply = await callee.ask("accept_call", {"callId": call_id})
    if not reply["ok"]:
        raise Gone(f"{call_id} was not answered: {reply.get('code')}")


async def ringing(server: Server, clients: Sequence[Client], per_s: float, seconds_s: float = RING_S) -> Rung:
    """Calls at a steady rate, each declined as soon as it rings, between stations that are in no other call."""
    pressed_s: dict[str, float] = {}
    delays_s: list[float] = []
    late_s: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    free = list(clients)
    random.Random(7).shuffle(free)
    by_name = {client.token: client for client in clients}

    def heard(event: str, payload: Any) -> None:
        if event == "incoming_call" and (at_s := pressed_s.pop(payload["callId"], None)) is not None:
            delays_s.append(time.monotonic() - at_s)

    async def call(number: int, caller: Client, callee: Client) -> None:
        call_id = f"ring-{server.port}-{number}"
        pressed_s[call_id] = time.monotonic()
        await caller.ask("initiate_call", {"callId": call_id, "recipientId": callee.token})
        for _ in range(200):
            if call_id not in pressed_s:
                break
            await asyncio.sleep(0.005)
        await by_name[callee.token].ask("reject_call", {"callId": call_id, "recipientId": caller.token})
        free.extend((caller, callee))

    for client in clients:
        client.on_event = heard
    began_s = time.monotonic()
    total = round(per_s * seconds_s)
    for number in range(total):
        await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
        late_s.append(time.monotonic() - began_s - number / per_s)
        if len(free) < 2:
            raise Gone("the server is so late that no two stations are free")
        task = asyncio.create_task(call(number, free.pop(0), free.pop(0)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        for done in (await asyncio.wait(tasks, timeout=20.0))[0]:
            done.result()
    return Rung(total, delays_s, late_s)
