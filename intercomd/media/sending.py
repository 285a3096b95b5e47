"""How the near end's voice is coded for the path that it takes and the processor that codes it. Pure.

Copies of the last packet inside the next one (in-band error correction) cost voice: 0.3 of PESQ at 48 kbit/s while
nothing is lost, and save 0.8 at 5 % and 1.0 at 10 % loss; they break even between 1 and 2 %. Expecting more loss than
it takes to get copies at all only shifts bits from the voice to the copies, and lowers PESQ at any loss up to 20 %.
Complexity 6 is the most at which libopus does not look for music: from 7 on it takes tones for it, and codes them in a
mode that has no copies.

Where nothing is lost and nothing queues there is room: half as much again is sent, which costs no processor time and
brings PESQ from 3.94 to 4.15, above stock aiortc's 4.09 at 130 kbit/s.

Packets of 10 ms are heard 10 ms sooner (29.7 → 19.7 ms from mouth to ear on a quiet LAN, without cards), and cost: 0.08
of PESQ at the same rate; 0.3 where copies are sent, which then reach back 10 ms
only; 32 kbit/s of headers; and nearly 4 % of a core at each end, where the whole call takes 13 %, since aiortc's work
goes by packets. So they are not the default, and `auto` takes them only where nothing is lost, the way is short and
even, and the processor has room.

A round trip that grows while we send is a queue in front of the narrowest link, and ours to empty: less is sent. One
that does not shrink although less is sent is the length of the way.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

LONG_MS: Final = 20
SHORT_MS: Final = 10
PacketMs = Literal[20, 10, "auto"]

_WORTH_LOSS: Final = 0.015
"""From which share of lost packets on copies are worth what they cost."""
_CLEAN_REPORTS: Final = 15
"""So many reports without loss, about one a second, until the copies are left out again: losses come in company."""
_STEPS_BPS: Final = ((44_000, 3), (36_000, 5), (0, 10))
"""From which bit rate on libopus (decide_fec in opus_encoder.c) needs which expected loss in percent, to send copies at
full bandwidth; below 36 kbit/s it gives up bandwidth for them."""
_MOST_OF_A_FRAME: Final = 0.15
_COMPLEXITIES: Final = (0, 2, 4, 5, 6)
"""Where libopus' cost makes a step."""

_MOST_PATIENCE: Final = 120
"""Reports. Each return to long packets doubles the time until short ones are tried again, up to this."""
_MOST_CLEAN_BPS: Final = 72_000
"""At 80 kbit/s libopus leaves the mode that is made for voice."""

_QUEUE_S: Final = 0.150
_NO_QUEUE_S: Final = 0.050
"""Of a round trip, beyond the least one of the call."""
_QUEUE_REPORTS: Final = 2
_RATES: Final = (1.0, 2 / 3, 1 / 2)
_LEAST_BPS: Final = 16_000
"""Below it a voice is narrow-band; who configured less gets less."""

_BUSY: Final = 0.6
"""Of one core: Python's threads run one at a time, and the audio threads must not wait for the event loop."""
_BUSY_REPORTS: Final = 3
_IDLE: Final = 0.4
_IDLE_REPORTS: Final = 30


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of the path and of this machine, about once a second. `loss`: the share of our packets, 0 to 1,
    that the peer missed lately; `jitter_s`: of our packets, as the peer sees it; `cpu_ratio`: what this process took of
    one core; `takes_short`: the peer says that it can take packets of 10 ms. None: not known."""

    loss: float = 0.0
    round_trip_s: float | None = None
    jitter_s: float | None = None
    cpu_ratio: float | None = None
    takes_short: bool = False


@dataclass(frozen=True, slots=True)
class Sending:
    """Copies are sent before any loss was reported: the first ones would all be heard. `patience`: the clean reports
    that short packets need; `squeezed`, `eased`: steps down in bit rate and in complexity."""

    copies: bool = True
    clean_reports: int = 0
    short: bool = False
    patience: int = _CLEAN_REPORTS
    least_round_trip_s: float | None = None
    squeezed: int = 0
    queue_reports: int = 0
    """Above 0: in a row with a queue; below: without."""
    eased: int = 0
    busy_reports: int = 0
    """Above 0: in a row with a busy processor; below: with an idle one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """As configured: what is sent where copies are needed (half as much again where not), and the most effort."""

    bitrate_bps: int = 48_000
    frame_ms: PacketMs = LONG_MS
    complexity: int = 6


@dataclass(frozen=True, slots=True)
class Coding:
    """What the encoder is to be told."""

    frame_ms: int
    bitrate_bps: int
    expected_loss_percent: int
    complexity: int


def reported(sending: Sending, report: Report) -> Sending:
    """After `report`."""
    return _lengthened(_eased(_squeezed(_copied(sending, report.loss), report), report), report)


def coding(sending: Sending, wanted: Wanted) -> Coding:
    """How the next packet is coded."""
    short = sending.short if wanted.frame_ms == "auto" else wanted.frame_ms == SHORT_MS
    bitrate_bps = wanted.bitrate_bps
    if sending.squeezed:
        bitrate_bps = max(round(bitrate_bps * _RATES[sending.squeezed]), min(bitrate_bps, _LEAST_BPS))
    elif not sending.copies:
        bitrate_bps = max(bitrate_bps, min(bitrate_bps * 3 // 2, _MOST_CLEAN_BPS))
    return Coding(
        SHORT_MS if short else LONG_MS,
        bitrate_bps,
        expected_loss_percent(sending, bitrate_bps),
        _lowered(wanted.complexity, sending.eased),
    )


def expected_loss_percent(sending: Sending, bitrate_bps: int) -> int:
    """What the encoder is to be told."""
    if not sending.copies:
        return 0
    return next(percent for from_bps, percent in _STEPS_BPS if bitrate_bps >= from_bps)


def affordable(complexity: int, encoding_s: float, frame_s: float) -> int:
    """The complexity to go on with when coding a frame of `frame_s` took `encoding_s` of processor time: one step less
    if that was more than 15 % of it."""
    return complexity if encoding_s <= _MOST_OF_A_FRAME * frame_s else _lowered(complexity, 1)


def _lowered(complexity: int, steps: int) -> int:
    below = [complexity, *(step for step in reversed(_COMPLEXITIES) if step < complexity)]
    return below[min(steps, len(below) - 1)]


def _copied(sending: Sending, loss: float) -> Sending:
    if loss >= _WORTH_LOSS:
        return replace(sending, copies=True, clean_reports=0)
    clean = sending.clean_reports + 1 if loss < _WORTH_LOSS / 3 else 0
    return replace(sending, copies=sending.copies and clean < _CLEAN_REPORTS, clean_reports=clean)


def _squeezed(sending: Sending, report: Report) -> Sending:
    """Down after two reports of a queue, up after fifteen without."""
    round_trip_s, least_s = report.round_trip_s, sending.least_round_trip_s
    if round_trip_s is None:
        return sending
    if least_s is None or round_trip_s < least_s:
        least_s = round_trip_s
    beyond_s, squeezed = round_trip_s - least_s, sending.squeezed
    row = _row(sending.queue_reports, up=beyond_s > _QUEUE_S, down=beyond_s < _NO_QUEUE_S)
    lowest = squeezed == len(_RATES) - 1
    if lowest and row >= _CLEAN_REPORTS:
        least_s, row = round_trip_s, 0
    elif not lowest and row >= _QUEUE_REPORTS:
        squeezed, row = squeezed + 1, 0
    elif squeezed and row <= -_CLEAN_REPORTS:
        squeezed, row = squeezed - 1, 0
    return replace(sending, least_round_trip_s=least_s, squeezed=squeezed, queue_reports=row)


def _eased(sending: Sending, report: Report) -> Sending:
    """Down after three reports of a busy processor, up after thirty of an idle one."""
    if report.cpu_ratio is None:
        return sending
    row = _row(sending.busy_reports, up=report.cpu_ratio > _BUSY, down=report.cpu_ratio < _IDLE)
    if row >= _BUSY_REPORTS:
        return replace(sending, eased=min(sending.eased + 1, len(_COMPLEXITIES) - 1), busy_reports=0)
    if sending.eased and row <= -_IDLE_REPORTS:
        return replace(sending, eased=sending.eased - 1, busy_reports=0)
    return replace(sending, busy_reports=row)


def _row(row: int, *, up: bool, down: bool) -> int:
    """How many in a row, above or below 0."""
    return max(row, 0) + 1 if up else min(row, 0) - 1 if down else 0


def _lengthened(sending: Sending, report: Report) -> Sending:
    if sending.short:
        if not sending.copies and _within(report, round_trip_s=0.040, jitter_s=0.015, cpu_ratio=0.40):
            return sending
        return replace(sending, short=False, clean_reports=0, patience=min(2 * sending.patience, _MOST_PATIENCE))
    clean = not sending.copies and not sending.squeezed and sending.clean_reports >= sending.patience
    # Short packets take half as much again of the processor: there is a gap between the limits for it.
    return replace(sending, short=clean and _within(report, round_trip_s=0.020, jitter_s=0.005, cpu_ratio=0.25))


def _within(report: Report, **limits: float) -> bool:
    """What is not known is not within."""
    found = ((getattr(report, name), limit) for name, limit in limits.items())
    return report.takes_short and all(value is not None and value <= limit for value, limit in found)
