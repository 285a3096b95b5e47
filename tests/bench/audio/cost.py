"""What the audio of one end of a call costs, in processor time per second of sound: all from a captured period to the
Opus packet that is sent, and from an arrived packet to the period that is played, with all voice processing, beside
what stock aiortc does for the same. Not in it: RTP and SRTP, the event loop, the card (`make bench` has the live call).

Ours and stock in turns in one process, by its processor time (all threads); nothing else runs meanwhile.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, cast

import numpy as np
from aiortc.codecs.opus import OpusDecoder, OpusEncoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket
from av import AudioFrame
from av.audio.resampler import AudioResampler

from intercomd.media.near_end import SentVoice
from intercomd.media.packet import Packet
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm
from intercomd.media.periods import split
from intercomd.media.processing import Switches
from intercomd.media.voice import ReceivedVoice
from tests.bench.audio import talkers
from tests.bench.audio.cancellers import Ours
from tests.bench.audio.echo import opened
from tests.bench.audio.measured import Measured
from tests.bench.audio.rehearsal import scene
from tests.bench.audio.rooms import SCORING
from tests.bench.audio.simulation import encoded, stock_encoded, stock_frame
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, row

TURN_S: Final = 10.0
TURNS: Final = 5

Turn = Callable[[], None]


def ours(microphone: Pcm, far: list[bytes], switches: Switches | None) -> Iterator[None]:
    """One end, `TURN_S` a step."""
    processing = Ours(switches) if switches is not None else None
    now_s = 100.0
    received, sent = ReceivedVoice(now_s=lambda: now_s), SentVoice()
    sent.start(lambda: None)
    periods, payloads, index = microphone.reshape(-1, PERIOD_FRAMES), deque(far), 0
    while True:
        for _ in range(round(TURN_S * 100)):
            if index % 2 == 0:
                payload = payloads[0]
                payloads.rotate(-1)
                received.deliver(Packet(index // 2 & 0xFFFF, index * PERIOD_FRAMES, 1, payload, now_s))
            played, captured = received.pull(), periods[index % len(periods)]
            if processing is not None:
                processing.play(played)
                captured = processing.hear(captured)
            sent.push(captured)
            sent.take()
            index, now_s = index + 1, now_s + 0.01
        yield


def stock(microphone: Pcm, far: list[bytes]) -> Iterator[None]:
    """As aiortc's sender and receiver call their parts, and an example's player behind them."""
    encoder, buffer, decoder = OpusEncoder(), JitterBuffer(capacity=16, prefetch=4), OpusDecoder()
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    pieces, payloads, index = microphone.reshape(-1, 2 * PERIOD_FRAMES), deque(far), 0
    rest, waiting = SILENCE[:0], deque[Pcm]()
    while True:
        for _ in range(round(TURN_S * 50)):
            encoder.encode(stock_frame(pieces[index % len(pieces)], index * 2 * PERIOD_FRAMES))
            packet = RtpPacket(sequence_number=index & 0xFFFF, timestamp=index * 2 * PERIOD_FRAMES, ssrc=1)
            packet._data = payloads[0]  # type: ignore[attr-defined]
            payloads.rotate(-1)
            _, arrived = buffer.add(packet)
            for one in decoder.decode(arrived) if arrived is not None else ():
                for mono in resampler.resample(cast(AudioFrame, one)):
                    made, rest = split(mono.to_ndarray()[0], rest)
                    waiting.extend(made)
            for _ in range(2):
                if waiting:
                    waiting.popleft()
            index += 1
        yield


def measured(_: None) -> dict[str, list[float]]:
    """Percent of a core, of each turn."""
    said = talkers.talk(1, TURN_S).copy()
    said[: len(said) // 2] = 0
    heard = scene(SCORING[1], opened(0, TURN_S))
    microphone = np.clip(heard.microphone.astype(np.int32) + said // 4, -32768, 32767).astype(np.int16)
    far, theirs = encoded(heard.played), stock_encoded(heard.played)
    ends = {
        "everything on": ours(microphone, far, Switches()),
        "processing off": ours(microphone, far, None),
        "stock": stock(microphone, theirs),
    }
    costs: dict[str, list[float]] = {name: [] for name in ends}
    for turn in range(TURNS + 1):
        for name, end in ends.items():
            began_s = time.process_time()
            next(end)
            if turn:  # the first one loads and converges
                costs[name].append((time.process_time() - began_s) / TURN_S * 100)
    return costs


async def cpu() -> Measured:
    """In a process of its own."""
    costs = (await spread("cpu", measured, [None]))[0]
    medians = {name: statistics.median(found) for name, found in costs.items()}
    peer = Peer("stock aiortc", medians["stock"])
    told = (
        f"median of {TURNS} turns of {TURN_S:.0f} s, in which the far end speaks and the near end half of the time; "
        "capture → Opus and packet → playout, without RTP, SRTP, event loop and card"
    )
    what = "processor for one end's audio, "
    rows = [
        row(what + name, medians[name], "% of a core", peer, at_most_peer=True, reason=told)
        for name in ("everything on", "processing off")
    ]
    return Measured(rows, {"percent_of_a_core": costs})
