"""A sender whose packets become shorter and longer again in the middle of a call, from its reports to what is heard."""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise

import pytest

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.fixed import FixedBuffer
from intercomd.media.near_end import SentVoice
from intercomd.media.packet import duration_frames
from intercomd.media.pcm import PERIOD_FRAMES
from intercomd.media.sending import Report
from tests.bench.audio.simulation import Heard, Ours, run, speech
from tests.bench.audio.traces import Trace, lan, random_loss
from tests.unit.sounds import likeness

pytestmark = pytest.mark.platform("libopus")

SECONDS, SHORTER_S, LONGER_S = 24.0, 6.0, 14.0
LAN, LOSS = Report(0.0, 0.002, 0.001, 0.1, takes_short=True), Report(0.05)
REPORTS: Mapping[float, list[Report]] = {SHORTER_S: [LAN] * 15, LONGER_S: [LOSS]}
PHASES_S = (0.0005, 0.003, 0.0055, 0.008)


@cache
def packets() -> list[bytes]:
    sent, payloads, voice = SentVoice(frame_ms="auto"), list[bytes](), speech(SECONDS)

    def wake() -> None:
        frame = sent.take()
        assert frame is not None
        payloads.append(frame.payload or b"")

    sent.start(wake)
    for number in range(len(voice) // PERIOD_FRAMES):
        for report in REPORTS.get(number / 100, ()):
            sent.report(report)
        sent.push(voice[number * PERIOD_FRAMES : (number + 1) * PERIOD_FRAMES])
    sent.close()
    return payloads


@cache
def heard(phase_s: float, loss: float = 0.0, *, fixed: bool = False) -> Heard:
    buffer = FixedBuffer() if fixed else AdaptiveBuffer()
    trace = Trace("", random_loss(loss) if loss else lan)
    return run(Ours(buffer), trace, payloads=packets(), phase_s=phase_s)


def test_the_length_changes_twice_in_a_pause_soon_after_it_was_asked_for() -> None:
    lengths = list(map(duration_frames, packets()))
    at_s = [
        sum(lengths[: number + 1]) / 48_000 for number, (one, other) in enumerate(pairwise(lengths)) if one != other
    ]
    assert len(at_s) == 2
    assert SHORTER_S <= at_s[0] <= SHORTER_S + 0.5
    assert LONGER_S <= at_s[1] <= LONGER_S + 0.5


@pytest.mark.parametrize("phase_s", PHASES_S)
def test_short_packets_are_heard_10_ms_sooner(phase_s: float) -> None:
    result = heard(phase_s)
    before_ms = result.mean_lag_ms(3, SHORTER_S)
    assert result.mean_lag_ms(10, LONGER_S) == pytest.approx(before_ms - 10, abs=0.5)
    assert result.mean_lag_ms(17) == pytest.approx(before_ms, abs=0.5)


@pytest.mark.parametrize("phase_s", PHASES_S)
def test_neither_change_is_a_gap(phase_s: float) -> None:
    """The first longer packet comes 10 ms later than the buffer is deep: so much is concealed, once, in a pause."""
    counts = heard(phase_s).counts
    assert counts.concealed_frames <= 480
    assert counts.gaps <= 1
    assert counts.late == counts.silent_frames == counts.overflowed == counts.left_out == counts.restarts == 0


@pytest.mark.parametrize("begin_s", [3.0, SHORTER_S, 10.0, LONGER_S, 18.0])
def test_all_that_was_said_is_heard(begin_s: float) -> None:
    said, sound, begin = speech(SECONDS), heard(0.003).pcm, round(begin_s * 48_000)
    assert likeness(said[begin : begin + 60_000], sound[begin : begin + 84_000]) > 0.75


@pytest.mark.parametrize("fixed", [False, True])
def test_a_tenth_lost_among_packets_of_both_lengths_is_never_silent(fixed: bool) -> None:
    """What a copy of 20 ms stands for is not taken for a lost packet of 10 ms."""
    result = heard(0.003, 0.1, fixed=fixed)
    assert result.silent_ticks == 0
    assert result.counts.recovered_frames >= 20_000
    assert result.concealed_share < 0.08
    assert result.mean_lag_ms(17) <= result.mean_lag_ms(3, SHORTER_S) + 10
