"""What holds for aiortc alone: its two hooks, its traps, and the private parts that the adapter goes through. This is
what has to pass before another aiortc is taken."""

import asyncio
import gc
import time
import weakref
from typing import Any

import numpy as np
import pytest
from aioice import ice, stun
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtpPacket

from intercomd.adapters.webrtc import WebRtcMedia, peer, seam_intact, sound
from intercomd.adapters.webrtc import ice as webrtc_ice
from intercomd.core.vocabulary import Candidate, Sdp
from intercomd.media.epoch import Silent
from tests.contract.media_rig import MakePair, Pair, Station, connection_of, peer_connection_of
from tests.unit.sounds import SAME_VOICE, best_alignment, likeness, speech

pytestmark = pytest.mark.platform("libopus")


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


# ----------------------------------------------------------------------------------------------- the end, the peer


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
