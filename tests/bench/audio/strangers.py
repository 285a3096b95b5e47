"""Packets that nobody meant well with, for the receive buffer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import psutil

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.jitter import Play
from intercomd.media.packet import Packet
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ
from intercomd.media.voice import ReceivedVoice
from tests.bench.audio.measured import Measured
from tests.bench.audio.simulation import packets as talk
from tests.bench.audio.simulation import speech
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, row
from tests.unit.sounds import best_alignment

MOST_WAITING: Final = 96
PACKETS: Final = 1_000_000
SEEDS: Final = 4
TALK_S: Final = 4.0
HEARD_FROM_S: Final = 1.0
MOST_GROWN_MB: Final = 2.0


def flooded(packets: int, seed: int) -> AdaptiveBuffer:
    """A buffer after so many packets of any bytes, order, timestamps and streams, from which periods were taken all the
    while. AssertionError if it grows."""
    dice = np.random.default_rng(seed)
    buffer, now_s = AdaptiveBuffer(), 100.0
    payloads = [dice.bytes(int(length)) for length in dice.integers(0, 60, 256)]
    sequences, timestamps = dice.integers(0, 2**16, packets), dice.integers(0, 2**32, packets)
    kinds, streams, chosen = (dice.integers(0, most, packets) for most in (9, 3000, 256))
    for index in range(packets):
        in_order = kinds[index] > 3
        buffer.put(
            Packet(
                index & 0xFFFF if in_order else int(sequences[index]),
                index * 960 & 0xFFFF_FFFF if in_order else int(timestamps[index]),
                int(streams[index] == 0),
                payloads[chosen[index]],
                now_s - float(kinds[index]) / 100,
            )
        )
        if kinds[index] % 2:
            buffer.decide(now_s, int(chosen[index]))
            now_s += 0.01
        assert len(buffer._order) == len(buffer._waiting) <= MOST_WAITING
    return buffer


def plays_after(buffer: AdaptiveBuffer) -> bool:
    """Whether an ordinary stream is heard after all that."""
    heard = False
    for index in range(200):
        now_s = 10_000_000.0 + index * 0.02
        buffer.put(Packet(index, index * 960, 7, b"\x08\x00\x00\x00", now_s))
        heard = isinstance(buffer.decide(now_s + 0.004), Play)
    return heard


# ------------------------------------------------------------------------------------------------- the whole way


@dataclass(frozen=True, slots=True)
class Flood:
    """After so many packets to `ReceivedVoice`: how many waited at most in the hand-over and in the buffer, what was
    undecodable, by how much the process grew since the first tenth, and how much what is heard a second later is like
    what a talker then says."""

    waiting: int
    undecodable: int
    grown_bytes: int
    likeness: float


def overwhelmed(job: tuple[int, int]) -> Flood:
    """So many packets by this seed; a period is taken after every second one. Whatever it raises goes to the caller."""
    packets, seed = job
    dice, time_s = np.random.default_rng(seed), 100.0
    buffer = AdaptiveBuffer()
    voice = ReceivedVoice(buffer, now_s=lambda: time_s)
    most = first_bytes = 0
    for index, packet in enumerate(_strange(packets, dice)):
        voice.deliver(replace(packet, arrived_s=time_s - packet.arrived_s))
        if index % 2:
            assert voice.pull().shape == (PERIOD_FRAMES,)
            time_s += 0.01
        most = max(most, len(voice._packets), len(buffer._waiting))
        if index == packets // 10:
            first_bytes = psutil.Process().memory_info().rss
    grown_bytes = psutil.Process().memory_info().rss - first_bytes
    heard = []
    for index, payload in enumerate(talk(TALK_S)):
        voice.deliver(Packet(index & 0xFFFF, index * 960, 7, payload, time_s))
        heard += [voice.pull(), voice.pull()]
        time_s += 0.02
    begin = round(HEARD_FROM_S * RATE_HZ)
    said = speech(TALK_S)[begin:-RATE_HZ]
    _, likeness = best_alignment(said, np.concatenate(heard)[begin:])
    voice.close()
    return Flood(most, voice.undecodable, grown_bytes, likeness)


def _strange(packets: int, dice: np.random.Generator) -> Iterator[Packet]:
    """`arrived_s` is how long ago; half of them stand in a row, so that something is decoded."""
    kinds, streams = dice.integers(0, 9, packets), dice.integers(0, 2000, packets)
    sequences, timestamps = dice.integers(0, 2**16, packets), dice.integers(0, 2**32, packets)
    lengths, at = dice.integers(0, 60, packets), 0
    noise = dice.bytes(2**20)
    for index in range(packets):
        in_order, at = kinds[index] > 3, (at + 61) % (2**20 - 60)
        yield Packet(
            index & 0xFFFF if in_order else int(sequences[index]),
            index * 960 & 0xFFFF_FFFF if in_order else int(timestamps[index]),
            int(streams[index] == 0),
            noise[at : at + int(lengths[index])],
            float(kinds[index]) / 100,
        )


async def strangers() -> Measured:
    """A million of them, by four seeds."""
    jobs = [(PACKETS // SEEDS, seed) for seed in range(1, SEEDS + 1)]
    floods = await spread("strangers", overwhelmed, jobs)
    nobody = Peer(None, reason="stock aiortc: one packet with an empty payload ends its reception for good")
    undecodable = sum(flood.undecodable for flood in floods)
    told = f"{PACKETS} packets of any bytes, order, timestamp and stream, {undecodable} that libopus refused"
    waiting = max(flood.waiting for flood in floods)
    grown_mb = max(flood.grown_bytes for flood in floods) / 1e6
    return Measured([
        row("a million arbitrary packets: wait in any queue, at most", waiting, "packets", nobody,
            at_most=MOST_WAITING, reason=told),
        row("a million arbitrary packets: memory grown", grown_mb, "MB", nobody, at_most=MOST_GROWN_MB,
            reason=f"the worst of {SEEDS} processes, from a tenth of its packets to all"),
        row("a million arbitrary packets: a talker afterwards is heard, correlation",
            min(flood.likeness for flood in floods), "", nobody, at_least=0.6, reason="from 1 s after the last"),
    ])  # fmt: skip
