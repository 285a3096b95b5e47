"""HTTP long polling: only where the configuration says so, and then under the same rules as a WebSocket."""

import asyncio
from pathlib import Path

import aiohttp

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from tests.e2e.hub_clients import LIMIT_S, Client, enrol, settings, talk, until

PATH = "/socket.io/?EIO=4&transport=polling"


async def polling(hub: HubServer, name: str, token: str) -> Client:
    client = Client()
    auth = {"token": token, "instance": f"{name}-1", "protocol": 1}
    assert await client.connect(hub.port, auth, transport="polling") is None
    assert (await client.call("resync", {}))["ok"]
    return client


async def test_a_hub_speaks_by_websockets_alone(tmp_path: Path) -> None:
    async with (
        HubServer(settings(tmp_path), FakeJournal()) as hub,
        aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}") as http,
        http.get(PATH) as response,
    ):
        assert response.status == 400


async def test_a_call_of_two_that_poll_and_both_are_let_go_in_the_end(tmp_path: Path) -> None:
    config = settings(tmp_path, polling=True)
    tokens = await enrol(config, "door", "flat")
    async with HubServer(config, FakeJournal()) as hub:
        door, flat = [await polling(hub, name, tokens[name]) for name in ("door", "flat")]
        assert door._socket.transport() == "polling"
        await talk(door, flat, "c", "flat")
        await door.call("end_call", {"callId": "c"})
        await flat.hears("call_ended")
        await hub.wind_down()
        for client in (door, flat):
            await asyncio.wait_for(client.gone.wait(), LIMIT_S)
            client._socket.eio.write_loop_task.cancel()  # it would wait 10 s for something to send
            await asyncio.wait_for(client._socket.eio.wait(), LIMIT_S)


async def test_who_polls_too_much_or_never_says_who_it_is_is_ended(tmp_path: Path) -> None:
    journal = FakeJournal()
    async with HubServer(settings(tmp_path, polling=True), journal) as hub, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{hub.port}{PATH}"
        async with http.get(url) as response:
            sid = (await response.text()).split('"sid":"')[1].split('"')[0]
        statuses: set[int] = set()
        for _ in range(80):
            async with http.post(f"{url}&sid={sid}", data="\x1e".join(["42[]"] * 16)) as response:
                statuses.add(response.status)
        assert 400 in statuses, "the session has ended"
        async with http.post(f"{url}&sid={sid}", data="40{}") as response:
            assert response.status == 400
        await until(lambda: any("too many packets" in str(line) for line in journal.lines))


async def test_a_token_that_is_no_good_is_refused_as_anywhere(tmp_path: Path) -> None:
    async with HubServer(settings(tmp_path, polling=True), FakeJournal()) as hub:
        client = Client()
        refusal = await client.connect(hub.port, {"token": "x", "instance": "1", "protocol": 1}, transport="polling")
        assert refusal is not None
        assert refusal["data"]["code"] == "unauthorised"
        await client.close()
