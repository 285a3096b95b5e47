"""The buffer that adapts: what it decides for orders of packets that networks and strangers produce, on a clock of its
own, and which delay it comes to."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.jitter import Conceal, Decision, Play, Recover, Silence
from intercomd.media.packet import Packet, duration_frames
from tests.bench.audio.strangers import flooded, plays_after

_20_MS, _10_MS, _2_5_MS, _60_MS = 0x08, 0x00, 0x80, 0x18
_FEC = 0x40
_BEGIN_S = 50.0
_PHASE_S = 0.004


def packet(
    index: int, *, at_s: float | None = None, start: int = 0, ssrc: int = 1, fec: bool = False, toc: int = _20_MS,
    first: int = 0,
) -> Packet:  # fmt: skip
    """Number `index` of a stream that begins at timestamp `start`, sequence `first`; it arrives as soon as it can."""
    payload = bytes([toc, _FEC if fec else 0]) + index.to_bytes(4, "big")
    frames = duration_frames(payload)
    arrived_s = _BEGIN_S + index * frames / 48_000 if at_s is None else _BEGIN_S + at_s
    return Packet((first + index) & 0xFFFF, (start + index * frames) & 0xFFFFFFFF, ssrc, payload, arrived_s)


def heard(decision: Decision) -> int | str:
    """The packet's number for `Play`, else the decision's name."""
    if isinstance(decision, Play):
        return int.from_bytes(decision.payload[2:6], "big")
    return type(decision).__name__


class Playout:
    """A buffer, and the thread that takes a period each 10 ms and can stretch whatever it is asked to."""

    def __init__(self, packets: Iterable[Packet], *, stretches: bool = True, pitch: int = 1) -> None:
        self.buffer = AdaptiveBuffer()
        self._coming = sorted(packets, key=lambda packet: packet.arrived_s)
        self._stretches, self._pitch = stretches, pitch
        self._tick = self._rest = 0
        self.said: list[int | str] = []
        self.decisions: list[Decision] = []
        self.lags_ms: list[tuple[float, float]] = []

    @property
    def now_s(self) -> float:
        return _BEGIN_S + _PHASE_S + self._tick * 0.010

    def run(self, seconds: float) -> list[int | str]:
        """What was decided in that time."""
        before = len(self.said)
        for _ in range(round(seconds * 100)):
            while self._coming and self._coming[0].arrived_s <= self.now_s:
                self.buffer.put(self._coming.pop(0))
            self._period()
            self._tick += 1
        return self.said[before:]

    def _period(self) -> None:
        while self._rest < 480:
            decision = self.buffer.decide(self.now_s, self._rest)
            frames = decision.frames
            assert 0 < frames <= 5760
            assert frames % 120 == 0 or not isinstance(decision, Play)
            if isinstance(decision, Play):
                number = heard(decision)
                lag_s = self.now_s + self._rest / 48_000 - _BEGIN_S - int(number) * frames / 48_000
                self.lags_ms.append((self.now_s - _BEGIN_S, lag_s * 1000))
                change = int(decision.stretch / self._pitch) * self._pitch
                if change and self._stretches:
                    self.buffer.stretched(change)
                    frames += change
            self._rest += frames
            self.decisions.append(decision)
            self.said.append(heard(decision))
        self._rest -= 480

    def lag_ms(self, after_s: float, until_s: float = 1e9) -> float:
        return float(np.mean([lag for at, lag in self.lags_ms if after_s <= at < until_s]))


def no_delay(_: int) -> float:
    return 0.0


def stream(count: int, delay: Callable[[int], float | None] = no_delay, **kinds: int | bool) -> list[Packet]:
    """`delay(index)` in seconds; None: it is lost."""
    packets = []
    for index in range(count):
        late_s = delay(index)
        if late_s is not None:
            one = packet(index, **kinds)  # type: ignore[arg-type]
            packets.append(packet(index, at_s=one.arrived_s - _BEGIN_S + late_s, **kinds))  # type: ignore[arg-type]
    return packets


def numbers(said: list[int | str]) -> list[int]:
    return [one for one in said if isinstance(one, int)]


# ------------------------------------------------------------------------------------------------ order and loss


def test_plays_in_order_20_ms_after_the_first_packet() -> None:
    playout = Playout(stream(50))
    assert playout.run(0.02) == ["Silence", "Silence"]
    assert playout.run(0.5)[:5] == [0, 1, 2, 3, 4]


def test_a_lone_packet_is_played() -> None:
    assert 0 in Playout(stream(1)).run(0.1)


def test_overtaken_packets_are_put_right() -> None:
    playout = Playout(stream(100, lambda index: 0.025 if index % 2 else 0.0))
    playout.run(0.5)
    late = playout.buffer.counts.late
    assert numbers(playout.run(1.4))[-60:] == list(range(34, 94))
    assert playout.buffer.counts.late == late


def test_duplicates_are_played_once_and_teach_nothing() -> None:
    packets = stream(200)
    again = [packet(index, at_s=index * 0.02 + 0.1) for index in range(200)]
    playout = Playout(packets + again)
    assert numbers(playout.run(4.0)) == list(range(200))
    assert playout.buffer.counts.duplicates > 190
    assert playout.lag_ms(2) < 16


@pytest.mark.parametrize(("start", "first"), [(2**32 - 960 * 30, 0), (0, 65510), (2**32 - 960, 65535)])
def test_both_counters_wrap(start: int, first: int) -> None:
    playout = Playout(stream(100, start=start, first=first))
    assert numbers(playout.run(1.9)) == list(range(95))
    assert playout.buffer.counts.concealed_frames == playout.buffer.counts.late == 0


def test_a_lost_packet_is_rebuilt_from_the_next_one() -> None:
    playout = Playout(stream(60, lambda index: None if index % 10 == 5 else 0.0, fec=True))
    said = playout.run(1.2)
    assert said[said.index(14) : said.index(17)] == [14, "Recover", 16]
    recovered = [one for one in playout.decisions if isinstance(one, Recover)]
    assert recovered[0] == Recover(packet(6, fec=True).payload, 960)
    assert playout.buffer.counts.recovered_frames >= 5 * 960


def test_a_lost_packet_is_concealed_where_the_next_one_has_no_copy() -> None:
    playout = Playout(stream(60, lambda index: None if index == 5 else 0.0))
    said = playout.run(1.0)
    between = said[said.index(4) + 1 : said.index(6)]
    assert set(between) == {"Conceal"}
    assert playout.buffer.counts.concealed_frames == 960


def test_of_a_burst_the_last_lost_packet_is_rebuilt() -> None:
    playout = Playout(stream(100, lambda index: None if index % 20 in (5, 6, 7) else 0.0, fec=True))
    said = playout.run(2.0)
    assert said[said.index(68) - 1] == "Recover"
    assert playout.buffer.counts.silent_frames == 0


def test_gaps_are_counted_by_their_beginning() -> None:
    playout = Playout(stream(60, lambda index: None if index in (20, 30, 31, 32) or 45 <= index < 55 else 0.0))
    playout.run(1.4)
    counts = playout.buffer.counts
    assert counts.gaps == 4, "three in the middle, and the end of the stream"
    assert counts.silent_frames, "one of them outlasted concealment"


def test_a_hole_without_a_missing_sequence_number_is_the_senders_pause() -> None:
    packets = stream(10)
    for number in range(10, 40):
        later = packet(number + 2, fec=True)
        packets.append(Packet(number, later.timestamp, 1, later.payload, later.arrived_s))
    playout = Playout(packets)
    playout.run(0.6)
    counts = playout.buffer.counts
    assert counts.recovered_frames == 0
    assert counts.concealed_frames <= 1920
    assert counts.late == 0


def test_a_packet_that_is_only_late_is_still_heard() -> None:
    playout = Playout(stream(100, lambda index: {50: 0.046, 51: 0.026, 52: 0.006}.get(index, 0.0)))
    assert numbers(playout.run(1.9)) == list(range(93))
    assert playout.buffer.counts.late == 0


def test_silence_after_100_ms_then_it_goes_on() -> None:
    playout = Playout(stream(100, lambda index: None if 20 <= index < 60 else 0.0))
    said = playout.run(1.9)
    missing = said[said.index(19) + 1 : said.index(60)]
    first = missing.index("Silence")
    assert set(missing[:first]) == {"Conceal"}
    assert 9 <= first <= 11
    assert set(missing[first:]) == {"Silence"}
    assert numbers(said)[20:] == list(range(60, 95))


# --------------------------------------------------------------------------------------------------- the delay


def test_a_quiet_network_costs_less_than_a_period_and_a_half() -> None:
    playout = Playout(stream(500))
    playout.run(9)
    assert playout.lag_ms(2) < 15
    assert playout.buffer.counts.concealed_frames == 0


@pytest.mark.parametrize("pitch", [130, 190, 310, 370, 450])
def test_what_a_voice_cannot_give_at_once_it_gives_in_time(pitch: int) -> None:
    """Only whole periods of pitch go, so packets come to lie within a period; what is ahead of them goes too."""
    playout = Playout(stream(1000), pitch=pitch)
    playout.run(19)
    assert playout.lag_ms(15) < 9


def test_jitter_is_waited_for_at_once_and_given_back_slowly() -> None:
    dice = np.random.default_rng(1)
    jitter = dice.uniform(0, 0.06, 2000)
    playout = Playout(stream(2000, lambda index: float(jitter[index]) if 250 <= index < 500 else 0.0))
    playout.run(39)
    assert playout.lag_ms(3, 5) < 15
    assert 55 < playout.lag_ms(6, 10) < 85
    assert playout.lag_ms(11, 14) > 50
    assert playout.lag_ms(25) < 15


def test_a_spike_is_not_followed_and_its_delay_is_gone_3_s_later() -> None:
    playout = Playout(stream(800, lambda index: max(0.0, 0.1 - (index - 400) * 0.02) if index >= 400 else 0.0))
    playout.run(15.9)
    assert playout.lag_ms(8.2, 8.4) > 60
    assert playout.lag_ms(11) < 20


def test_spikes_that_recur_are_waited_for() -> None:
    def delay(index: int) -> float:
        since = index % 50
        return max(0.0, 0.08 - since * 0.02)

    playout = Playout(stream(1500, delay))
    playout.run(15)
    before = playout.buffer.counts.concealed_frames
    playout.run(14.9)
    assert playout.buffer.counts.concealed_frames == before


@pytest.mark.parametrize("length_s", [0.16, 0.18, 0.5, 1.2])
def test_a_stall_leaves_no_delay_once_playing_goes_on(length_s: float) -> None:
    def delay(index: int) -> float:
        return max(0.0, length_s - (index - 150) * 0.02) if index >= 150 else 0.0

    playout = Playout(stream(500, delay))
    playout.run(9)
    assert playout.lag_ms(3.0 + length_s) <= playout.lag_ms(2, 3) + 6


def test_a_longer_route_is_followed_both_ways() -> None:
    playout = Playout(stream(2500, lambda index: 0.15 if 500 <= index < 1250 else 0.0))
    playout.run(49)
    assert 150 < playout.lag_ms(13, 25) < 175
    assert playout.lag_ms(29) < 15


def test_a_sender_whose_microphone_opens_after_a_second() -> None:
    """Its silence was counted by another clock: the voice comes 18 ms sooner after its timestamps."""
    playout = Playout(stream(400, lambda index: 0.018 if index < 50 else 0.0))
    playout.run(7)
    assert playout.lag_ms(3.5) < 15


def test_a_voice_that_cannot_be_stretched_is_left_as_it_is() -> None:
    playout = Playout(stream(500), stretches=False)
    playout.run(9)
    assert playout.lag_ms(2) == pytest.approx(24, abs=1)
    assert playout.buffer.counts.shortened_frames == 0


@pytest.mark.parametrize("toc", [_2_5_MS, _10_MS, _20_MS, _60_MS])
def test_packets_of_any_length(toc: int) -> None:
    frames = duration_frames(bytes([toc, 0]))
    count = 10 * 48_000 // frames
    playout = Playout(stream(count, toc=toc))
    playout.run(9.7)
    counts = playout.buffer.counts
    assert counts.concealed_frames == counts.silent_frames == counts.late == 0
    assert playout.lag_ms(4) < 24


def test_the_length_of_packets_changes() -> None:
    packets = stream(100)
    for index in range(200):
        short = packet(index, start=96_000, first=100, toc=_10_MS)
        packets.append(packet(index, at_s=2 + index * 0.01, start=96_000, first=100, toc=_10_MS))
        assert short.timestamp == packets[-1].timestamp
    playout = Playout(packets)
    playout.run(3.9)
    assert playout.buffer.counts.concealed_frames == playout.buffer.counts.late == 0


def test_what_piled_up_beyond_the_ceiling_goes_at_once() -> None:
    playout = Playout(stream(30))
    playout.run(0.5)
    for index in range(30, 60):
        playout.buffer.put(packet(index, at_s=0.55))
    assert playout.buffer.counts.overflowed >= 20
    assert min(numbers(playout.run(0.1))) >= 50


def test_many_tiny_packets_are_bounded_in_number() -> None:
    buffer = AdaptiveBuffer()
    for number in range(2000):
        buffer.put(Packet(number, number, 1, bytes([_20_MS, 0, 0]), 1.0))
        assert len(buffer._order) == len(buffer._waiting) <= 96


# ---------------------------------------------------------------------------------------------- other streams


def test_another_ssrc_restarts_at_once() -> None:
    other = [packet(index, at_s=1.0 + index * 0.02, start=123_456, ssrc=2) for index in range(50)]
    playout = Playout(stream(50) + other)
    said = playout.run(1.1)
    assert numbers(said)[:49] == list(range(49))
    assert numbers(said)[-2:] == [2, 3]
    assert playout.buffer.counts.restarts == 1


def test_a_timeline_that_jumps_back_is_followed_at_once_where_the_sequence_goes_on() -> None:
    anew = [packet(index, at_s=1.0 + index * 0.02, start=0, first=50) for index in range(50)]
    playout = Playout([*stream(50, start=10_000_000), *anew])
    playout.run(1.0)
    assert numbers(playout.run(0.06))[-2:] == [0, 1]


def test_a_timeline_and_a_sequence_that_jump_back_are_followed_within_200_ms() -> None:
    anew = [packet(index, at_s=1.0 + index * 0.02, start=0, first=40_000) for index in range(50)]
    playout = Playout([*stream(50, start=10_000_000), *anew])
    assert numbers(playout.run(1.4))[-2:] == [17, 18]


def test_a_gap_longer_than_the_ceiling_is_skipped() -> None:
    later = [packet(index, at_s=1.0 + index * 0.02, start=48_000_000, first=50) for index in range(50)]
    playout = Playout(stream(50) + later)
    assert numbers(playout.run(1.2))[-3:] == [7, 8, 9]


def test_dtx_is_not_counted_as_missing() -> None:
    playout = Playout([*stream(10), Packet(10, 10 * 960, 1, b"\x08", _BEGIN_S + 0.2)])
    playout.run(1.0)
    counts = playout.buffer.counts
    assert (counts.concealed_frames, counts.silent_frames) == (0, 0)
    assert counts.paused_frames > 20_000


def test_after_a_pause_speech_begins_with_the_delay_that_was_learnt() -> None:
    packets = stream(150)
    packets.append(Packet(150, 150 * 960, 1, b"\x08", _BEGIN_S + 3.0))
    spoken = [packet(index, first=-49) for index in range(200, 300)]
    playout = Playout(packets + spoken)
    playout.run(5.9)
    assert playout.lag_ms(4, 4.3) < 15
    assert numbers(playout.said)[151] == 200


@pytest.mark.parametrize("payload", [b"", b"\x0b", b"\x0b\x00", b"\x1f\xff"])
def test_what_is_no_opus_packet_is_dropped(payload: bytes) -> None:
    buffer = AdaptiveBuffer()
    buffer.put(Packet(0, 0, 1, payload, 1.0))
    assert buffer.counts.unusable == 1
    assert buffer.decide(1.0) == Silence(480)


def test_restart_forgets_counts_and_packets() -> None:
    playout = Playout(stream(10))
    playout.run(0.1)
    playout.buffer.restart()
    assert playout.buffer.counts.received == 0
    assert playout.buffer.decide(playout.now_s) == Silence(480)


def test_concealment_only_fills_the_period() -> None:
    """The packet may be there when the next period is asked for."""
    playout = Playout(stream(3))
    playout.run(0.09)
    assert playout.buffer.decide(playout.now_s, 240) == Conceal(240)


# ------------------------------------------------------------------------------------------------- anything at all

_packets = st.builds(
    Packet,
    st.integers(0, 0xFFFF),
    st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0, 20_000), st.integers(2**32 - 20_000, 2**32 - 1)),
    st.sampled_from([1, 1, 1, 1, 2]),
    st.binary(max_size=6),
    st.floats(0, 1e7),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(_packets, st.integers(1, 5)), max_size=200), st.floats(0, 1e7))
def test_any_packets_in_any_order(steps: list[Packet | int], now_s: float) -> None:
    """Never an exception, never more than the bound, always a decision that libopus can carry out."""
    buffer = AdaptiveBuffer()
    for step in steps:
        if isinstance(step, Packet):
            buffer.put(step)
            assert len(buffer._waiting) == len(buffer._order) <= 96
            continue
        for _ in range(step):
            decision = buffer.decide(now_s)
            now_s += 0.01
            assert 0 < decision.frames <= 5760
            assert decision.frames % 120 == 0
            if isinstance(decision, Play) and decision.stretch:
                assert 120 <= abs(decision.stretch) <= 728
    assert buffer.counts.received == sum(isinstance(step, Packet) for step in steps)


def test_a_flood_of_anything() -> None:
    buffer = flooded(50_000, 5)
    assert buffer.counts.received == 50_000
    assert plays_after(buffer)
