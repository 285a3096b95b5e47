"""A call's quality as the protocol tells it: aiortc's statistics and our own counts, turned into `Metrics`.

First of one connection (`metrics`), then of the call, over all its connections (`added`), then with what only the
station knows (`completed`): its card, its canceller, its processor; from all that the delay from mouth to ear, and MOS.

aiortc gives jitter in units of the RTP clock (1/48000 s), `fractionLost` as 0 to 255, and takes times from the wall
clock: a clock that is set in the middle of a call makes them absurd for a while. Absurd values are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from intercomd.core.vocabulary import Metrics
from intercomd.media.emodel import burst_ratio, mos
from intercomd.media.jitter import Counts
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ

_PLAUSIBLE_S = 10.0
"""Jitter and round trips beyond this come from a clock that was set, not from a network that can carry a call."""
_LOOK_AHEAD_S: Final = 0.0065
"""libopus' own (OPUS_GET_LOOKAHEAD): 312 frames of 48 kHz."""
_PERIOD_S: Final = PERIOD_FRAMES / RATE_HZ
_SUMS: Final = (
    "audio_packets_lost", "audio_packets_received", "call_duration", "played_frames", "recovered_frames",
    "concealed_frames", "concealments", "stretched_frames", "late_packets", "left_out_packets",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NetworkStats:
    """What the transport knows: seconds, and ratios of 0 to 1. None: not known (yet)."""

    packets_received: int | None = None
    packets_lost: int | None = None
    jitter_s: float | None = None
    round_trip_s: float | None = None
    peer_loss: float | None = None
    """The share of our packets that the peer missed lately."""
    peer_jitter_s: float | None = None
    """Of our packets, as the peer sees it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one connection, on one monotonic clock. `up_s`: when its first packet came."""

    started_s: float
    up_s: float | None = None


@dataclass(frozen=True, slots=True)
class BufferDelay:
    """The receive buffer's: how long voice waits in it, and what it aims at beyond the fastest packet's."""

    is_s: float
    target_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Here:
    """The station's own figures in a call. `queued_s`: what waits in the playout PCM; `packet_s`: how long
    the far end's packets last."""

    queued_s: float = 0.0
    packet_s: float = 0.02
    erle_db: float | None = None
    xruns: int = 0
    drift_ppm: float = 0.0
    cpu_ratio: float | None = None


def network_stats(entries: Iterable[object]) -> NetworkStats:
    """From the entries of an aiortc `RTCStatsReport`; unknown entries are ignored."""
    found = {str(getattr(entry, "type", "")): entry for entry in entries}
    inbound, peer = found.get("inbound-rtp"), found.get("remote-inbound-rtp")
    fraction = _number(peer, "fractionLost")
    return NetworkStats(
        packets_received=_count(inbound, "packetsReceived"),
        packets_lost=_count(inbound, "packetsLost"),
        jitter_s=_jitter_s(inbound),
        round_trip_s=_plausible(_number(peer, "roundTripTime")),
        peer_loss=None if fraction is None else min(1.0, max(0.0, fraction / 256)),
        peer_jitter_s=_jitter_s(peer),
    )


def _jitter_s(entry: object) -> float | None:
    jitter = _number(entry, "jitter")
    return None if jitter is None else _plausible(jitter / RATE_HZ)


def _number(entry: object, name: str) -> float | None:
    value = getattr(entry, name, None)
    return value if isinstance(value, int | float) else None


def _count(entry: object, name: str) -> int | None:
    value = _number(entry, name)
    return None if value is None else int(value)


def _plausible(value_s: float | None) -> float | None:
    return value_s if value_s is not None and 0.0 <= value_s < _PLAUSIBLE_S else None


def concealed_ratio(counts: Counts) -> float | None:
    """The share of what was heard that is not real voice: concealed, or silent because packets were missing. Frames
    rebuilt by error correction are real. None before anything was heard."""
    missing = counts.concealed_frames + counts.silent_frames
    heard = counts.played_frames + counts.recovered_frames + missing
    return missing / heard if heard else None


def metrics(network: NetworkStats, counts: Counts, delay: BufferDelay, timing: Timing, now_s: float) -> Metrics:
    """Of one connection: the guide's five (connection time, packets lost, jitter, round trip, duration), and what the
    receive buffer did. Before it is up, only what the network tells."""
    known = Metrics(
        audio_packets_lost=network.packets_lost,
        audio_packets_received=network.packets_received,
        jitter=None if network.jitter_s is None else round(network.jitter_s, 5),
        round_trip_time=None if network.round_trip_s is None else round(network.round_trip_s, 5),
    )
    if timing.up_s is None:
        return known
    ratio = concealed_ratio(counts)
    return replace(
        known,
        connection_time=round(timing.up_s - timing.started_s, 4),
        call_duration=round(now_s - timing.up_s, 3),
        concealed_ratio=None if ratio is None else round(ratio, 5),
        buffer_delay=round(delay.is_s, 4),
        buffer_target=round(delay.target_s, 4),
        played_frames=counts.played_frames + counts.recovered_frames,
        recovered_frames=counts.recovered_frames,
        concealed_frames=counts.concealed_frames + counts.silent_frames,
        concealments=counts.gaps,
        stretched_frames=counts.shortened_frames + counts.lengthened_frames,
        late_packets=counts.late,
        left_out_packets=counts.left_out + counts.overflowed,
    )


def added(earlier: Metrics, now: Metrics) -> Metrics:
    """Of a call: what its earlier connections counted, and its present one. How long it took to connect is told of the
    first one, everything that is no sum of the present one."""
    sums = {name: _sum(getattr(earlier, name), getattr(now, name)) for name in _SUMS}
    connected_s = now.connection_time if earlier.connection_time is None else earlier.connection_time
    total = replace(now, **sums, connection_time=connected_s)
    missing, played = total.concealed_frames or 0, total.played_frames or 0
    heard = missing + played
    return replace(total, concealed_ratio=round(missing / heard, 5)) if heard else total


def _sum(first: float | None, second: float | None) -> float | None:
    return second if first is None else first if second is None else first + second


def completed(figures: Metrics, here: Here) -> Metrics:
    """With the station's own figures, the delay from mouth to ear and what all that is worth to an ear."""
    delay_s = mouth_to_ear_s(figures, here)
    return replace(
        figures,
        mouth_to_ear=None if delay_s is None else round(delay_s, 4),
        mos=None if delay_s is None else score(figures, delay_s),
        erle_db=None if here.erle_db is None else round(here.erle_db, 1),
        xruns=here.xruns,
        drift_ppm=round(here.drift_ppm, 1),
        cpu_ratio=None if here.cpu_ratio is None else round(here.cpu_ratio, 4),
    )


def mouth_to_ear_s(figures: Metrics, here: Here) -> float | None:
    """An estimate for the far end's voice: a packet's framing (in which the capture periods are) and look-ahead, half
    the round trip, the receive buffer, and what was queued in the playout PCM before its period. Left out is what
    nobody here knows: converters, and the far end's voice processing (15 ms at most). None before the round trip and
    the buffer's delay are known."""
    if figures.round_trip_time is None or figures.buffer_delay is None:
        return None
    queued_s = max(0.0, here.queued_s - _PERIOD_S)
    return here.packet_s + _LOOK_AHEAD_S + figures.round_trip_time / 2 + figures.buffer_delay + queued_s


def score(figures: Metrics, delay_s: float) -> float | None:
    """MOS of the call so far. None before anything was heard."""
    if figures.concealed_ratio is None:
        return None
    loss = figures.concealed_ratio
    burst = burst_ratio(figures.concealed_frames or 0, figures.concealments or 0, loss)
    return round(mos(delay_s, loss, burst), 2)


def smoothed_loss(before: float, reported: float | None) -> float:
    """The peer's loss as error correction should take it: up at once, down slowly, since losses come in bursts."""
    if reported is None:
        return before
    return reported if reported > before else before + (reported - before) / 8
