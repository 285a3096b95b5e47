"""What ICE may use and how long it may take: addresses, silent servers, what was prepared, relays."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aioice import ice, stun

from intercomd.adapters.webrtc import WebRtcMedia, interfaces, peer, spare
from intercomd.adapters.webrtc import ice as webrtc_ice
from intercomd.core.vocabulary import IceServer
from intercomd.media.pcm import level_dbfs
from tests.contract.media_rig import MakePair, Pair, Station, connection_of
from tests.unit.sounds import speech

pytestmark = pytest.mark.platform("libopus")


async def test_loopback_is_offered_only_where_wanted_or_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def offered(**settings: Any) -> set[str]:
        station = Station(WebRtcMedia(**settings))
        station.media.start(1, True, ())
        sdp = (await station.listener.heard("described", 1)).sdp
        await station.close()
        return {line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate:")}

    monkeypatch.setattr(ice, "get_host_addresses", lambda **_: ["127.0.0.2"])
    assert await offered() == {"127.0.0.2"}
    assert await offered(allow_loopback=True) == {"127.0.0.1", "127.0.0.2"}
    monkeypatch.setattr(ice, "get_host_addresses", lambda **_: [])
    assert await offered() == {"127.0.0.1"}


def test_the_kernel_tells_which_interface_an_address_belongs_to() -> None:
    names = interfaces.interfaces()
    assert names["127.0.0.1"] == "lo"
    assert set(ice.get_host_addresses(use_ipv4=True, use_ipv6=True)) <= set(names)


NAMES = {"192.0.2.5": "eth0", "192.0.2.6": "wlan0", "172.17.0.1": "docker0", "2001:db8::5": "eth0"}


@pytest.mark.parametrize(
    ("wanted", "unwanted", "offered"),
    [
        ((), (), ["192.0.2.5", "192.0.2.6", "172.17.0.1", "2001:db8::5", "198.51.100.1"]),
        ((), ("docker*", "veth*"), ["192.0.2.5", "192.0.2.6", "2001:db8::5", "198.51.100.1"]),
        (("eth?",), ("docker*",), ["192.0.2.5", "2001:db8::5"]),
        (("docker0",), ("docker*",), ["172.17.0.1"]),
        (("usb0",), (), []),
    ],
)
def test_which_addresses_are_offered(wanted: tuple[str, ...], unwanted: tuple[str, ...], offered: list[str]) -> None:
    assert interfaces.offered([*NAMES, "198.51.100.1"], NAMES, wanted, unwanted) == offered


async def test_no_address_on_the_wanted_interfaces_is_a_loss_with_its_reason() -> None:
    station = Station(WebRtcMedia(interfaces=["usb0"]))
    station.media.start(1, True, ())
    assert "[ice]" in await station.listener.heard("lost", 1)
    await station.close()


async def test_two_stations_on_a_machine_without_any_network(
    pair_of: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ice, "get_host_addresses", lambda **_: [])
    pair = pair_of(allow_loopback=False)
    await pair.come_up()
    pair.caller.talk(speech(1, 48_000))
    pair.callee.talk(None)
    await asyncio.sleep(0.6)
    pair.caller.hush()
    assert level_dbfs(pair.callee.hush()) > -40


@contextmanager
def silent_server() -> Iterator[int]:
    """A UDP port that takes everything and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


async def test_silent_servers_cost_the_gather_limit_and_no_more(pair_of: MakePair) -> None:
    with silent_server() as port:
        servers = [
            IceServer([f"stun:127.0.0.1:{port}", "stun:127.0.0.1:9", "stuns:x", "nonsense"]),
            IceServer([f"turn:127.0.0.1:{port}", f"turn:127.0.0.1:{port}?transport=tcp"], "user", "secret"),
        ]
        pair = pair_of(gather_limit_s=0.3)
        begin_s = time.monotonic()
        pair.caller.media.start(1, True, servers)
        await pair.caller.listener.heard("described", 1)
        assert 0.25 < time.monotonic() - begin_s < 0.8


async def test_prepared_while_it_rings_a_silent_server_costs_nothing(pair_of: MakePair) -> None:
    with silent_server() as port:
        servers = [IceServer([f"stun:127.0.0.1:{port}"]), IceServer([f"turn:127.0.0.1:{port}"], "user", "secret")]
        pair = pair_of(gather_limit_s=0.4)
        for station in (pair.caller, pair.callee):
            station.media.prepare(servers)
        await asyncio.sleep(0.6)
        begin_s = time.monotonic()
        pair.callee.media.start(1, False, servers)
        pair.caller.media.start(1, True, servers)
        await pair.caller.listener.heard("described", 1)
        described_s = time.monotonic() - begin_s
        await pair.callee.listener.heard("up", 1)
        up_s = time.monotonic() - begin_s
        assert described_s < 0.1
        assert up_s < 0.35, "without preparation the two descriptions take 0.8 s"


async def test_described_in_the_middle_of_being_prepared(pair_of: MakePair) -> None:
    with silent_server() as port:
        servers = [IceServer([f"stun:127.0.0.1:{port}"])]
        pair = pair_of(gather_limit_s=0.4)
        pair.caller.media.prepare(servers)
        await asyncio.sleep(0.2)
        begin_s = time.monotonic()
        pair.caller.media.start(1, True, servers)
        sdp = (await pair.caller.listener.heard("described", 1)).sdp
        assert 0.1 < time.monotonic() - begin_s < 0.4
        assert "a=candidate:" in sdp


@pytest.mark.parametrize("change", ["servers", "network"])
async def test_prepared_for_something_else_is_not_used(
    pair: Pair, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.caller.media.prepare(())
    await asyncio.sleep(0.1)
    prepared = pair.caller.media._spare._peer  # type: ignore[attr-defined]
    if change == "network":
        monkeypatch.setattr(webrtc_ice, "get_host_addresses", lambda **_: ["127.0.0.7"])
    servers = [IceServer(["stun:127.0.0.1:9"])] if change == "servers" else []
    pair.caller.media.start(1, True, servers)
    assert pair.caller.media._current._peer is not prepared  # type: ignore[attr-defined]
    await pair.caller.media.close()
    assert prepared._pc.connectionState == "closed"


async def test_a_spare_is_made_anew_before_nats_forget_it_and_ends_by_itself() -> None:
    made: list[peer.Peer] = []
    media = WebRtcMedia(allow_loopback=True)

    def make() -> peer.Peer:
        made.append(media._peer([]))
        return made[-1]

    ahead = spare.Spare(0, make, lambda peer: media._in_background(peer.close()), fresh_s=0.1, limit_s=0.35)
    async with asyncio.timeout(5):
        await ahead._task
    assert len(made) in (4, 5)
    assert ahead.take() is None
    await media.close()
    assert {peer._pc.connectionState for peer in made} == {"closed"}


async def test_stop_in_the_middle_of_gathering_leaves_nothing(pair_of: MakePair) -> None:
    with silent_server() as port:
        pair = pair_of(gather_limit_s=0.5)
        server = IceServer([f"stun:127.0.0.1:{port}", f"turn:127.0.0.1:{port}"], "user", "secret")
        pair.caller.media.start(1, True, [server])
        await asyncio.sleep(0.1)
        pair.caller.media.stop()
        await pair.caller.media.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "candidate" in repr(task.get_coro())]
        assert pair.caller.listener.words == []


class _Turn(asyncio.DatagramProtocol):
    """A TURN server that grants one allocation and then falls silent."""

    transport: asyncio.DatagramTransport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        message = stun.parse_message(data)
        if message.message_method != stun.Method.ALLOCATE:
            return
        granted = stun.Message(message.message_method, stun.Class.RESPONSE, message.transaction_id)
        granted.attributes["LIFETIME"] = 600
        granted.attributes["XOR-MAPPED-ADDRESS"] = address
        granted.attributes["XOR-RELAYED-ADDRESS"] = ("203.0.113.5", 50_000)
        self.transport.sendto(bytes(granted), address)


async def test_relay_only_and_a_server_that_falls_silent() -> None:
    """Only the relayed address is told; and closing does not wait a minute for the server."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Turn, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    station = Station(WebRtcMedia(transport_policy="relay", allow_loopback=True))
    station.media.start(1, True, [IceServer([f"turn:127.0.0.1:{port}"], "user", "secret")])
    sdp = (await station.listener.heard("described", 1)).sdp
    candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate:")]
    assert len(candidates) == 1
    assert "203.0.113.5 50000 typ relay raddr 0.0.0.0" in candidates[0]
    (relayed,) = connection_of(station)._protocols
    way = relayed.transport._TurnTransport__inner_protocol.transport.get_extra_info("socket")
    assert way.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0xB8, "what goes to the relay is voice too"
    begin_s = time.monotonic()
    await station.close()
    assert time.monotonic() - begin_s < 2.0
    transport.close()


async def test_a_spare_whose_relay_falls_silent_is_given_up_in_time() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Turn, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    media = WebRtcMedia(allow_loopback=True)
    media.prepare([IceServer([f"turn:127.0.0.1:{port}"], "user", "secret")])
    await asyncio.sleep(0.2)
    begin_s = time.monotonic()
    media.stop()
    assert time.monotonic() - begin_s < 0.1
    await media.close()
    assert time.monotonic() - begin_s < 2.0
    transport.close()


async def test_relay_only_without_a_relay_is_a_loss_with_its_reason() -> None:
    station = Station(WebRtcMedia(transport_policy="relay", allow_loopback=True))
    station.media.start(1, True, ())
    assert "TURN" in await station.listener.heard("lost", 1)
    await station.close()
    assert station.listener.of(1) == ["lost"]
