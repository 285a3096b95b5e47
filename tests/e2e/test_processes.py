"""Several hub processes on one PostgreSQL: whichever of them a client is connected to, it is one hub; and any of them,
or PostgreSQL itself, may go away in the middle of a call."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from intercomd.config import Config, Hub
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.hub import admin
from intercomd.hub.people import estate
from intercomd.hub.people.directory import Busy, Policy
from intercomd.hub.server import HubServer
from intercomd.hub.shared.process import Buried
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import (
    call_members,
    call_records,
    calls,
    devices,
    leases,
    open_legs,
    outbox,
    processes,
)
from tests.e2e.hub_clients import ANSWER, LIMIT_S, OFFER, Household, enrol, household, settings, talk, until
from tests.e2e.steadfast import Steadfast
from tests.e2e.test_hub_process import free_port, process, write_config
from tests.postgres import Cluster

pytestmark = pytest.mark.platform("postgres")

DEAD_LIMIT_S = 15.0
"""The lease of a process is 6 s."""


@pytest.fixture
def config(postgres_url: str, tmp_path: Path) -> Hub:
    return settings(tmp_path, database_url=postgres_url)


@asynccontextmanager
async def hubs(config: Hub, number: int, *stations: str) -> AsyncIterator[list[Household]]:
    """So many hubs in this process, each with the clients that are connected to it."""
    tokens = await enrol(config, *stations)
    async with AsyncExitStack() as stack:
        houses = []
        for _ in range(number):
            hub = await stack.enter_async_context(HubServer(config, FakeJournal()))
            houses.append(await stack.enter_async_context(household(hub.port, tokens)))
        yield houses


class Estate:
    """Two hubs, and their clients by the number of the hub. The first is a process of its own, which can be killed; the
    other one is in this process, since it is to survive."""

    def __init__(self, running: asyncio.subprocess.Process, ports: list[int], tokens: dict[str, str]) -> None:
        self.running = running
        self.ports = ports
        self.tokens = tokens
        self.houses = [Household(port, tokens) for port in ports]

    async def kill(self) -> None:
        self.running.send_signal(signal.SIGKILL)
        await self.running.wait()


@asynccontextmanager
async def mortal(config: Hub, folder: Path, *stations: str, **changed: Any) -> AsyncIterator[Estate]:
    tokens = await enrol(config, *stations)
    async with AsyncExitStack() as stack:
        port = free_port()
        file = write_config(folder, settings(folder, database_url=config.database_url, port=port))
        file.write_text(file.read_text() + "".join(f"{name} = {value}\n" for name, value in changed.items()))
        running = await stack.enter_async_context(process(file, port))
        survivor = await stack.enter_async_context(HubServer(replace(config, **changed), FakeJournal()))
        made = Estate(running, [port, survivor.port], tokens)
        for house in made.houses:
            stack.push_async_callback(house.close)
        yield made


async def change(config: Hub, work: Callable[[Database], Awaitable[None]]) -> None:
    """While no hub runs."""
    database = Database(config.database_url)
    await database.open()
    try:
        await work(database)
    finally:
        await database.close()


async def ask(config: Hub, question: Callable[[Any], Awaitable[Any]]) -> Any:
    database = Database(config.database_url)
    await database.open()
    try:
        async with database.transaction() as connection:
            return await question(connection)
    finally:
        await database.close()


async def rows(config: Hub, table: sa.Table) -> list[dict[str, Any]]:
    async def read(connection: Any) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in await connection.execute(sa.select(table))]

    found: list[dict[str, Any]] = await ask(config, read)
    return found


# ----------------------------------------------------------------------------------------------------- one hub


async def test_a_whole_call_between_two_processes(config: Hub) -> None:
    async with hubs(config, 2, "door", "flat") as (here, there):
        door, flat = await here.join("door"), await there.join("flat")
        await talk(door, flat, "c", "flat")
        for number in range(5):
            candidate = {"candidate": f"candidate:{number}", "sdpMid": "0", "sdpMLineIndex": 0}
            reply = await door.call("webrtc_ice_candidate", {"callId": "c", "epoch": 1, "candidate": candidate})
            assert reply["ok"], reply
        await flat.hears("webrtc_ice_candidate", 5)
        assert [payload["candidate"]["candidate"][-1] for payload in flat.all("webrtc_ice_candidate")] == list("01234")
        assert flat.all("webrtc_offer")[0]["sdp"] == OFFER
        assert (await door.hears("webrtc_answer"))["sdp"] == ANSWER
        ended = await flat.call("end_call", {"callId": "c"})
        assert ended["call"]["endReason"] == "completed"
        await door.hears("call_ended")
        for client in (door, flat):
            seqs = [payload["seq"] for _, payload in client.heard if "seq" in payload]
            assert seqs == sorted(set(seqs)), client.heard
    for table in (open_legs, leases, call_members, devices, processes, outbox):
        assert await rows(config, table) == [], table.name


async def test_two_callers_at_once_and_only_one_rings(config: Hub) -> None:
    """Each at a process of its own: the key of the open legs decides, not who has looked first."""
    async with hubs(config, 2, "door", "gate", "flat") as (here, there):
        door, gate, flat = await here.join("door"), await there.join("gate"), await there.join("flat")
        for turn in range(5):
            replies = await asyncio.gather(
                door.call("initiate_call", {"callId": f"door {turn}", "recipientId": "flat"}),
                gate.call("initiate_call", {"callId": f"gate {turn}", "recipientId": "flat"}),
            )
            told = sorted((reply["call"]["phase"], reply["call"].get("endReason")) for reply in replies)
            assert told == [("ended", "busy"), ("ringing", None)], told
            for client, name in ((door, "door"), (gate, "gate")):
                await client.call("cancel_call", {"callId": f"{name} {turn}"})
        assert len(flat.all("incoming_call")) == 5


async def test_the_same_call_begun_at_both_is_one(config: Hub) -> None:
    """Asked again at another process while the first still writes it: both answers are of the same call."""
    async with hubs(config, 2, "door", "flat") as (here, there):
        first, again, flat = await here.join("door"), await there.join("door"), await here.join("flat")
        for turn in range(5):
            ask = {"callId": f"c{turn}", "recipientId": "flat"}
            replies = await asyncio.gather(*(client.call("initiate_call", ask) for client in (first, again)))
            assert [reply["call"]["phase"] for reply in replies] == ["ringing", "ringing"], replies
            await first.call("cancel_call", {"callId": f"c{turn}"})
        assert len(flat.all("incoming_call")) == 5
    found = await rows(config, call_records)
    assert sorted(row["call_id"] for row in found) == [f"c{turn}" for turn in range(5)]


async def test_a_device_that_moves_is_there_all_the_time(config: Hub) -> None:
    """Its old connection may end after the new one has begun."""
    async with hubs(config, 2, "door", "flat") as (here, there):
        door, flat = await here.join("door"), await here.join("flat")
        await talk(door, flat, "c", "flat")
        moved = await there.join("flat")
        await flat.close()
        await asyncio.sleep(0.5)
        assert door.all("call_state") == []
        await door.call("end_call", {"callId": "c"})
        await moved.hears("call_ended")


async def test_what_is_revoked_at_one_ends_at_all(config: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    async with hubs(config, 2, "door", "flat") as (here, there):
        first, second = await here.join("door", "1"), await there.join("door", "2")
        flat = await there.join("flat")
        assert await asyncio.to_thread(admin.main, Config(hub=config), ["list"]) == 0
        listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
        assert "2 devices" in listed["door"]
        assert "yes" in listed["flat"]
        assert await asyncio.to_thread(admin.main, Config(hub=config), ["revoke", "door"]) == 0
        for client in (first, second):
            await asyncio.wait_for(client.gone.wait(), LIMIT_S)
        assert not flat.gone.is_set()


async def test_who_waits_at_one_process_rings_when_somebody_is_free_at_the_other(config: Hub) -> None:
    await enrol(config, "flat")
    await change(config, lambda database: estate.set_policy(database, "flat", Policy(busy=Busy.QUEUE)))
    async with hubs(config, 2, "door", "gate", "flat") as (here, there):
        door, gate, flat = await here.join("door"), await there.join("gate"), await here.join("flat")
        await talk(door, flat, "c", "flat")
        reply = await gate.call("initiate_call", {"callId": "d", "recipientId": "flat"})
        assert reply["call"]["queuePosition"] == 1, reply
        await door.call("end_call", {"callId": "c"})
        await flat.hears("incoming_call", 2)
        await gate.hears("call_initiated")
        assert (await flat.call("accept_call", {"callId": "d"}))["call"]["phase"] == "connecting"
        await gate.hears("call_accepted")


async def test_the_door_of_a_station_at_the_other_process(config: Hub) -> None:
    """The command goes there and its answer comes back, or nothing is opened."""
    async with hubs(config, 2, "door", "flat") as (here, there):
        assert await asyncio.to_thread(admin.main, Config(hub=config), ["allow", "flat", "door", "door"]) == 0
        door, flat = await there.join("door", capabilities=["door"]), await here.join("flat")
        commands = []

        def switch(command: dict[str, Any]) -> dict[str, Any]:
            commands.append(command)
            return {"ok": True, "switched": True}

        door._socket.on("door_command", switch)
        await asyncio.sleep(1.5)  # until each has looked at the other
        assert await flat.call("open_door", {"stationId": "door"}) == {"ok": True}
        assert len(commands) == 1
        assert door.heard[-1][0] == "heartbeat", "by whose time the command's life is counted"
        await door.close()
        await asyncio.sleep(1.5)
        assert (await flat.call("open_door", {"stationId": "door"}))["code"] == "user_offline"
        assert len(commands) == 1


# ------------------------------------------------------------------------------------------------- one of them dies


async def test_killed_while_it_rings(config: Hub, tmp_path: Path) -> None:
    """The caller's process: it rings on, and the caller finds its call at the other one."""
    async with mortal(config, tmp_path, "door", "flat") as both:
        door, flat = await both.houses[0].join("door"), await both.houses[1].join("flat")
        await door.call("initiate_call", {"callId": "c", "recipientId": "flat"})
        await flat.hears("incoming_call")
        await both.kill()
        await asyncio.wait_for(door.gone.wait(), LIMIT_S)
        door = await both.houses[1].join("door", resync=False)
        known = {"calls": [{"callId": "c", "epoch": 0, "phase": "ringing"}]}
        (state,) = (await door.call("resync", known))["calls"]
        assert (state["phase"], state["callId"]) == ("ringing", "c")
        assert (await flat.call("accept_call", {"callId": "c"}))["call"]["phase"] == "connecting"
        await door.hears("call_accepted")
        assert (await door.call("end_call", {"callId": "c"}))["call"]["phase"] == "ended"
        await flat.hears("call_ended")
    assert [(row["call_id"], row["outcome"]) for row in await rows(config, call_records)] == [("c", "completed")]


async def test_killed_in_a_call(config: Hub, tmp_path: Path) -> None:
    """The other side hears that its peer is away, when the lease is over, and that it is back."""
    async with mortal(config, tmp_path, "door", "flat") as both:
        door, flat = await both.houses[1].join("door"), await both.houses[0].join("flat")
        await talk(door, flat, "c", "flat")
        await both.kill()
        async with asyncio.timeout(DEAD_LIMIT_S):
            while not door.all("call_state"):
                await asyncio.sleep(0.05)
        assert door.all("call_state")[-1]["state"]["peerPresent"] is False
        flat = await both.houses[1].join("flat")
        assert (await door.hears("call_state", 2))["state"]["phase"] == "connected"
        await flat.call("end_call", {"callId": "c"})
        assert (await door.hears("call_ended"))["reason"] == "completed"


async def test_the_lease_of_a_call_is_kept_by_whoever_is_there(config: Hub, tmp_path: Path) -> None:
    async with mortal(config, tmp_path, "door", "flat", ring_timeout_s=2) as both:
        door, _ = await both.houses[0].join("door"), await both.houses[0].join("flat")
        await door.call("initiate_call", {"callId": "c", "recipientId": "flat"})
        await both.kill()
        async with asyncio.timeout(LIMIT_S):
            while not (found := await rows(config, call_records)):
                await asyncio.sleep(0.1)
        assert [(row["call_id"], row["reason"]) for row in found] == [("c", "timeout")]


async def test_one_that_was_taken_for_dead_ends(config: Hub) -> None:
    """The others have marked its devices absent: it must not go on as if it had them."""
    async with HubServer(config, FakeJournal()) as hub:
        await change(config, bury)
        with pytest.raises(Buried):
            await asyncio.wait_for(hub.failed(), LIMIT_S)


async def bury(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.delete(processes))


async def test_while_postgres_is_away_callers_are_told_to_try_again(config: Hub, postgres: Cluster) -> None:
    tokens, journal = await enrol(config, "door", "flat"), FakeJournal()
    async with HubServer(config, journal) as hub, household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        await asyncio.to_thread(postgres.crash)
        try:
            assert (await door.call("end_call", {"callId": "c"}))["code"] == "try_again"
        finally:
            await asyncio.to_thread(postgres.start)
        async with asyncio.timeout(LIMIT_S):
            while not (await door.call("end_call", {"callId": "c"}))["ok"]:
                await asyncio.sleep(0.1)
        await flat.hears("call_ended")
        await until(lambda: ErrorCode.STORE_RECOVERED in journal.codes or ErrorCode.STORE_FAILING not in journal.codes)
    assert [(row["call_id"], row["reason"]) for row in await rows(config, call_records)] == [("c", "completed")]


# -------------------------------------------------------------------------------------------- everything at once

CALLS = 30


async def one_call(caller: Steadfast, callee: Steadfast, outcomes: dict[str, str]) -> None:
    """From the press to the end, whatever goes away meanwhile. Whoever calls somebody whose process has just died hears
    that nobody is there, and calls again."""
    await asyncio.gather(caller.connect(), callee.connect())
    for attempt in range(100):
        call_id = f"{caller.name} {attempt}"
        reply = await caller.ask("initiate_call", {"callId": call_id, "recipientId": callee.name})
        assert reply["ok"], reply
        outcomes[call_id] = reply["call"].get("endReason", "completed")
        if reply["call"]["phase"] != "ended":
            break
        assert outcomes[call_id] == "user_offline", reply
        await callee.connect()
        await asyncio.sleep(0.2)
    await callee.until_phase(call_id, "ringing")
    reply = await callee.ask("accept_call", {"callId": call_id})
    assert reply["ok"], reply
    await caller.until_phase(call_id, "connecting")
    for who, event, sdp in ((caller, "webrtc_offer", OFFER), (callee, "webrtc_answer", ANSWER)):
        reply = await who.ask(event, {"callId": call_id, "epoch": 1, "sdp": sdp})
        assert reply["ok"], reply
    await caller.until_phase(call_id, "connected")
    reply = await caller.ask("end_call", {"callId": call_id})
    assert reply["call"]["endReason"] == "completed", reply
    await callee.until_phase(call_id, "ended")


async def test_no_call_is_lost_or_doubled(config: Hub, tmp_path: Path, postgres: Cluster) -> None:
    """Many calls between the processes; PostgreSQL crashes and comes back, and one process is killed."""
    names = [f"{side}{number}" for number in range(CALLS) for side in ("caller", "callee")]
    async with mortal(config, tmp_path, *names) as both:
        ports = (both.ports, both.ports[::-1])
        clients = {name: Steadfast(name, both.tokens[name], ports[index // 2 % 2]) for index, name in enumerate(names)}
        outcomes: dict[str, str] = {}
        work = [
            asyncio.create_task(one_call(clients[f"caller{number}"], clients[f"callee{number}"], outcomes))
            for number in range(CALLS)
        ]
        try:
            await asyncio.sleep(1.0)
            await asyncio.to_thread(postgres.crash)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(postgres.start)
            await asyncio.sleep(1.0)
            await both.kill()
            await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await asyncio.gather(*(client.close() for client in clients.values()))
        for client in clients.values():
            ends = [payload["callId"] for event, payload in client.heard if event == "call_ended"]
            assert len(ends) == len(set(ends)), client.heard
    found = await rows(config, call_records)
    assert sorted((row["call_id"], row["reason"]) for row in found) == sorted(outcomes.items())
    assert sum(reason == "completed" for reason in outcomes.values()) == CALLS
    assert {row["phase"] for row in await rows(config, calls)} == {"ended"}
    for table in (open_legs, leases, call_members):
        assert await rows(config, table) == [], table.name
