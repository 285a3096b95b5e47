"""A look at a STUN or TURN server: the fake, and the real one at a real coturn with the shipped configuration."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aioice import stun, turn

from intercomd.adapters.webrtc import probe
from intercomd.fakes.probe import FakeProbe, FakeServer
from intercomd.ports import Probe, Verdict
from tests import coturn


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    names = "subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", names, "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


class Rig:
    """A server, by its host and port, and how to ask it."""

    def __init__(self, probe: Probe, host: str, ports: tuple[int, int], log: Callable[[], str]) -> None:
        self.probe = probe
        self.host = host
        self.port, self.tls_port = ports
        self.log = log


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[Rig]:
    key, cert = certificate
    ports = free_port(), free_port()
    tls = f"--tls-listening-port={ports[1]}", f"--cert={cert}", f"--pkey={key}"
    with coturn.running(tmp_path_factory.mktemp("coturn"), "127.0.0.1", ports[0], *tls) as log:
        yield Rig(probe, "localhost", ports, lambda: log.read_text(errors="replace"))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.platform("coturn"))])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "real":
        return request.getfixturevalue("relay")  # type: ignore[no-any-return]
    fake = FakeProbe()
    # Their names hold the second of their end: those of the next minutes, as the hub would make them.
    users = dict(coturn.credentials(life_s=600 + later_s) for later_s in range(300))
    urls = [f"turn:localhost:1{more}" for more in ("", "?transport=tcp", "?transport=udp")]
    fake.servers = {url: FakeServer(users=users) for url in urls} | {"stun:localhost:1": FakeServer()}
    return Rig(fake, "localhost", (1, 2), lambda: "")


@pytest.mark.parametrize("url", ["stun:{}", "turn:{}", "turn:{}?transport=udp", "turn:{}?transport=tcp"])
async def test_a_good_server(rig: Rig, url: str) -> None:
    found = await rig.probe(url.format(f"{rig.host}:{rig.port}"), *coturn.credentials())
    assert found.verdict is Verdict.GOOD, found
    assert found.round_trip_s is not None
    assert 0 < found.round_trip_s < 0.5


@pytest.mark.parametrize("kind", ["expired", "wrong", "none"])
async def test_credentials_that_are_not_good(rig: Rig, kind: str) -> None:
    username, password = coturn.credentials(life_s=-60) if kind == "expired" else coturn.credentials(secret="south")
    given = (None, None) if kind == "none" else (username, password)
    found = await rig.probe(f"turn:{rig.host}:{rig.port}", *given)
    assert found.verdict is Verdict.REFUSED
    assert "401" in found.reason
    assert password not in found.reason


@pytest.mark.parametrize("url", ["stun:127.0.0.1:{}", "turn:127.0.0.1:{}", "turn:127.0.0.1:{}?transport=tcp"])
async def test_a_server_that_is_not_there(rig: Rig, url: str) -> None:
    begin_s = time.monotonic()
    found = await rig.probe(url.format(free_port()), "u", "secret")
    assert found.verdict is Verdict.UNREACHABLE
    assert found.reason
    assert time.monotonic() - begin_s < 4


@pytest.mark.parametrize("url", ["stuns:s.example", "nonsense"])
async def test_what_is_not_supported(rig: Rig, url: str) -> None:
    found = await rig.probe(url, None, None)
    assert found.verdict is Verdict.UNSUPPORTED
    assert found.round_trip_s is None


# ------------------------------------------------------------------------------------------------ the real one alone


@pytest.mark.platform("coturn")
async def test_tls_needs_a_certificate_that_is_trusted(
    relay: Rig, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"turns:localhost:{relay.tls_port}"
    found = await probe(url, *coturn.credentials())
    assert found.verdict is Verdict.UNREACHABLE
    assert "certificate" in found.reason
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    assert (await probe(url, *coturn.credentials())).verdict is Verdict.GOOD


@pytest.mark.platform("coturn")
async def test_the_allocation_is_freed_at_once(relay: Rig) -> None:
    """Twelve at a time are a user's quota: a station that looks every minute must not use it up."""
    username, password = coturn.credentials("attic")
    for turn_number in range(18):
        found = await probe(f"turn:localhost:{relay.port}", username, password)
        assert found.verdict is Verdict.GOOD, found
        if turn_number % 6 == 5:
            await asyncio.sleep(1.5)  # coturn looks once a second which quotas are free again
    async with allocations(relay.port, username, password) as allocate:
        verdicts = [await allocate() for _ in range(13)]
    assert verdicts == ["allocated"] * 12 + ["486"], "the shipped quota"


@pytest.mark.platform("coturn")
async def test_a_long_call_outlives_its_credentials(tmp_path: Path) -> None:
    """They are asked for once: an allocation that stands is refreshed and serves new peers after they have ended."""
    port = free_port()
    with coturn.running(tmp_path, "127.0.0.1", port, "--stale-nonce=1"):
        kept = allocations(port, *coturn.credentials(life_s=2))
        async with kept as allocate:
            assert await allocate("203.0.113.9") == "allocated"
            await asyncio.sleep(3.5)
            client = kept.clients[0]
            request = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
            request.attributes["LIFETIME"] = 600
            response, _ = await client.request_with_retry(request)
            assert response.attributes["LIFETIME"] == 600
            await client.channel_bind(0x4001, ("203.0.113.10", 9))


@pytest.mark.platform("coturn")
@pytest.mark.parametrize(
    "peer", ["127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "224.0.0.251", "192.0.2.10", "203.0.113.9"]
)
async def test_the_shipped_configuration_relays_to_hosts_only(tmp_path: Path, peer: str) -> None:
    """The last one is where packets may go; `192.0.2.10` stands for the hub's own address, denied by a line of its
    own."""
    port = free_port()
    own = "--denied-peer-ip=192.0.2.10"
    username, password = coturn.credentials()
    with coturn.running(tmp_path, "127.0.0.1", port, own):
        async with allocations(port, username, password) as allocate:
            assert await allocate(peer) == ("allocated" if peer == "203.0.113.9" else "403")


class allocations:  # noqa: N801  (reads as a word where it is used)
    """Allocations that are kept until the end, with a channel to a peer if one is named; else the error's code."""

    def __init__(self, port: int, username: str, password: str) -> None:
        self.address = "127.0.0.1", port
        self.user = username, password
        self.clients: list[Any] = []

    async def __aenter__(self) -> Callable[..., Any]:
        return self.allocate

    async def allocate(self, peer: str | None = None) -> str:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_datagram_endpoint(
            lambda: turn.TurnClientUdpProtocol(self.address, *self.user, 600, 500), remote_addr=self.address
        )
        self.clients.append(client)
        try:
            async with asyncio.timeout(5):
                await client.connect()
                if peer is not None:
                    await client.channel_bind(0x4000, (peer, 9))
        except stun.TransactionFailed as error:
            return str(error.response.error_code)
        return "allocated"

    async def __aexit__(self, *_: object) -> None:
        for client in self.clients:
            client.transport.close() if client.relayed_address is None else await client.delete()
