"""What a station sends in a live call: packets that never stop, of any length, marked as voice."""

import asyncio
import socket
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from aioice import ice

from intercomd.media import epoch
from intercomd.media.near_end import SentVoice
from intercomd.media.packet import duration_frames
from intercomd.media.sending import Report
from tests.contract.media_rig import LIMIT_S, MakePair, Pair, Station, connection_of
from tests.unit.sounds import SAME_VOICE, likeness, speech

pytestmark = pytest.mark.platform("libopus")


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


def packets_to(station: Station) -> list[tuple[int, int]]:
    """Of what comes in from now on: the RTP timestamp, and how many frames the packet holds."""
    came: list[tuple[int, int]] = []
    sink = station.media._current._peer._sink  # type: ignore[attr-defined]
    add = sink.add

    def noting(packet: Any) -> Any:
        came.append((packet.timestamp, duration_frames(packet._data)))
        return add(packet)

    sink.add = noting
    return came


async def test_packets_become_shorter_and_longer_in_a_live_call(
    pair_of: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RTP timestamps advance by what each packet holds, and what is said is heard."""
    monkeypatch.setattr(epoch.Epoch, "_report", lambda _: None)  # of a busy machine: it would ask for long packets
    pair = pair_of(frame_ms="auto")
    await pair.come_up()
    came, sent = packets_to(pair.callee), pair.caller.media.sink
    assert isinstance(sent, SentVoice)
    voice = speech(1, 300_000)
    pair.caller.talk(voice)
    pair.callee.talk(None)
    await asyncio.sleep(1.0)
    for _ in range(15):
        sent.report(Report(0.0, 0.001, 0.001, 0.1, takes_short=True))
    await asyncio.sleep(2.0)
    sent.report(Report(loss=0.05))
    await asyncio.sleep(2.0)
    heard = pair.callee.hush()
    pair.caller.hush()
    lengths = [frames for _, frames in came]
    assert sorted(set(lengths)) == [480, 960]
    assert sum(one != other for one, other in pairwise(lengths)) == 2
    assert lengths.count(480) > 100
    steps = [(later - stamp) & 0xFFFFFFFF for (stamp, _), (later, _) in pairwise(came)]
    in_time = sum(step == frames for step, frames in zip(steps, lengths, strict=False))
    assert in_time >= 0.9 * len(steps)  # more only on a busy machine
    assert all(step >= frames for step, frames in zip(steps, lengths, strict=False))
    assert likeness(voice[12_000:180_000], heard) > SAME_VOICE


async def test_a_live_calls_own_reports_reach_the_sending_side(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, round trip and jitter come by RTCP; that the peer takes short packets, by its description."""
    told: list[Report] = []
    monkeypatch.setattr(SentVoice, "report", lambda _, report: told.append(report))
    await pair.come_up()
    async with asyncio.timeout(LIMIT_S):
        while not any(report.round_trip_s is not None for report in told):
            await asyncio.sleep(0.1)
    found = next(report for report in told if report.round_trip_s is not None)
    assert found.loss == 0.0
    assert found.round_trip_s is not None
    assert 0.0 <= found.round_trip_s < 0.2
    assert found.jitter_s is not None
    assert found.cpu_ratio is not None
    assert found.takes_short


async def test_while_nobody_speaks_almost_nothing_is_sent_and_nobody_is_missed(pair_of: MakePair) -> None:
    """DTX for longer than the watchdog waits; the first word afterwards is heard."""
    pair = pair_of(dtx=True, silent_s=0.5, lost_s=1.5)
    await pair.come_up()
    voice = speech(1, 72_000)
    pair.callee.talk(None)
    pair.caller.talk(np.concatenate((voice[:24_000], np.zeros(168_000, np.int16), voice)))
    await asyncio.sleep(1.5)
    came = packets_to(pair.callee)
    await asyncio.sleep(2.0)
    quiet = len(came)
    await asyncio.sleep(2.2)
    heard = pair.callee.hush()
    pair.caller.hush()
    assert 2 <= quiet <= 25, f"{quiet} packets in 2 s"
    assert pair.callee.listener.of(1) == ["described", "up"]
    assert likeness(voice[:60_000], heard) > SAME_VOICE


@pytest.mark.platform("netns")
async def test_the_kernel_sends_voice_marked(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a raw socket beside the callee's sees the packets come in: EF in the IP header (RFC 791's TOS byte)."""
    monkeypatch.setattr(ice, "get_host_addresses", lambda **_: ["127.0.0.1"])
    await pair.come_up()
    sockets = [protocol.transport.get_extra_info("socket") for protocol in connection_of(pair.callee)._protocols]
    ports = {sock.getsockname()[1] for sock in sockets}
    marks: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.setblocking(False)
        async with asyncio.timeout(LIMIT_S):
            while len(marks) < 10:
                packet = await asyncio.get_running_loop().sock_recv(raw, 2048)
                udp = packet[(packet[0] & 15) * 4 :]
                if int.from_bytes(udp[2:4]) in ports and 128 <= udp[8] < 192:  # RTP or RTCP (RFC 7983 section 7)
                    marks.append(packet[1])
    assert marks == [0xB8] * 10
