"""Voice from one station to another without a network, a card or a clock: encoded, sent along a trace, buffered,
decoded and played out period by period, a minute of it within a second. The same seed gives the same minute."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Final, Protocol

import numpy as np
from aiortc.codecs.opus import OpusEncoder
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket
from av import AudioFrame

from intercomd.demo.listen import read_wav
from intercomd.demo.sound import sentence
from intercomd.media.jitter import Counts, Decision, Play, ReceiveBuffer, Recover, Silence
from intercomd.media.near_end import SentVoice
from intercomd.media.opus import Decoder
from intercomd.media.packet import Packet, duration_frames
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm
from intercomd.media.sending import PacketMs, Report
from intercomd.media.voice import ReceivedVoice
from tests.bench.audio.traces import Times, Trace

_BEGAN_S: Final = 1000.0
"""Monotonic clocks do not begin at 0."""
_FIRST_TIMESTAMP: Final = 0xFFFF_0000
"""So that each run crosses the wrap."""
_REPORTS: Final = 20
"""More than it takes to believe that a path is clean."""
_STOCK_CAPACITY, _STOCK_PREFETCH = 16, 4
"""What aiortc's receiver uses for audio."""


@cache
def speech(seconds: float, voice: int = 0) -> Pcm:
    """Sentences with their pauses, over and over."""
    once = np.concatenate((read_wav(sentence(voice)), np.zeros(RATE_HZ // 2, np.int16)))
    return np.resize(once, round(seconds * RATE_HZ))


@cache
def packets(seconds: float, voice: int = 0, frame_ms: PacketMs = 20) -> list[bytes]:
    return encoded(speech(seconds, voice), frame_ms)


def encoded(sound: Pcm, frame_ms: PacketMs = 20, loss: float | None = None) -> list[bytes]:
    """As a station sends it before anything is reported, or to a peer that has been reporting this `loss`."""
    sent, payloads = SentVoice(frame_ms=frame_ms), list[bytes]()

    def wake() -> None:
        frame = sent.take()
        assert frame is not None
        payloads.append(frame.payload or b"")

    sent.start(wake)
    for _ in range(_REPORTS if loss is not None else 0):
        sent.report(Report(loss or 0.0))
    for begin in range(0, len(sound) - PERIOD_FRAMES + 1, PERIOD_FRAMES):
        sent.push(sound[begin : begin + PERIOD_FRAMES])
    sent.close()
    return payloads


def stock_frame(sound: Pcm, pts: int) -> AudioFrame:
    """20 ms, as a track hands them to stock aiortc."""
    frame = AudioFrame(format="s16", layout="mono", samples=len(sound))
    frame.planes[0].update(sound.tobytes())
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, pts, Fraction(1, RATE_HZ)
    return frame


def stock_encoded(sound: Pcm) -> list[bytes]:
    """As stock aiortc sends it: stereo, 96 kbit/s asked for, no error correction."""
    encoder, frames = OpusEncoder(), 2 * PERIOD_FRAMES
    begins = range(0, len(sound) - frames + 1, frames)
    return [payload for at in begins for payload in encoder.encode(stock_frame(sound[at : at + frames], at))[0]]


@dataclass(slots=True)
class Heard:
    """What came out. `lags`: for each packet that was heard, when it was asked for and how long after its first frame
    was spoken its first frame is heard (without the codec's own look-ahead), both in seconds. `stretches`: how often
    voice was lengthened or shortened where that is not heard; `hurried`: where it might be."""

    pcm: Pcm = field(default_factory=lambda: SILENCE[:0])
    lags: list[tuple[float, float]] = field(default_factory=list)
    silent_ticks: int = 0
    stretches: int = 0
    hurried: int = 0
    counts: Counts = field(default_factory=Counts)

    def lag_ms(self, percentile: float, after_s: float = 0.0, until_s: float = 1e9) -> float:
        chosen = [lag_s for at_s, lag_s in self.lags if after_s <= at_s < until_s]
        return float(np.percentile(chosen, percentile)) * 1000 if chosen else float("nan")

    def mean_lag_ms(self, after_s: float = 0.0, until_s: float = 1e9) -> float:
        chosen = [lag_s for at_s, lag_s in self.lags if after_s <= at_s < until_s]
        return float(np.mean(chosen)) * 1000 if chosen else float("nan")

    @property
    def concealed_share(self) -> float:
        counts = self.counts
        missing = counts.concealed_frames + counts.silent_frames
        heard = counts.played_frames + counts.recovered_frames + missing
        return missing / heard if heard else 1.0

    @property
    def delivered_share(self) -> float:
        """Of what was heard: as the sender meant it, error correction included."""
        return 1 - self.concealed_share


class Receiver(Protocol):
    """Packets in, periods out."""

    def deliver(self, packet: Packet) -> None: ...

    def pull(self, now_s: float) -> Pcm: ...

    def result(self) -> Heard: ...


class _Watched:
    """A buffer whose decisions are noted."""

    def __init__(self, buffer: ReceiveBuffer, heard: Heard) -> None:
        self._buffer, self._heard, self._hurries = buffer, heard, False

    def __getattr__(self, name: str) -> object:
        return getattr(self._buffer, name)

    def decide(self, now_s: float, ahead_frames: int, /) -> Decision:
        decision = self._buffer.decide(now_s, ahead_frames)
        self._hurries = isinstance(decision, Play) and decision.hurry
        if isinstance(decision, Play | Recover):
            end = self._buffer._next - (0 if isinstance(decision, Recover) else decision.frames)
            begin = end - (decision.frames if isinstance(decision, Recover) else 0)
            frames = (begin - _FIRST_TIMESTAMP) & 0xFFFF_FFFF
            heard_s = now_s + ahead_frames / RATE_HZ - _BEGAN_S
            self._heard.lags.append((heard_s, heard_s - frames / RATE_HZ))
        elif isinstance(decision, Silence) and self._heard.lags:
            self._heard.silent_ticks += 1
        return decision

    def stretched(self, frames: int) -> None:
        self._buffer.stretched(frames)
        if self._hurries:
            self._heard.hurried += 1
        else:
            self._heard.stretches += 1


class Ours:
    """`ReceivedVoice` around any buffer."""

    def __init__(self, buffer: ReceiveBuffer) -> None:
        self._heard = Heard()
        self._now_s = _BEGAN_S
        self._buffer = buffer
        self._voice = ReceivedVoice(_Watched(buffer, self._heard), now_s=lambda: self._now_s)  # type: ignore[arg-type]

    def deliver(self, packet: Packet) -> None:
        self._voice.deliver(packet)

    def pull(self, now_s: float) -> Pcm:
        self._now_s = now_s
        return self._voice.pull()

    def result(self) -> Heard:
        self._heard.counts = self._buffer.counts
        self._voice.close()
        return self._heard

    @property
    def drift_ppm(self) -> float:
        """As it is corrected."""
        return self._voice.drift_ppm

    @property
    def heard(self) -> Heard:
        """So far."""
        return self._heard


class Stock:
    """aiortc's jitter buffer, a decoder without concealment, and a queue that is played as it fills."""

    def __init__(self) -> None:
        self._buffer = JitterBuffer(capacity=_STOCK_CAPACITY, prefetch=_STOCK_PREFETCH)
        self._decoder = Decoder()
        self._queue: deque[tuple[int, Pcm]] = deque()
        self._rest, self._heard = SILENCE[:0], Heard()
        self._played = self._silent = 0

    def deliver(self, packet: Packet) -> None:
        rtp = RtpPacket(sequence_number=packet.sequence, timestamp=packet.timestamp, ssrc=packet.ssrc)
        rtp._data = packet.payload  # type: ignore[attr-defined]
        _, frame = self._buffer.add(rtp)
        if frame is not None:
            self._queue.append((frame.timestamp, self._decoder.decode(frame.data).copy()))

    def pull(self, now_s: float) -> Pcm:
        while len(self._rest) < PERIOD_FRAMES and self._queue:
            timestamp, pcm = self._queue.popleft()
            frames = (timestamp - _FIRST_TIMESTAMP) & 0xFFFF_FFFF
            heard_s = now_s + len(self._rest) / RATE_HZ - _BEGAN_S
            self._heard.lags.append((heard_s, heard_s - frames / RATE_HZ))
            self._rest = np.concatenate((self._rest, pcm))
        if len(self._rest) < PERIOD_FRAMES:
            self._silent += bool(self._heard.lags)
            return SILENCE
        period, self._rest = self._rest[:PERIOD_FRAMES], self._rest[PERIOD_FRAMES:]
        self._played += PERIOD_FRAMES
        return period

    def result(self) -> Heard:
        self._heard.silent_ticks = self._silent
        self._heard.counts = Counts(played_frames=self._played, silent_frames=self._silent * PERIOD_FRAMES)
        self._decoder.close()
        return self._heard


def run(
    receiver: Receiver,
    trace: Trace,
    *,
    payloads: Sequence[bytes],
    seed: int = 1,
    phase_s: float = 0.003,
    pull_jitter_s: float = 0.001,
    on_tick: Callable[[float], None] | None = None,
    keep_s: float = float("inf"),
) -> Heard:
    """Play `payloads` through `trace` to their end. Periods are asked for each 10 ms, `phase_s` after the sender's,
    each late by up to `pull_jitter_s`: a thread that sleeps wakes late. The last `keep_s` of what is heard are kept."""
    dice = np.random.default_rng(seed)
    sent = _sending_times(payloads, trace)
    arrivals = trace.arrivals(sent, dice)
    order = [int(index) for index in np.argsort(arrivals, kind="stable") if not np.isnan(arrivals[index])]
    timestamps = np.cumsum([0, *map(duration_frames, payloads)])
    queue = deque(
        Packet(
            (65_500 + index) & 0xFFFF, (_FIRST_TIMESTAMP + int(timestamps[index])) & 0xFFFF_FFFF, 1, payloads[index],
            float(arrivals[index]),
        )
        for index in order
    )  # fmt: skip
    ticks = int((sent[-1] - _BEGAN_S) * 100)
    heard: deque[Pcm] = deque(maxlen=int(min(keep_s * 100, ticks)))
    for tick, late_s in enumerate(dice.uniform(0, pull_jitter_s, ticks)):
        now_s = _BEGAN_S + phase_s + tick * 0.010 + float(late_s)
        while queue and queue[0].arrived_s <= now_s:
            receiver.deliver(queue.popleft())
        heard.append(receiver.pull(now_s))
        if on_tick is not None:
            on_tick(now_s - _BEGAN_S)
    result = receiver.result()
    result.pcm = np.concatenate(heard)
    fast = 1 + trace.clock_ppm / 1e6
    result.lags = [(at_s, at_s - (at_s - lag_s) / fast) for at_s, lag_s in result.lags]
    return result


def _sending_times(payloads: Sequence[bytes], trace: Trace) -> Times:
    """A packet leaves when its last frame has been spoken."""
    ends = np.cumsum(list(map(duration_frames, payloads)))
    times: Times = _BEGAN_S + ends / (RATE_HZ * (1 + trace.clock_ppm / 1e6))
    return times
