"""The shipped nginx.conf: nginx takes it, and a call goes through it, over TLS, to either of its upstreams."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import socketio

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from tests.e2e.hub_clients import LIMIT_S, Client, enrol, settings, talk, until
from tests.e2e.test_hub_process import free_port

pytestmark = pytest.mark.platform("nginx")

SHIPPED = Path(__file__).parents[2] / "systemd" / "nginx.conf"
STICKY = pytest.param(True, id="sticky")
FRAME = """daemon off; pid {here}/pid; error_log {here}/error.log; worker_processes 1; {user}
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/f;
    uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;
    include {here}/intercom.conf;
}}
"""


def configured(here: Path, port: int, *hub_ports: int, sticky: bool) -> Path:
    """As an operator installs it, with a certificate and ports of our own."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{here}/key.pem",
         "-out", f"{here}/cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    text = SHIPPED.read_text()
    for ours, theirs in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/certs/intercom.pem", f"{here}/cert.pem"),
        ("/etc/ssl/private/intercom.key", f"{here}/key.pem"),
        ("/var/log/nginx/intercom.log", f"{here}/access.log"),
    ):
        assert ours in text, ours
        text = text.replace(ours, theirs)
    line = "    server 127.0.0.1:8080 max_fails=1 fail_timeout=5s;\n"
    assert text.count(line) == 2
    text = text.replace(line, "".join(line.replace("8080", str(hub_port)) for hub_port in hub_ports))
    if sticky:
        text = text.replace("proxy_pass http://intercom_hubs;", "proxy_pass http://intercom_hubs_sticky;")
    (here / "intercom.conf").write_text(text)
    user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
    main = here / "nginx.conf"
    main.write_text(FRAME.format(here=here, user=user))
    return main


@asynccontextmanager
async def nginx(main: Path, port: int) -> AsyncIterator[None]:
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    here = main.parent
    tested = subprocess.run([program, "-t", "-c", main, "-p", here], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "warn" not in tested.stderr
    running = await asyncio.create_subprocess_exec(program, "-c", str(main), "-p", str(here))
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield
    finally:
        running.terminate()
        await asyncio.wait_for(running.wait(), LIMIT_S)


class Trusting(Client):
    """A client that trusts one certificate."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        super().__init__()
        self._socket = socketio.AsyncClient(reconnection=False, http_session=http)
        self._socket.on("*", self._on_any)
        self._socket.on("disconnect", lambda *_: self.gone.set())


@pytest.mark.parametrize("sticky", [pytest.param(False, id="not sticky"), STICKY])
async def test_a_call_through_nginx(tmp_path: Path, sticky: bool) -> None:
    """The sticky one with a client that polls, as the guide has it: nothing else needs it."""
    port = free_port()
    config = settings(tmp_path, proxies=["127.0.0.1"], public_url=f"https://127.0.0.1:{port}", polling=sticky)
    tokens = await enrol(config, "door", "flat")
    journal = FakeJournal()
    async with HubServer(config, journal) as hub:
        main = configured(tmp_path, port, hub.port, sticky=sticky)
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        async with nginx(main, port), aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            clients = []
            for name in ("door", "flat"):
                client = Trusting(http)
                clients.append(client)
                auth = {"token": tokens[name], "instance": f"{name}-1", "protocol": 1}
                transport = "polling" if sticky else "websocket"
                assert await client.connect(port, auth, scheme="https", transport=transport) is None
                assert (await client.call("resync", {}))["ok"]
            door, flat = clients
            await talk(door, flat, "c", "flat")
            await door.call("end_call", {"callId": "c"})
            await flat.hears("call_ended")
            for client in clients:
                await client.close()
            assert (await seen(http, f"https://127.0.0.1:{port}"))[:4] == [200, 404, 404, 200]
            await refuse(http, f"https://127.0.0.1:{port}")
    assert "token" not in (tmp_path / "access.log").read_text()


@pytest.mark.platform("postgres")
@pytest.mark.parametrize("sticky", [pytest.param(False, id="not sticky"), STICKY])
async def test_a_call_between_two_hubs_behind_nginx(tmp_path: Path, postgres_url: str, sticky: bool) -> None:
    """Clients of many addresses: nginx gives the door to one hub and the flat to the other. All requests of one that
    polls reach its own hub."""
    port = free_port()
    config = settings(tmp_path, database_url=postgres_url, proxies=["127.0.0.1"], polling=sticky)
    tokens = await enrol(config, "door", "flat")
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(HubServer(config, FakeJournal())) for _ in range(2)]
        main = configured(tmp_path, port, *(hub.port for hub in hubs), sticky=sticky)
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        await stack.enter_async_context(nginx(main, port))

        async def joined(name: str, address: str) -> tuple[Client, HubServer]:
            connector = aiohttp.TCPConnector(ssl=context, local_addr=(address, 0))
            client = Trusting(await stack.enter_async_context(aiohttp.ClientSession(connector=connector)))
            stack.push_async_callback(client.close)
            auth = {"token": tokens[name], "instance": f"{name}-{address}", "protocol": 1}
            transport = "polling" if sticky else "websocket"
            assert await client.connect(port, auth, scheme="https", transport=transport) is None
            assert (await client.call("resync", {}))["ok"]
            return client, next(hub for hub in hubs if holds(hub, name))

        door, at = await joined("door", "127.0.0.2")
        for number in range(3, 40):
            flat, other = await joined("flat", f"127.0.0.{number}")
            if other is not at:
                break
            await flat.close()
            await until(lambda: not any(holds(hub, "flat") for hub in hubs))
        assert other is not at
        await talk(door, flat, "c", "flat")
        await door.call("end_call", {"callId": "c"})
        await flat.hears("call_ended")


def holds(hub: HubServer, name: str) -> bool:
    """Whether a device of this name is connected to this very hub."""
    return any(socket.endpoint.identity == name for socket in hub._presence)


async def seen(http: aiohttp.ClientSession, base: str) -> list[int]:
    found = []
    for path in ("/", "/metrics", "/readyz", "/healthz"):
        async with http.get(base + path) as response:
            found.append(response.status)
    return found


async def refuse(http: aiohttp.ClientSession, base: str) -> None:
    """The page's own requests are known by their Origin, which names nginx's address."""
    body, origin = {"code": "no-such-invitation"}, {"Origin": base}
    async with http.post(f"{base}/api/session", json=body, headers=origin) as response:
        assert (response.status, (await response.json())["code"]) == (403, "unauthorised")
    async with http.post(f"{base}/api/session", json=body, headers={"Origin": "https://other.example"}) as response:
        assert (await response.json())["code"] == "not_allowed"
