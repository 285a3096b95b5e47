"""Packets that nobody meant well with, for the receive buffer."""

import numpy as np

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.jitter import Play
from intercomd.media.packet import Packet

MOST_WAITING = 96


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
