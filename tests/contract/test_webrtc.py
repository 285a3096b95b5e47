"""What holds for aiortc alone: its two hooks, its traps, and the private parts that the adapter goes through. This is
what has to pass before another aiortc is taken."""

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from aioice import ice, stun
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket

from intercomd.adapters.webrtc import WebRtcMedia, interfaces, peer, seam_intact, sound, spare
from intercomd.adapters.webrtc import ice as webrtc_ice
from intercomd.core.protocol import Candidate, IceServer, Sdp
from intercomd.media.epoch import Silent
from intercomd.media.pcm import level_dbfs
from tests.contract.media_rig import Pair, RealKind, Station
from tests.unit.sounds import SAME_VOICE, best_alignment, likeness, speech

pytestmark = pytest.mark.platform("libopus")

MakePair = Callable[..., Pair]


@pytest.fixture
async def pair_of(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakePair]:
    kind, pairs = RealKind(monkeypatch), []

    def make(**settings: object) -> Pair:
        pairs.append(Pair(kind, **settings))
        return pairs[-1]

    yield make
    for pair in pairs:
        await pair.close()


@pytest.fixture
def pair(pair_of: MakePair) -> Pair:
    return pair_of()


def connection_of(station: Station) -> Any:
    """aioice's."""
    return station.media._current._peer._connection()  # type: ignore[attr-defined]


def peer_connection_of(station: Station) -> RTCPeerConnection:
    return station.media._current._peer._pc  # type: ignore[attr-defined, no-any-return]


# ---------------------------------------------------------------------------------------------------------- the seam


async def test_the_seam_is_there_and_is_the_way_that_packets_go(pair: Pair) -> None:
    assert seam_intact()
    await pair.come_up()
    pair.callee.talk(None)
    await asyncio.sleep(0.3)
    pair.callee.hush()
    assert pair.callee.media._received.counts.received > 5  # type: ignore[attr-defined]


async def test_without_the_seam_the_stock_track_is_heard(pair_of: MakePair, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sound, peer):
        monkeypatch.setattr(module, "SEAM", "_RTCRtpReceiver__moved_elsewhere")
    assert not seam_intact()
    pair = pair_of()
    await pair.come_up()
    voice = speech(1, 120_000)
    pair.caller.talk(voice)
    pair.callee.talk(None)
    await asyncio.sleep(2.0)
    heard = pair.callee.hush()
    pair.caller.hush()
    assert pair.callee.listener.of(1) == ["described", "up"]
    assert likeness(voice[12_000:72_000], heard) > SAME_VOICE


async def test_an_empty_packet_does_not_end_reception(pair: Pair) -> None:
    """One RTP packet without payload ends the stock decoder for good, and the state stays `connected`."""
    await pair.come_up()
    voice = speech(1, 100_000)
    pair.caller.talk(voice)
    pair.callee.talk(None)
    sender = peer_connection_of(pair.caller).getSenders()[0]
    for number in range(3):
        await asyncio.sleep(0.1)
        packet = RtpPacket(payload_type=96, sequence_number=number, timestamp=number * 960)
        packet.ssrc = 4711
        await sender.transport._send_rtp(packet.serialize())
    await asyncio.sleep(1.5)
    heard = pair.callee.hush()
    pair.caller.hush()
    assert likeness(voice[24_000:60_000], heard) > SAME_VOICE
    assert pair.callee.media._received.counts.unusable == 3  # type: ignore[attr-defined]


async def test_a_stall_of_the_event_loop_leaves_no_delay(pair: Pair) -> None:
    await pair.come_up()
    voice = speech(1, 300_000)
    pair.caller.talk(voice)
    pair.callee.talk(None)
    await asyncio.sleep(1.2)
    time.sleep(0.5)
    await asyncio.sleep(3.0)
    heard = pair.callee.hush()
    pair.caller.hush()
    delays = [best_alignment(voice[at : at + 12_000], heard)[0] - at for at in (12_000, 24_000, 150_000, 165_000)]
    more_ms = (min(delays[2:]) - min(delays[:2])) / 48
    assert more_ms <= 45, f"{more_ms} ms more than before the stall of 500 ms"


# ------------------------------------------------------------------------------------------------------ the near end


async def test_timestamps_grow_and_packets_never_stop(pair: Pair) -> None:
    """Microphone closed, open, closed: one packet in 20 ms all the time, timestamps never go back."""
    stamps: list[int] = []
    await pair.come_up()
    sink = pair.callee.media._current._peer._sink  # type: ignore[attr-defined]
    add = sink.add

    def noting(packet: Any) -> Any:
        stamps.append(packet.timestamp)
        return add(packet)

    sink.add = noting
    await asyncio.sleep(0.5)
    pair.caller.talk(speech(1, 48_000))
    await asyncio.sleep(0.5)
    pair.caller.hush()
    await asyncio.sleep(0.5)
    steps = [((later - earlier) & 0xFFFFFFFF) / 960 for earlier, later in pairwise(stamps)]
    assert len(stamps) >= 55
    # The pause before silence takes over is two frames; more only on a busy machine.
    assert all(step == int(step) and 1 <= step <= 20 for step in steps), steps
    assert sum(step == 1 for step in steps) >= len(steps) * 0.9


@pytest.mark.parametrize("frame_ms", [10, 20])
async def test_frame_length(pair_of: MakePair, frame_ms: int) -> None:
    pair = pair_of(frame_ms=frame_ms)
    await pair.come_up()
    voice = speech(1, 160_000)
    pair.caller.talk(voice)
    pair.callee.talk(None)
    await asyncio.sleep(3.2)
    heard = pair.callee.hush()
    pair.caller.hush()
    assert likeness(voice[12_000:132_000], heard) > SAME_VOICE


# ------------------------------------------------------------------------------------------------------ descriptions


async def test_both_descriptions_ask_for_error_correction_and_offer_opus_only(pair: Pair) -> None:
    await pair.come_up()
    for station in (pair.caller, pair.callee):
        sdp = (await station.listener.heard("described", 1)).sdp
        assert "minptime=10;useinbandfec=1" in sdp
        assert sdp.count("a=rtpmap:") == 1
        assert "opus/48000/2" in sdp
        assert "typ srflx" not in sdp


async def test_an_offer_with_only_local_names_connects_all_the_same(pair: Pair) -> None:
    """As a browser hides its addresses: stock aiortc waits for ever. The caller's checks reveal its address."""

    def hidden(epoch: int, sdp: Sdp) -> None:
        lines = [line for line in sdp.sdp.splitlines() if not line.startswith("a=candidate:")]
        name = "a=candidate:1 1 udp 2113937151 0b1c2d3e-0000-4000-8000-123456789abc.local 50000 typ host"
        lines.insert(lines.index("a=end-of-candidates"), name)
        pair.callee.media.apply(epoch, Sdp(sdp.type, "\r\n".join(lines) + "\r\n"))

    pair.caller.listener.on_described = hidden
    begin_s = time.monotonic()
    await pair.come_up()
    assert time.monotonic() - begin_s < 2.0


async def test_unusable_candidates_are_passed_over(pair: Pair) -> None:
    await pair.come_up()
    for text in ("", "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active", "candidate:x", "\x00"):
        pair.callee.media.add_candidate(1, Candidate(text, "0", 0))
    pair.callee.media.add_candidate(1, Candidate("candidate:9 1 udp 1 192.0.2.77 9 typ host", None, None))
    pair.callee.media.add_candidate(1, None)
    await asyncio.sleep(0.3)
    assert pair.callee.listener.of(1) == ["described", "up"]


class _Recording:
    """A stock aiortc peer that offers what a browser might: audio, video and a data channel."""

    def __init__(self) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames: list[np.ndarray[Any, Any]] = []
        self.pc.addTrack(AudioStreamTrack())
        self.pc.addTransceiver("video", direction="sendrecv")
        self.pc.createDataChannel("x")
        self.pc.on("track", self._hear)
        self.task: asyncio.Task[None] | None = None

    def _hear(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self.task = asyncio.ensure_future(self._record(track))

    async def _record(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame: Any = await track.recv()
                self.frames.append(frame.to_ndarray()[0][::2])
        except MediaStreamError:
            return


async def test_a_stock_peer_with_video_and_data_gets_audio_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    station, peer = Station(WebRtcMedia(allow_loopback=True)), _Recording()
    await peer.pc.setLocalDescription(await peer.pc.createOffer())
    station.media.start(1, False, ())
    station.media.apply(1, Sdp("offer", peer.pc.localDescription.sdp))
    answer = await station.listener.heard("described", 1)
    await peer.pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    await station.listener.heard("up", 1)
    voice = speech(1, 96_000)
    station.talk(voice)
    await asyncio.sleep(1.8)
    station.hush()
    video = answer.sdp[answer.sdp.index("m=video") :]
    await peer.pc.close()
    assert peer.task is not None
    await peer.task
    await station.close()
    assert "a=inactive" in video.split("m=application")[0]
    assert likeness(voice[20_000:60_000], np.concatenate(peer.frames).astype(np.int16)) > SAME_VOICE


# --------------------------------------------------------------------------------------------------------------- ICE


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


async def test_packets_are_marked_as_voice(pair: Pair) -> None:
    await pair.come_up()
    for station in (pair.caller, pair.callee):
        sockets = [p.transport.get_extra_info("socket") for p in connection_of(station)._protocols]
        assert sockets
        for sock in sockets:
            if sock.family == socket.AF_INET:
                assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0xB8
            else:
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 0xB8


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


async def test_nothing_but_cycles_keeps_a_closed_connection(pair: Pair) -> None:
    """aiortc's objects hold each other; the station collects after each call, and then all of it must go."""
    await pair.come_up()
    gone = [weakref.ref(peer_connection_of(station)) for station in (pair.caller, pair.callee)]
    for station in (pair.caller, pair.callee):
        station.media.stop()
        await station.media.close()
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


async def test_a_word_under_way_at_stop_is_not_delivered(pair: Pair) -> None:
    await pair.come_up()
    media: Any = pair.caller.media
    media._tell(media._current, Silent())
    media.stop()
    await asyncio.sleep(0.05)
    assert pair.caller.listener.of(1) == ["described", "up"]


async def test_the_peers_process_dies(pair_of: MakePair) -> None:
    """No goodbye at all, as after a kill: the watchdog alone tells."""
    pair = pair_of(silent_s=0.3, lost_s=0.8)
    await pair.come_up()
    await asyncio.sleep(0.2)
    pair.kind.hold(pair.callee.media, True)
    pair.callee.media.stop()
    assert "no packet" in await pair.caller.listener.heard("lost", 1)
    assert pair.caller.listener.of(1) == ["described", "up", "silent", "lost"]


async def test_a_browsers_restart_offer_is_answered_by_a_new_connection(pair: Pair) -> None:
    """An offer with another ufrag under the running epoch (RFC 8839 section 4.4.1.1.1). The old connection would answer
    with its old ufrag, and nothing would move; a new one under the same epoch answers with its own, and comes up."""
    await pair.come_up()
    first = await pair.callee.listener.heard("described", 1)
    old_connection = connection_of(pair.callee)
    pair.callee.listener.on_described = lambda *_: None
    pair.caller.listener.on_described = lambda *_: None
    pair.caller.media.start(1, True, ())
    restart = await pair.caller.listener.heard("described", 1, times=2)
    pair.callee.media.start(1, False, ())
    pair.callee.media.apply(1, restart)
    second = await pair.callee.listener.heard("described", 1, times=2)
    assert ufrag(second) != ufrag(first)
    assert ufrag(restart) != ufrag(await pair.caller.listener.heard("described", 1))
    assert connection_of(pair.callee) is not old_connection
    pair.caller.media.apply(1, second)
    await pair.callee.listener.heard("up", 1, times=2)
    await pair.caller.listener.heard("up", 1, times=2)


def ufrag(sdp: Sdp) -> str:
    return next(line for line in sdp.sdp.splitlines() if line.startswith("a=ice-ufrag:"))


async def test_the_peers_checks_of_consent_and_our_own_address_are_seen(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through two private parts of aioice: without the one a peer that says little is taken for lost too soon, without
    the other a call is rebuilt late after a roam."""
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.1)
    assert pair.caller.media.local_address is None  # type: ignore[attr-defined]
    await pair.come_up()
    seen = pair.callee.media._current._peer  # type: ignore[attr-defined]
    before = seen.checks
    async with asyncio.timeout(5):
        while seen.checks < before + 3:
            await asyncio.sleep(0.02)
    assert pair.caller.media.local_address in (*webrtc_ice.local_addresses(), "127.0.0.1")  # type: ignore[attr-defined]
    pair.caller.media.stop()
    assert pair.caller.media.local_address is None  # type: ignore[attr-defined]


async def test_a_strangers_check_counts_for_nothing(pair: Pair) -> None:
    await pair.come_up()
    connection, seen = connection_of(pair.callee), pair.callee.media._current._peer  # type: ignore[attr-defined]
    before = seen.checks
    protocol = connection._protocols[0]
    unsigned = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    forged = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    forged.attributes["USERNAME"] = f"{connection.local_username}:x"
    forged.add_message_integrity(b"a guess")
    for message in (unsigned, forged):
        protocol.datagram_received(bytes(message), ("127.0.0.1", 9))
    assert seen.checks == before
