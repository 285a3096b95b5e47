"""Residents at the real hub, without a browser: invitations, sessions and their end, and what a resident may know."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.clock import HubClock
from intercomd.hub.office import Order, Result, carry_out
from intercomd.hub.people import sessions
from intercomd.hub.people.directory import Role
from intercomd.hub.server import HubServer
from tests.e2e.hub_clients import Client, Household, household, settings, talk

SOCKET = "/socket.io/?EIO=4&transport=websocket"
NOW_S = 1_800_000_000.0


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def hub_clock(self) -> HubClock:
        return HubClock(wall=lambda: self.now_s, monotonic=lambda: self.now_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def hub(tmp_path: Path, clock: Clock) -> AsyncIterator[HubServer]:
    async with HubServer(settings(tmp_path, grace_s=1), FakeJournal(), clock=clock.hub_clock()) as server:
        yield server


async def order(hub: HubServer, command: Any, name: str, group: str | None = None) -> Result:
    """As through the admin socket."""
    result = await carry_out(Order(command, name, group), hub._database, hub._presence, hub._clock.now_s())
    await hub._directory_changed()
    return result


async def secret(hub: HubServer, command: Any, name: str, group: str | None = None) -> str:
    result = await order(hub, command, name, group)
    assert result.token, result.message
    return result.token


class Browser:
    """What a browser keeps and sends: its cookies, and the Origin of the page."""

    def __init__(self, hub: HubServer, http: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.http = http
        self.origin = f"http://127.0.0.1:{hub.port}"

    async def ask(self, method: str, path: str, *, origin: str | None = "", **options: Any) -> tuple[int, Any]:
        sent = self.origin if origin == "" else origin
        headers = {"Origin": sent} if sent else {}
        async with self.http.request(method, self.origin + path, headers=headers, **options) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def sign_in(self, code: str) -> tuple[int, Any]:
        return await self.ask("POST", "/api/session", json={"code": code})

    async def name(self) -> str | None:
        status, body = await self.ask("GET", "/api/session")
        assert status == 200
        return body["resident"] and body["resident"]["name"]

    @property
    def cookie(self) -> str:
        [morsel] = self.http.cookie_jar
        return f"{morsel.key}={morsel.value}"


@asynccontextmanager
async def opened(hub: HubServer, name: str = "", group: str | None = None) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        browser = Browser(hub, http)
        if name:
            status, body = await browser.sign_in(await secret(hub, "invite", name, group))
            assert (status, body) == (200, {"resident": {"name": name}})
        yield browser


class Tab(Client):
    """A page's socket: no token, but the browser's cookie and Origin."""

    async def open(self, browser: Browser, instance: str = "tab", **headers: str) -> dict[str, Any] | None:
        refusals: list[dict[str, Any]] = []
        self._socket.on("connect_error", refusals.append)
        sent = {"Cookie": browser.cookie, "Origin": browser.origin, **headers}
        try:
            await self._socket.connect(
                browser.origin, headers=sent, auth={"instance": instance, "protocol": 1}, transports=["websocket"]
            )
        except socketio.exceptions.ConnectionError:
            return refusals[-1]
        await self.call("resync", {})
        return None


@asynccontextmanager
async def tab(browser: Browser, instance: str = "tab") -> AsyncIterator[Tab]:
    client = Tab()
    assert await client.open(browser, instance) is None
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def stations(hub: HubServer, *names: str, group: str | None = None) -> AsyncIterator[Household]:
    tokens = {name: await secret(hub, "add-station", name, group) for name in names}
    async with household(hub.port, tokens) as people:
        yield people


# ----------------------------------------------------------------------------------------- invitations and sessions


async def test_an_invitation_works_once_and_for_a_week(hub: HubServer, clock: Clock) -> None:
    async with opened(hub) as first, opened(hub) as second, opened(hub) as third:
        code = await secret(hub, "invite", "tenant")
        assert (await first.sign_in(code))[0] == 200
        status, body = await second.sign_in(code)
        assert (status, body["code"]) == (403, "unauthorised")
        assert (await first.name(), await second.name()) == ("tenant", None)
        code = await secret(hub, "invite", "tenant")
        clock.now_s += sessions.INVITATION_LIFE_S
        assert (await third.sign_in(code))[0] == 403
        assert await first.name() == "tenant", "another invitation ends no session"


async def test_a_newer_invitation_ends_an_unused_one(hub: HubServer) -> None:
    async with opened(hub) as browser:
        old, new = await secret(hub, "invite", "tenant"), await secret(hub, "invite", "tenant")
        assert (await browser.sign_in(old))[0] == 403
        assert (await browser.sign_in(new))[0] == 200


async def test_neither_code_nor_session_is_kept_and_neither_is_a_token(hub: HubServer, tmp_path: Path) -> None:
    code = await secret(hub, "invite", "tenant")
    async with opened(hub, "neighbour") as browser:
        session = browser.cookie.partition("=")[2]
        files = b"".join(path.read_bytes() for path in tmp_path.glob("hub.db*") if path.is_file())
        assert code.encode() not in files
        assert session.encode() not in files
        for stolen in (code, session):
            client = Client()
            refusal = await client.connect(hub.port, {"token": stolen, "instance": "x", "protocol": 1})
            assert refusal
            assert refusal["data"]["code"] == "unauthorised"
            await client.close()


async def test_signing_in_again_ends_the_session_of_this_browser_only(hub: HubServer) -> None:
    async with opened(hub, "tenant") as phone, opened(hub, "tenant") as laptop:
        await phone.sign_in(await secret(hub, "invite", "neighbour"))
        assert (await phone.name(), await laptop.name()) == ("neighbour", "tenant")
        assert len(hub._registry.directory.sessions) == 2


async def test_a_session_lasts_from_the_last_visit(hub: HubServer, clock: Clock) -> None:
    async with opened(hub, "tenant") as browser:
        for _ in range(3):
            clock.now_s += sessions.SESSION_LIFE_S - 1
            assert await browser.name() == "tenant"
        clock.now_s += sessions.SESSION_LIFE_S
        assert await browser.name() is None


async def test_the_oldest_of_too_many_sessions_makes_room(hub: HubServer, clock: Clock) -> None:
    async with opened(hub, "tenant") as first:
        for _ in range(sessions.MAX_SESSIONS):
            clock.now_s += 1
            async with opened(hub, "tenant") as latest:
                assert await latest.name() == "tenant"
        assert await first.name() is None
        assert len(hub._registry.directory.sessions) == sessions.MAX_SESSIONS


async def test_sessions_survive_a_restart_of_the_hub(tmp_path: Path) -> None:
    config = settings(tmp_path)
    async with HubServer(config, FakeJournal()) as hub, opened(hub, "tenant") as browser:
        cookie = browser.cookie
    async with HubServer(config, FakeJournal()) as hub, opened(hub) as browser:
        browser.http.headers["Cookie"] = cookie
        assert await browser.name() == "tenant"


async def test_revocation_acts_at_once_on_sockets_calls_and_invitations(hub: HubServer) -> None:
    unused = await secret(hub, "invite", "tenant")
    async with opened(hub) as browser, stations(hub, "door") as people:
        await browser.sign_in(unused)
        unused = await secret(hub, "invite", "tenant")
        async with tab(browser) as page:
            door = await people.join("door")
            await talk(door, page, "c1", "tenant")
            assert (await order(hub, "revoke", "tenant")).ok
            await asyncio.wait_for(page.gone.wait(), 3)
            assert (await door.hears("call_ended"))["reason"] == "completed"
            assert await browser.name() is None
            assert (await browser.sign_in(unused))[0] == 403
            again = Tab()
            refusal = await again.open(browser)
            assert refusal
            assert refusal["data"]["code"] == "unauthorised"
            await again.close()


async def test_signing_out_of_one_browser_leaves_what_rings_at_another(hub: HubServer) -> None:
    async with (
        opened(hub, "tenant") as phone,
        opened(hub, "tenant") as laptop,
        stations(hub, "door") as people,
        tab(phone, "phone") as one,
        tab(laptop, "laptop") as other,
    ):
        door = await people.join("door")
        await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        await one.hears("incoming_call")
        await other.hears("incoming_call")
        assert (await phone.ask("DELETE", "/api/session"))[0] == 200
        await asyncio.wait_for(one.gone.wait(), 3)
        reply = await other.call("accept_call", {"callId": "c1"})
        assert reply["call"]["phase"] == "connecting"
        assert door.all("call_rejected") == []


async def test_a_station_is_revoked_too_and_nobody_else_can_be(hub: HubServer) -> None:
    async with stations(hub, "door", group="house") as people:
        door = await people.join("door")
        assert (await order(hub, "revoke", "door")).ok
        await asyncio.wait_for(door.gone.wait(), 3)
    for unknown in ("house", "nobody"):
        result = await order(hub, "revoke", unknown)
        assert not result.ok
        assert unknown in result.message


# ------------------------------------------------------------------------------------------------- strangers


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://127.0.0.1:1"])
async def test_another_site_can_neither_sign_in_nor_out(hub: HubServer, method: str, origin: str | None) -> None:
    async with opened(hub, "tenant") as browser:
        code = await secret(hub, "invite", "mallory")
        status, body = await browser.ask(method, "/api/session", origin=origin, json={"code": code})
        assert (status, body["code"]) == (403, "not_allowed")
        assert await browser.name() == "tenant"
        assert (await browser.sign_in(code))[0] == 200, "the code was not used up"


@pytest.mark.parametrize(
    "options",
    [
        {"data": b"{}", "headers": {}},
        {"json": {}},
        {"json": {"code": 7}},
        {"json": {"code": "x", "more": 1}},
        {"json": []},
        {"json": {"code": "x" * 5000}},
    ],
)
async def test_a_body_of_the_wrong_shape_is_told(hub: HubServer, options: dict[str, Any]) -> None:
    async with opened(hub) as browser:
        options.pop("headers", None)
        status, body = await browser.ask("POST", "/api/session", **options)
        assert (status, body["code"]) == (400, "bad_request")


async def test_guessing_is_slowed_down(hub: HubServer) -> None:
    async with opened(hub) as browser:
        answers = [(await browser.sign_in(f"guess-{number:030}"))[0] for number in range(25)]
        assert answers[0] == 403
        assert 429 in answers


@pytest.mark.parametrize("path", ["/api/directory", "/api/calls"])
async def test_strangers_are_told_nothing(hub: HubServer, path: str) -> None:
    async with opened(hub) as browser:
        status, body = await browser.ask("GET", path)
        assert (status, body) == (401, {"code": "unauthorised", "message": "not signed in"})


async def test_a_cookie_counts_only_with_an_origin_of_ours(hub: HubServer) -> None:
    async with opened(hub, "tenant") as browser:
        for origin in ("http://evil.example", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
                await browser.http.ws_connect(browser.origin + SOCKET, origin=origin)
        async with tab(browser) as page:
            assert (await page.call("heartbeat", {"t": 1}))["ok"]


# -------------------------------------------------------------------------------------------------- what one knows


async def test_whom_a_resident_may_call(hub: HubServer) -> None:
    async with (
        opened(hub, "tenant", "home") as browser,
        opened(hub, "neighbour"),
        stations(hub, "door") as alone,
        stations(hub, "flat", group="home") as together,
    ):
        await alone.join("door")
        status, body = await browser.ask("GET", "/api/directory")
        online = {entry["id"]: (entry["role"], entry["online"]) for entry in body["entries"]}
        assert status == 200
        assert online == {
            "door": (Role.STATION, True),
            "flat": (Role.STATION, False),
            "home": (Role.GROUP, False),
        }, "no residents; a group is there when somebody else in it is"
        await together.join("flat")
        _, body = await browser.ask("GET", "/api/directory")
        assert all(entry["online"] for entry in body["entries"])


async def test_a_resident_sees_their_own_calls_and_of_shared_ones_their_own_side(hub: HubServer) -> None:
    async with (
        opened(hub, "tenant", "home") as tenant,
        opened(hub, "neighbour", "home") as neighbour,
        opened(hub, "lodger") as lodger,
        stations(hub, "door", "flat") as people,
        tab(tenant, "a") as hers,
        tab(neighbour, "b") as his,
    ):
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, hers, "shared", "home")
        await hers.call("end_call", {"callId": "shared"})
        await talk(hers, flat, "own", "flat")
        await flat.call("end_call", {"callId": "own"})
        await door.call("initiate_call", {"callId": "none", "recipientId": "neighbour"})
        await his.hears("incoming_call", 2)
        await his.call("reject_call", {"callId": "none"})
        await talk(door, flat, "theirs", "flat")
        await door.call("end_call", {"callId": "theirs"})
        seen = {}
        for name, browser in (("tenant", tenant), ("neighbour", neighbour), ("lodger", lodger)):
            _, body = await browser.ask("GET", "/api/calls")
            seen[name] = {call["callId"]: call for call in body["calls"]}
    assert seen["tenant"].keys() == {"shared", "own"}
    assert seen["neighbour"].keys() == {"shared", "none"}
    assert seen["lodger"] == {}
    assert (seen["tenant"]["shared"]["direction"], seen["tenant"]["shared"]["outcome"]) == ("in", "completed")
    assert (seen["tenant"]["own"]["direction"], seen["tenant"]["own"]["peer"]) == ("out", "flat")
    assert seen["neighbour"]["none"]["outcome"] == "rejected"
    elsewhere = seen["neighbour"]["shared"]
    assert (elsewhere["peer"], elsewhere["outcome"], elsewhere["duration"]) == ("door", "answered_elsewhere", 0.0)
    assert "tenant" not in str(elsewhere), "who has answered stays hidden"


async def test_calls_come_in_pages_the_newest_first(hub: HubServer, clock: Clock) -> None:
    async with opened(hub, "tenant") as browser, stations(hub, "door") as people:
        door = await people.join("door")
        for number in range(5):
            clock.now_s += 10
            await door.call("initiate_call", {"callId": f"c{number}", "recipientId": "tenant"})
        _, body = await browser.ask("GET", "/api/calls?limit=2")
        assert [call["callId"] for call in body["calls"]] == ["c4", "c3"]
        before = body["calls"][-1]["startedAt"]
        _, body = await browser.ask("GET", f"/api/calls?limit=50&before={before}")
        assert [call["callId"] for call in body["calls"]] == ["c2", "c1", "c0"]
        assert body["calls"][0]["reason"] == "user_offline"
        for bad in ("limit=many", "before=nan"):
            assert (await browser.ask("GET", f"/api/calls?{bad}"))[0] == 400


# ------------------------------------------------------------------------------------------------------------- TLS


async def test_over_tls_the_cookie_is_secure_and_the_page_may_connect(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    config = settings(tmp_path, tls_cert=str(cert), tls_key=str(key))
    trusting = ssl.create_default_context(cafile=str(cert))
    async with HubServer(config, FakeJournal()) as hub:
        origin = f"https://127.0.0.1:{hub.port}"
        code = await secret(hub, "invite", "tenant")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http:
            async with http.post(f"{origin}/api/session", json={"code": code}, headers={"Origin": origin}) as response:
                assert response.status == 200
                assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                cookie = response.cookies["__Host-intercom"]
                assert cookie["secure"]
                assert cookie["httponly"]
            headers = {"Cookie": f"__Host-intercom={cookie.value}"}
            url = origin + SOCKET
            async with http.ws_connect(url, origin=origin, headers=headers) as socket:
                await socket.receive_str()
                await socket.send_str('40{"instance":"tab","protocol":1}')
                assert (await socket.receive_str()).startswith("40")
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(url, origin=origin.replace("https", "http"), headers=headers)


async def test_a_database_that_cannot_be_written_is_told_as_such(hub: HubServer) -> None:
    async with opened(hub, "tenant") as browser:
        code = await secret(hub, "invite", "neighbour")
        await hub._database.close()
        assert (await browser.sign_in(code))[0] == 503
        assert (await browser.ask("DELETE", "/api/session"))[0] == 503
        assert (await browser.ask("GET", "/api/calls"))[0] == 503
        assert await browser.name() == "tenant"
