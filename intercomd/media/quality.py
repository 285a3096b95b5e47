"""A call's quality as the protocol tells it: aiortc's statistics and our own counts, turned into `Metrics`.

aiortc gives jitter in units of the RTP clock (1/48000 s), `fractionLost` as 0 to 255, and takes times from the wall
clock: a clock that is set in the middle of a call makes them absurd for a while. Absurd values are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from intercomd.core.protocol import Metrics
from intercomd.media.jitter import Counts
from intercomd.media.pcm import RATE_HZ

_PLAUSIBLE_S = 10.0
"""Jitter and round trips beyond this come from a clock that was set, not from a network that can carry a call."""


@dataclass(frozen=True, slots=True)
class NetworkStats:
    """What the transport knows: seconds, and ratios of 0 to 1. None: not known (yet)."""

    packets_received: int | None = None
    packets_lost: int | None = None
    jitter_s: float | None = None
    round_trip_s: float | None = None
    peer_loss: float | None = None
    """The share of our packets that the peer missed lately."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one connection, on one monotonic clock. `up_s`: when its first packet came."""

    started_s: float
    up_s: float | None = None


def network_stats(entries: Iterable[object]) -> NetworkStats:
    """From the entries of an aiortc `RTCStatsReport`; unknown entries are ignored."""
    found = {str(getattr(entry, "type", "")): entry for entry in entries}
    inbound, peer = found.get("inbound-rtp"), found.get("remote-inbound-rtp")
    jitter, fraction = _number(inbound, "jitter"), _number(peer, "fractionLost")
    return NetworkStats(
        packets_received=_count(inbound, "packetsReceived"),
        packets_lost=_count(inbound, "packetsLost"),
        jitter_s=_plausible(None if jitter is None else jitter / RATE_HZ),
        round_trip_s=_plausible(_number(peer, "roundTripTime")),
        peer_loss=None if fraction is None else min(1.0, max(0.0, fraction / 256)),
    )


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


def metrics(network: NetworkStats, counts: Counts, delay_s: float, timing: Timing, now_s: float) -> Metrics:
    """The guide's five (connection time, packets lost, jitter, round trip, duration), concealment, buffer delay."""
    up_s = timing.up_s
    ratio = concealed_ratio(counts)
    return Metrics(
        connection_time=None if up_s is None else round(up_s - timing.started_s, 4),
        audio_packets_lost=network.packets_lost,
        audio_packets_received=network.packets_received,
        jitter=None if network.jitter_s is None else round(network.jitter_s, 5),
        round_trip_time=None if network.round_trip_s is None else round(network.round_trip_s, 5),
        call_duration=None if up_s is None else round(now_s - up_s, 3),
        concealed_ratio=None if ratio is None else round(ratio, 5),
        buffer_delay=None if up_s is None else round(delay_s, 4),
    )


def smoothed_loss(before: float, reported: float | None) -> float:
    """The peer's loss as error correction should take it: up at once, down slowly, since losses come in bursts."""
    if reported is None:
        return before
    return reported if reported > before else before + (reported - before) / 8
