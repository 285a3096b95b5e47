"""A client of the legacy application's kind, the reference JavaScript client in Node, in calls with a real station; and
what of that application is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from intercomd.demo.house import House
from intercomd.hub.office import Order, Result, socket_path
from tests.e2e.test_station import (
    People,
    nothing_left_behind,  # noqa: F401  (fixtures of the household)
    nothing_left_of_the_household,  # noqa: F401
    sounds,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
    pytest.mark.platform("pulseaudio", "node-modules"),
]
LIMIT_S = 15.0
CLIENT = Path(__file__).parents[1] / "node" / "legacy.mjs"


class Legacy:
    """Its process: orders in, events out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._process = process
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    def do(self, what: str, **more: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")

    async def hears(self, event: str, count: int = 1) -> dict[str, Any]:
        try:
            async with asyncio.timeout(LIMIT_S), self._changed:
                await self._changed.wait_for(lambda: len(self.all(event)) >= count)
        except TimeoutError:
            raise AssertionError(f"it never heard {event}, but {self.heard}") from None
        return self.all(event)[-1]

    async def connection(self, state: str) -> None:
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(lambda: {"state": state} in self.all("connection"))

    def all(self, event: str) -> list[dict[str, Any]]:
        return [payload for name, payload in self.heard if name == event]

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), LIMIT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            self.heard.append((told["event"], told["payload"]))
            async with self._changed:
                self._changed.notify_all()


@asynccontextmanager
async def legacy(url: str) -> AsyncIterator[Legacy]:
    process = await asyncio.create_subprocess_exec(
        "node", str(CLIENT), url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    client = Legacy(process)
    try:
        yield client
    finally:
        await client.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house() -> AsyncIterator[House]:
    async with House(ring_timeout_s=20) as house:
        yield house


@pytest_asyncio.fixture(loop_scope="module")
async def people(house: House) -> AsyncIterator[People]:
    people = People(house)
    await people.quiet()
    yield people
    await people.quiet()


@pytest_asyncio.fixture(loop_scope="module")
async def client(house: House) -> AsyncIterator[Legacy]:
    async with legacy(house.household.hub_url) as client:
        client.do("connect", token=await token(house, "visitor"))
        await client.hears("connect")
        yield client


async def token(house: House, name: str) -> str:
    """As `intercomd hub add-station NAME` prints it."""
    reader, writer = await asyncio.open_unix_connection(str(socket_path(house.household.hub_database)))
    try:
        writer.write(msgspec.json.encode(Order("add-station", name)) + b"\n")
        result = msgspec.json.decode(await reader.readline(), type=Result)
    finally:
        writer.close()
        await writer.wait_closed()
    assert result.token is not None, result.message
    return result.token


async def test_it_dials_twice_and_talks_to_a_station(people: People, client: Legacy) -> None:
    """The station hears its own voice back through it: audio both ways. One call, however often it dials."""
    client.do("dial", callId="msg_legacy_dial", recipientId="flat")
    await people.phase("flat", "ringing")
    assert (await client.hears("call_initiated"))["callId"] == "msg_legacy_dial"
    await people.press("flat", "call")
    assert (await client.hears("call_accepted"))["accepterId"] == "flat"
    await client.connection("connected")
    await client.hears("heard")
    await people.phase("flat", "connected")
    await people.see("flat", sounds)
    status = await people.house.status("flat")
    assert status["call"]["peer"] == "visitor"
    client.do("hang up")
    await people.phase("flat", "idle")
    line = await people.journal("hub", "CALL_ENDED")
    assert (line["CALL_ID"], line["REASON"]) == ("msg_legacy_dial", "completed")


async def test_a_station_calls_it(people: People, client: Legacy) -> None:
    await people.house.ask("door", "call", peer="visitor")
    incoming = await client.hears("incoming_call")
    assert incoming["callerId"] == "door"
    client.do("answer")
    await people.phase("door", "connected")
    await client.connection("connected")
    await people.see("door", sounds)
    await people.press("door", "hangup")
    assert (await client.hears("call_ended"))["enderId"] == "door"


async def test_it_declines(people: People, client: Legacy) -> None:
    await people.house.ask("door", "call", peer="visitor")
    await client.hears("incoming_call")
    client.do("reject")
    await people.phase("door", "idle")


async def test_an_absent_station_is_told_without_an_acknowledgement(people: People, client: Legacy) -> None:
    await token(people.house, "attic")
    client.do("dial", callId="msg_legacy_absent", recipientId="attic")
    assert (await client.hears("call_failed"))["reason"] == "user_offline"


async def test_what_is_insecure_is_refused(people: People, client: Legacy) -> None:
    """Another's call is not ended, rooms are not joined, chat bubbles of calls are not forged; and it is told, though
    it asks for no acknowledgement."""
    await people.call()
    call_id = (await people.house.status("flat"))["call"]["callId"]
    for number, (event, payload) in enumerate(
        [
            ("end_call", {"callId": call_id, "recipientId": "door", "duration": 1, "conversationId": "c"}),
            ("cancel_call", {"callId": call_id, "recipientId": "door"}),
            ("webrtc_offer", {"callId": call_id, "recipientId": "flat", "sdp": {"type": "offer", "sdp": "v=0"}}),
            ("join_conversation", "c"),
            ("send_message", {"isCallRecord": True, "callerId": "door", "callDuration": "99:59"}),
        ]
    ):
        client.do("emit", event=event, payload=payload)
        assert (await client.hears("error", number + 1))["message"]
    for station in ("door", "flat"):
        assert (await people.house.status(station))["phase"] == "connected"
    await people.press("door", "hangup")


async def test_tokens_of_its_own_kind_open_nothing(house: House) -> None:
    """`U_` and a signed claim of who one is: the hub knows only tokens that it has given out."""
    async with legacy(house.household.hub_url) as stranger:
        stranger.do("connect", token="U_eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImRvb3IifQ.c2lnbmF0dXJl")
        assert (await stranger.hears("connect_error"))["data"]["code"] == "unauthorised"
