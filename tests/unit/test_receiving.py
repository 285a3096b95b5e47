"""The receive path on recorded kinds of trouble: what is heard, how late, and how it compares with a fixed buffer.

The limits of `golden/receiving.json` are kept for 15 s of each trace; whoever changes the buffer moves them only
knowingly."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.fixed import FixedBuffer
from tests.bench.audio.simulation import Heard, Ours, packets, run, speech
from tests.bench.audio.traces import TRACES, Trace, busy, jitter, lan, one_lost, random_loss, spikes, stall
from tests.unit.sounds import likeness

pytestmark = pytest.mark.platform("libopus")

LIMITS: dict[str, dict[str, float]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "receiving.json").read_text(encoding="utf-8")
)
SECONDS = 15.0
NAMED = {trace.name: trace for trace in TRACES}


@cache
def heard(name: str, *, fixed: bool = False) -> Heard:
    buffer = FixedBuffer() if fixed else AdaptiveBuffer()
    return run(Ours(buffer), NAMED[name], payloads=packets(SECONDS))


def test_each_trace_has_its_limits() -> None:
    assert set(LIMITS) == set(NAMED)


@pytest.mark.parametrize("name", LIMITS)
def test_a_trace_stays_within_its_limits(name: str) -> None:
    result, limits = heard(name), LIMITS[name]
    found = {
        "mean_ms": result.mean_lag_ms(),
        "p95_ms": result.lag_ms(95),
        "concealed_percent": 100 * result.concealed_share,
        "silent_ticks": result.silent_ticks,
    }
    assert set(limits) == set(found)
    assert {what: value for what, value in found.items() if value > limits[what]} == {}


@pytest.mark.parametrize("name", LIMITS)
def test_no_more_is_missing_than_with_a_fixed_buffer(name: str) -> None:
    ours, control = heard(name), heard(name, fixed=True)
    assert ours.concealed_share <= control.concealed_share * 1.15 + 0.002


@pytest.mark.parametrize(
    "name", ["quiet LAN", "one packet lost", "sender 200 ppm fast", "sender 200 ppm slow", "0.5 s stall"]
)
def test_a_good_network_is_heard_sooner_than_with_a_fixed_buffer(name: str) -> None:
    assert heard(name).mean_lag_ms() <= heard(name, fixed=True).mean_lag_ms() - 8


def test_after_one_lost_packet_nothing_is_later_than_before() -> None:
    result = run(Ours(AdaptiveBuffer()), Trace("", one_lost), payloads=packets(20.0))
    assert result.mean_lag_ms(10) <= result.mean_lag_ms(1, 2) + 0.5


def test_after_a_minute_of_1_percent_loss_the_delay_has_grown_by_20_ms_at_most() -> None:
    result = run(Ours(AdaptiveBuffer()), Trace("", random_loss(0.01)), payloads=packets(60.0))
    assert result.mean_lag_ms(50) <= result.mean_lag_ms(1, 3) + 20


@pytest.mark.parametrize("seed", range(2))
def test_a_tenth_lost_and_50_ms_of_jitter_leave_no_silence(seed: int) -> None:
    result = run(Ours(AdaptiveBuffer()), Trace("", jitter(0.05, 0.1)), payloads=packets(15.0), seed=seed)
    assert result.silent_ticks == 0
    assert result.lag_ms(95) <= 150


def test_a_stalled_event_loop_leaves_no_delay() -> None:
    result = run(Ours(AdaptiveBuffer()), Trace("", stall(0.5)), payloads=packets(12.0))
    assert result.mean_lag_ms(7.5) <= result.mean_lag_ms(3, 5) + 1


@pytest.mark.parametrize("phase_s", [0.0, 0.0025, 0.005, 0.0075])
@pytest.mark.parametrize("frame_ms", [10, 20])
def test_any_phase_between_the_clocks(phase_s: float, frame_ms: int) -> None:
    trace = Trace("", lan)
    result = run(Ours(AdaptiveBuffer()), trace, payloads=packets(8.0, frame_ms=frame_ms), phase_s=phase_s)
    assert result.mean_lag_ms(4) <= frame_ms + 20
    assert result.counts.concealed_frames == 0


def test_a_playout_thread_that_wakes_late_is_waited_for() -> None:
    result = run(Ours(AdaptiveBuffer()), Trace("", busy), payloads=packets(15.0), pull_jitter_s=0.008)
    assert result.concealed_share < 0.005
    assert result.mean_lag_ms() < 65


def test_what_is_heard_is_what_was_said() -> None:
    """Through jitter, loss and every stretch that they ask for."""
    result = run(Ours(AdaptiveBuffer()), Trace("", spikes(0.08, 3.0)), payloads=packets(20.0))
    assert result.counts.shortened_frames > 4800
    assert likeness(speech(20.0)[: len(result.pcm) - 48_000], result.pcm) > 0.75


@pytest.mark.parametrize("kind", ["lengthened_frames", "shortened_frames"])
def test_the_harness_is_the_same_each_time(kind: str) -> None:
    trace = Trace("", jitter(0.05, 0.05))
    one, other = (run(Ours(AdaptiveBuffer()), trace, payloads=packets(5.0), seed=3) for _ in range(2))
    assert np.array_equal(one.pcm, other.pcm)
    assert getattr(one.counts, kind) == getattr(other.counts, kind)


def limits_of(result: Heard) -> dict[str, Any]:
    """What to put into the file for what was measured: a tenth more."""
    return {
        "mean_ms": round(result.mean_lag_ms() * 1.1 + 1),
        "p95_ms": round(result.lag_ms(95) * 1.1 + 1),
        "concealed_percent": round(100 * result.concealed_share * 1.15 + 0.05, 2),
        "silent_ticks": round(result.silent_ticks * 1.15),
    }


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_drift_is_corrected_without_a_gap(ppm: float) -> None:
    """Resampling asks for a frame more now and then: the packet that has it is needed a period sooner."""
    result = run(Ours(AdaptiveBuffer()), Trace("", lan, ppm), payloads=packets(60.0) * 2, keep_s=1.0)
    assert result.counts.gaps == 0
    assert result.silent_ticks == 0
    assert result.hurried == 0
