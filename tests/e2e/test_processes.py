"""Several hub processes on one PostgreSQL: whichever of them a client is connected to, it is one hub."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from intercomd.config import Hub
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from tests.e2e.hub_clients import ANSWER, OFFER, Household, enrol, household, settings, talk

pytestmark = pytest.mark.platform("postgres")


@asynccontextmanager
async def hubs(config: Hub, number: int, *stations: str, group: str | None = None) -> AsyncIterator[list[Household]]:
    """So many hubs in this process, each with the clients that are connected to it."""
    tokens = await enrol(config, *stations, group=group)
    async with AsyncExitStack() as stack:
        houses = []
        for _ in range(number):
            hub = await stack.enter_async_context(HubServer(config, FakeJournal()))
            houses.append(await stack.enter_async_context(household(hub.port, tokens)))
        yield houses


@pytest.fixture
def config(postgres_url: str, tmp_path: Path) -> Hub:
    return settings(tmp_path, database_url=postgres_url)


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
            seqs = [payload["seq"] for event, payload in client.heard if "seq" in payload]
            assert seqs == sorted(set(seqs)), client.heard
