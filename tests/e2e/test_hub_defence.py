"""What a hub must withstand: the wrong token, the wrong shape, too much, too often, and frames that are no packets."""

import asyncio
import base64
import hmac
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from intercomd.config import Hub
from intercomd.core.protocol import REQUESTS
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES, IceServer
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.hub import transport
from intercomd.hub.server import HubError, HubServer
from tests.e2e.hub_clients import OFFER, Client, Household, enrol, household, settings, talk, until

TURN = IceServer(urls=["turn:turn.example:3478"], username="u", credential="secret")


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
async def config(tmp_path: Path) -> Hub:
    return settings(tmp_path)


@pytest.fixture
async def tokens(config: Hub) -> dict[str, str]:
    return await enrol(config, "door", "flat", "attic")


@pytest.fixture
async def hub(config: Hub, tokens: dict[str, str], journal: FakeJournal) -> AsyncIterator[HubServer]:
    async with HubServer(config, journal, ice_servers=[TURN]) as server:
        yield server


@pytest.fixture
async def people(hub: HubServer, tokens: dict[str, str]) -> AsyncIterator[Household]:
    async with household(hub.port, tokens) as all_of_them:
        yield all_of_them


# ----------------------------------------------------------------------------------------------------- who may enter


@pytest.mark.parametrize(
    "auth",
    [None, {}, {"token": ""}, {"token": "wrong"}, {"token": 7}, {"token": "x" * 600}, ["token"], "token"],
    ids=["nothing", "no token", "empty", "wrong", "a number", "too long", "a list", "a string"],
)  # fmt: skip
async def test_without_a_good_token_nobody_enters(people: Household, auth: Any) -> None:
    refusal = await people.refused(auth)
    assert refusal["data"]["code"] == "unauthorised", refusal
    assert refusal["data"]["message"]


async def test_another_protocol_is_refused_by_name(people: Household, tokens: dict[str, str]) -> None:
    refusal = await people.refused({"token": tokens["door"], "instance": "1", "protocol": 2})
    assert refusal["data"]["code"] == "protocol_unsupported"


async def test_a_token_that_is_no_text_is_refused(hub: HubServer) -> None:
    async with aiohttp.ClientSession() as http, raw(hub, http) as websocket:
        await websocket.receive_str()
        await websocket.send_str('40{"token":"\\ud800"}')
        message = await websocket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE or str(message.data).startswith("44")


async def test_who_guesses_is_slowed_down(people: Household, journal: FakeJournal) -> None:
    refusals = await asyncio.gather(*(people.refused({"token": f"guess {number}"}) for number in range(60)))
    codes = [refusal["data"]["code"] for refusal in refusals]
    assert set(codes) == {"unauthorised", "rate_limited"}
    assert codes.count("unauthorised") >= 20
    assert ErrorCode.CLIENT_REFUSED in journal.codes
    assert all("guess" not in str(line) for line in journal.lines)


async def test_one_identity_connects_only_so_often(people: Household, tokens: dict[str, str]) -> None:
    device = {"token": tokens["door"], "instance": "1", "protocol": 1}
    clients = [Client() for _ in range(60)]
    refusals = await asyncio.gather(*(client.connect(people.port, device) for client in clients))
    codes = [refusal["data"]["code"] for refusal in refusals if refusal]
    assert set(codes) == {"rate_limited"}
    assert len(codes) <= 40
    for client in clients:
        await client.close()
    await people.join("flat")


async def test_ice_servers_only_for_those_who_are_known(hub: HubServer, tokens: dict[str, str]) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}") as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": tokens["door"]}):
            async with http.get("/api/webrtc/ice-config", headers=headers) as response:
                assert response.status == 401
        good = {"Authorization": f"Bearer {tokens['door']}"}
        async with http.get("/api/webrtc/ice-config", headers=good) as response:
            (server,) = (await response.json())["iceServers"]
    assert server == {"urls": ["turn:turn.example:3478"], "username": "u", "credential": "secret"}


async def test_each_identity_gets_turn_credentials_of_its_own(tmp_path: Path) -> None:
    config = settings(tmp_path, turn_urls=["turn:turn.example:3478", "turns:turn.example"], turn_lifetime_s=600)
    tokens = await enrol(config, "door", "flat")
    async with (
        HubServer(config, FakeJournal(), ice_servers=[TURN], turn_secret="north") as hub,
        household(hub.port, tokens) as people,
        aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}") as http,
    ):
        resynced = (await (await people.join("door")).call("resync", {}))["iceServers"]
        async with http.get("/api/webrtc/ice-config", headers={"Authorization": f"Bearer {tokens['flat']}"}) as got:
            asked = (await got.json())["iceServers"]
    for servers, name in ((resynced, "door"), (asked, "flat")):
        configured, stun, turn = servers
        assert configured["urls"] == TURN.urls
        assert stun == {"urls": ["stun:turn.example:3478"]}
        expiry, _, identity = turn["username"].partition(":")
        assert identity == name
        assert 590 <= int(expiry) - time.time() <= 600
        signature = hmac.digest(b"north", turn["username"].encode(), "sha1")
        assert base64.b64decode(turn["credential"]) == signature


# ------------------------------------------------------------------------------------------------- what may be said


@pytest.mark.parametrize("event", REQUESTS)
async def test_every_event_refuses_every_wrong_shape_with_a_reason(people: Household, event: str) -> None:
    door = await people.join("door")
    wrong: list[tuple[Any, ...]] = [([],), ("text",), (7,), (True,), ({}, {})]
    if event not in ("resync", "set_do_not_disturb"):
        wrong += [(), ({},), (None,)]
    if event not in ("resync", "set_do_not_disturb", "heartbeat"):
        wrong += [({"callId": value},) for value in ("", 7, None, "x" * 129, ["c"])]
    for payload in wrong:
        reply = await door.call(event, *payload)
        assert (reply["ok"], reply["code"]) == (False, "bad_request"), (event, payload, reply)
        assert reply["message"]
        assert "x" * 129 not in reply["message"]


@pytest.mark.parametrize(
    "event", ["bogus", "connect", "disconnect", "connect_error", "*", "", "__proto__", "open_window"]
)
async def test_unknown_events_are_answered(people: Household, event: str) -> None:
    door = await people.join("door")
    reply = await door.call(event, {"callId": "c"})
    assert (reply["ok"], reply["code"]) == (False, "unknown_event")
    assert (await door.call("heartbeat", {"t": 1.0}))["serverTime"] > 0


async def test_too_large_a_message_ends_its_connection_and_no_other(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, "c", "flat")
    large = {"type": "offer", "sdp": "v" * (MAX_MESSAGE_BYTES + 1)}
    await door.say("webrtc_offer", {"callId": "c", "epoch": 1, "sdp": large})
    await asyncio.wait_for(door.gone.wait(), 10.0)
    assert (await flat.call("heartbeat", {"t": 1.0}))["ok"]
    assert flat.all("webrtc_offer")[-1]["sdp"] == OFFER
    door = await people.join("door")
    assert (await door.call("rejoin_call", {"callId": "c"}))["call"]["phase"] == "connected"


async def test_a_description_over_its_own_limit_is_refused(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    await talk(door, flat, "c", "flat")
    long = {"type": "offer", "sdp": "v" * (32 * 1024 + 1)}
    reply = await door.call("webrtc_offer", {"callId": "c", "epoch": 1, "sdp": long})
    assert reply["code"] == "bad_request"


async def test_who_asks_too_often_is_told_and_then_disconnected(people: Household) -> None:
    door, flat = await people.join("door"), await people.join("flat")
    replies = await asyncio.gather(*(door.call("heartbeat", {"t": 1.0}) for _ in range(100)))
    assert [reply["ok"] for reply in replies[:50]] == [True] * 50
    assert replies[-1]["code"] == "rate_limited"
    assert (await flat.call("heartbeat", {"t": 1.0}))["ok"]
    for _ in range(200):
        await door.say("heartbeat", {"t": 1.0})
    await asyncio.wait_for(door.gone.wait(), 10.0)


# ------------------------------------------------------------------------------------------------- the raw transport


def raw(hub: HubServer, http: aiohttp.ClientSession, **options: Any) -> Any:
    url = f"ws://127.0.0.1:{hub.port}/socket.io/?EIO=4&transport=websocket"
    return http.ws_connect(url, **options)


async def ended(websocket: aiohttp.ClientWebSocketResponse) -> None:
    """Read until the hub closes."""
    async with asyncio.timeout(5.0):
        while (await websocket.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE):
            pass


async def test_compression_is_refused_to_those_who_offer_it(hub: HubServer) -> None:
    async with aiohttp.ClientSession() as http, raw(hub, http, compress=15) as websocket:
        assert not websocket.compress
        assert (await websocket.receive_str()).startswith("0{")


async def test_only_websockets_are_served(hub: HubServer) -> None:
    url = f"http://127.0.0.1:{hub.port}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    "frame",
    ["x", "", "9", "4", "4x", "42", '42{"a":1}', "42[", "42" + "[" * 60_000, '452-["a",{"_placeholder":true}]',
     '499999999999-["a"]', "42" + "1" * 200 + '["a"]', '44{"message":"no"}', b"\x00\x01", '451-["a"]', "43[1]"],
    ids=["no packet", "empty", "unknown packet", "no message", "no type", "no event", "an object", "half a list",
         "a deep list", "two attachments", "many attachments", "a long id", "an error", "bytes", "an attachment",
         "an ack of nothing"],
)  # fmt: skip
async def test_frames_that_are_no_packets_harm_nobody(
    hub: HubServer, people: Household, tokens: dict[str, str], frame: str | bytes
) -> None:
    door = await people.join("door")
    async with aiohttp.ClientSession() as http, raw(hub, http) as websocket:
        await websocket.receive_str()
        await websocket.send_str(f'40{{"token":"{tokens["flat"]}","instance":"raw","protocol":1}}')
        assert (await websocket.receive_str()).startswith("40")
        await (websocket.send_bytes(frame) if isinstance(frame, bytes) else websocket.send_str(frame))
        await websocket.close()
    assert (await door.call("heartbeat", {"t": 1.0}))["ok"]
    await until(lambda: len(hub._presence) == 1)


@pytest.mark.parametrize("frame", ["x", "4x", "42[", "42" + "[" * 60_000], ids=["letter", "type", "half", "deep"])
async def test_garbage_ends_its_own_connection_at_once(hub: HubServer, frame: str) -> None:
    async with aiohttp.ClientSession() as http, raw(hub, http) as websocket:
        await websocket.receive_str()
        await websocket.send_str(frame)
        await ended(websocket)


async def test_who_does_not_introduce_itself_is_shown_out(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "INTRODUCTION_LIMIT_S", 0.1)
    async with aiohttp.ClientSession() as http, raw(hub, http) as websocket:
        await websocket.receive_str()
        await ended(websocket)


async def test_whoever_answers_pings_stays_and_whoever_stops_is_ended(
    config: Hub, tokens: dict[str, str], journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(transport, "PING_TIMEOUT_S", 0.5)
    async with HubServer(config, journal) as hub, aiohttp.ClientSession() as http, raw(hub, http) as websocket:
        await websocket.receive_str()
        await websocket.send_str(f'40{{"token":"{tokens["door"]}","instance":"1","protocol":1}}')
        pings = 0
        async with asyncio.timeout(5.0):
            while pings < 5:
                if (await websocket.receive_str()) == "2":
                    pings += 1
                    await websocket.send_str("3")
        await ended(websocket)


async def test_another_namespace_is_not_there(hub: HubServer, tokens: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as http, raw(hub, http) as websocket:
        await websocket.receive_str()
        await websocket.send_str(f'40/admin,{{"token":"{tokens["door"]}"}}')
        assert (await websocket.receive_str()).startswith("44/admin,")
        await websocket.send_str('42/admin,1["resync",{}]')
        await websocket.send_str(f'40{{"token":"{tokens["door"]}"}}')
        assert (await websocket.receive_str()).startswith("40{")


# --------------------------------------------------------------------------------------------------------------- TLS


async def test_without_tls_only_loopback(config: Hub, journal: FakeJournal, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="loopback only") as refused:
        async with HubServer(settings(tmp_path, listen="0.0.0.0"), journal):
            pass
    assert refused.value.is_configuration
    async with HubServer(settings(tmp_path, listen="0.0.0.0", allow_insecure=True), journal) as hub:
        assert hub.port


async def test_with_tls(tmp_path: Path, tokens: dict[str, str], journal: FakeJournal) -> None:
    certificate, key = tmp_path / "hub.pem", tmp_path / "hub.key"
    order = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    subprocess.run([*order.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    secure = settings(tmp_path, tls_cert=str(certificate), tls_key=str(key))
    trust = ssl.create_default_context(cafile=str(certificate))
    trust.check_hostname = False
    async with (
        HubServer(secure, journal) as hub,
        aiohttp.ClientSession(f"https://127.0.0.1:{hub.port}") as http,
        http.get("/healthz", ssl=trust) as response,
    ):
        assert response.status == 200
    with pytest.raises(HubError, match=r"tls_cert"):
        async with HubServer(settings(tmp_path, tls_cert=str(key), tls_key=str(key)), journal):
            pass


async def test_two_hubs_never_share_a_database(hub: HubServer, config: Hub, journal: FakeJournal) -> None:
    with pytest.raises(HubError, match="in use"):
        async with HubServer(config, journal):
            pass


async def test_a_port_that_is_taken_is_named(hub: HubServer, journal: FakeJournal, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(HubError, match=str(hub.port)):
        async with HubServer(settings(other, port=hub.port), journal):
            pass
