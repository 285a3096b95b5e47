"""The receive buffer: what it decides for orders of packets that networks and strangers produce."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercomd.media.fixed import FixedBuffer
from intercomd.media.jitter import Conceal, Decision, Play, Recover, Silence
from intercomd.media.packet import Packet, carries_fec, duration_frames, is_dtx

_20_MS, _10_MS = 0x08, 0x00
_FEC = 0x40
CEILING_FRAMES = 5760


def packet(
    index: int, *, start: int = 0, ssrc: int = 1, fec: bool = False, toc: int = _20_MS, first: int = 0
) -> Packet:
    """The packet of 20 ms (or 10) number `index` of a stream that begins at timestamp `start`, sequence `first`."""
    payload = bytes([toc, _FEC if fec else 0]) + index.to_bytes(4, "big")
    timestamp = (start + index * duration_frames(payload)) & 0xFFFFFFFF
    return Packet((first + index) & 0xFFFF, timestamp, ssrc, payload)


def heard(decision: Decision) -> int | str:
    """The packet's number for `Play`, else the decision's name."""
    if isinstance(decision, Play):
        return int.from_bytes(decision.payload[2:6], "big")
    return type(decision).__name__


def drain(buffer: FixedBuffer, decisions: int) -> list[int | str]:
    return [heard(buffer.decide()) for _ in range(decisions)]


def filled(*indexes: int, **kinds: int | bool) -> FixedBuffer:
    buffer = FixedBuffer()
    for index in indexes:
        buffer.put(packet(index, **kinds))  # type: ignore[arg-type]
    return buffer


def playing(*indexes: int, fec: bool = False) -> FixedBuffer:
    """Packets 0 and 1 came first and 0 has been played; then these came."""
    buffer = filled(0, 1, fec=fec)
    assert drain(buffer, 1) == [0]
    for index in indexes:
        buffer.put(packet(index, fec=fec))
    return buffer


def test_waits_for_its_target_then_plays_in_order() -> None:
    buffer = filled(0)
    assert drain(buffer, 2) == ["Silence", "Silence"]
    buffer.put(packet(1))
    assert drain(buffer, 2) == [0, 1]


def test_a_lone_packet_is_played_after_the_target() -> None:
    assert drain(filled(0), 5) == ["Silence"] * 4 + [0]


def test_reordered_packets_are_put_right() -> None:
    assert drain(playing(3, 2, 5, 4), 5) == [1, 2, 3, 4, 5]


def test_duplicates_are_played_once() -> None:
    buffer = playing(1, 2, 2)
    assert drain(buffer, 3) == [1, 2, "Conceal"]
    assert buffer.counts.duplicates == 2


def test_a_duplicate_of_what_was_played_is_late() -> None:
    buffer = playing(0, 2)
    assert (drain(buffer, 2), buffer.counts.late) == ([1, 2], 1)


@pytest.mark.parametrize(("start", "first"), [(2**32 - 960 * 3, 0), (0, 65533), (2**32 - 960, 65535)])
def test_both_counters_wrap(start: int, first: int) -> None:
    buffer = FixedBuffer()
    played: list[int | str] = []
    for index in range(10):
        buffer.put(packet(index, start=start, first=first))
        if index:
            played += drain(buffer, 1)
    assert played == list(range(9))
    assert buffer.counts.concealed_frames == buffer.counts.late == 0


def test_a_lost_packet_is_rebuilt_from_the_next_one() -> None:
    buffer = playing(3, 4, fec=True)
    assert heard(buffer.decide()) == 1
    assert buffer.decide() == Recover(packet(3, fec=True).payload, 960)
    assert drain(buffer, 2) == [3, 4]


def test_a_lost_packet_is_concealed_where_the_next_one_has_no_copy() -> None:
    buffer = playing(3, 4)
    assert drain(buffer, 4) == [1, "Conceal", 3, 4]
    assert buffer.counts.concealed_frames == 960


def test_of_a_burst_the_last_lost_packet_is_rebuilt() -> None:
    assert drain(playing(4, 5, fec=True), 5) == [1, "Conceal", "Recover", 4, 5]


def test_gaps_are_counted_by_their_beginning() -> None:
    buffer = playing(4, 5)
    assert drain(buffer, 4) == [1, "Conceal", "Conceal", 4]
    for index in (7, 8):
        buffer.put(packet(index))
    assert drain(buffer, 3) == [5, "Conceal", 7]
    assert (buffer.counts.gaps, buffer.counts.concealed_frames) == (2, 3 * 960)
    rebuilt = playing(3, 4, fec=True)
    assert drain(rebuilt, 4) == [1, "Recover", 3, 4]
    assert rebuilt.counts.gaps == 0, "what is rebuilt is no gap"


def test_a_loss_where_the_sequence_wraps() -> None:
    buffer = FixedBuffer()
    for index in (0, 1):
        buffer.put(packet(index, first=65534, fec=True))
    assert drain(buffer, 2) == [0, 1]
    for index in (3, 4):
        buffer.put(packet(index, first=65534, fec=True))
    assert drain(buffer, 2) == ["Recover", 3]


def test_a_hole_without_a_missing_sequence_number_is_the_senders_pause() -> None:
    buffer = playing()
    buffer.put(Packet(2, 3 * 960, 1, packet(3, fec=True).payload))
    assert drain(buffer, 3) == [1, "Conceal", 3]
    assert buffer.counts.concealed_frames == buffer.counts.recovered_frames == 0


def test_a_packet_that_is_only_late_is_still_heard() -> None:
    buffer = filled(0, 1)
    assert drain(buffer, 3) == [0, 1, "Conceal"]
    buffer.put(packet(2))
    buffer.put(packet(3))
    assert drain(buffer, 2) == [2, 3]


def test_concealment_that_stood_in_for_a_lost_packet_is_not_repeated() -> None:
    buffer = filled(0, 1, fec=True)
    assert drain(buffer, 4) == [0, 1, "Conceal", "Conceal"]
    for index in (5, 6):
        buffer.put(packet(index, fec=True))
    # 2, 3 and 4 were lost; two of them have been heard as concealment already.
    assert drain(buffer, 3) == ["Recover", 5, 6]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(2, 50), st.integers(1, 9)), max_size=4))
def test_losses_leave_the_target_filled(bursts: list[tuple[int, int]]) -> None:
    """Else the next lost packet could not be rebuilt: its successor would not be there yet."""
    lost = {index for start, length in bursts for index in range(start, start + length)}
    buffer, decided_frames, behind = FixedBuffer(), 0, 0
    for half_period in range(260):
        newest = (half_period - 1) // 2
        if half_period * 480 >= decided_frames:
            decision = buffer.decide()
            decided_frames += decision.frames
            behind = newest - int(heard(decision)) if isinstance(decision, Play) else 0
        if half_period % 2 == 0 and newest + 1 not in lost:
            buffer.put(packet(newest + 1, fec=True))
    assert behind == 1


def test_silence_after_100_ms_then_a_new_fill() -> None:
    buffer = filled(0, 1)
    assert drain(buffer, 9) == [0, 1] + ["Conceal"] * 5 + ["Silence"] * 2
    buffer.put(packet(40))
    assert drain(buffer, 1) == ["Silence"]
    buffer.put(packet(41))
    assert drain(buffer, 2) == [40, 41]


def test_packets_older_than_what_was_heard_are_not_played_after_a_pause() -> None:
    buffer = filled(0, 1, 2)
    drain(buffer, 9)
    buffer.put(packet(1))
    assert buffer.counts.late == 1


def test_the_ceiling_drops_the_oldest() -> None:
    buffer = filled(0, 1)
    drain(buffer, 1)
    for index in range(2, 30):
        buffer.put(packet(index))
    assert drain(buffer, 6) == [24, 25, 26, 27, 28, 29]
    assert buffer.counts.overflowed == 23


def test_what_piled_up_before_it_plays_is_left_out() -> None:
    """Also after a pause: playing begins with the target's worth of the newest packets."""
    buffer = filled(*range(30))
    assert drain(buffer, 2) == [28, 29]
    drain(buffer, 8)
    for index in range(40, 46):
        buffer.put(packet(index))
    assert drain(buffer, 2) == [44, 45]


def test_a_stall_does_not_become_lasting_delay() -> None:
    """Half a second without packets, then all of them at once: back at the target within 3 s."""
    buffer, played = FixedBuffer(), []
    for index in range(250):
        stalled = 50 <= index < 75
        for arriving in () if stalled else (range(50, 76) if index == 75 else (index,)):
            buffer.put(packet(arriving))
        played.append(buffer.decide())
    delay = 249 - int(heard(played[-1]))
    assert delay <= 2


def test_delay_gained_by_late_packets_is_given_back() -> None:
    buffer = filled(0, 1)
    drain(buffer, 5)  # three of concealment
    for index in range(2, 7):
        buffer.put(packet(index))
    for index in range(7, 200):
        buffer.decide()
        buffer.put(packet(index))
    assert buffer.delay_frames < 1920 + 480


def test_another_ssrc_restarts_at_once() -> None:
    buffer = filled(0, 1, 2)
    drain(buffer, 1)
    for index in (7, 8):
        buffer.put(packet(index, start=123456, ssrc=2))
    assert drain(buffer, 2) == [7, 8]
    assert buffer.counts.restarts == 1


def test_a_timeline_that_jumps_back_is_followed_after_half_a_second() -> None:
    buffer = filled(0, 1, start=10_000_000)
    drain(buffer, 2)
    for index in range(40):
        buffer.put(packet(index))
        decision = buffer.decide()
    assert heard(decision) == 38


def test_a_gap_longer_than_the_ceiling_is_skipped() -> None:
    buffer = filled(0, 1, 500, 501)
    assert drain(buffer, 2) == [500, 501]


@pytest.mark.parametrize("payload", [b"", b"\x0b", b"\x0b\x00", b"\x1f\xff"])
def test_what_is_no_opus_packet_is_dropped(payload: bytes) -> None:
    buffer = FixedBuffer()
    buffer.put(Packet(0, 0, 1, payload))
    assert buffer.counts.unusable == 1
    assert buffer.decide() == Silence(480)


def test_10_ms_packets() -> None:
    buffer = filled(0, 1, 2, toc=_10_MS)
    assert heard(buffer.decide()) == "Silence"
    buffer.put(packet(3, toc=_10_MS))
    assert [buffer.decide() for _ in range(5)][-1] == Conceal(480)


def test_restart_forgets_counts_and_packets() -> None:
    buffer = filled(0, 1, 1)
    buffer.restart()
    assert buffer.counts.received == 0
    assert drain(buffer, 1) == ["Silence"]


def test_dtx_is_not_counted_as_missing() -> None:
    buffer = filled(0, 1)
    buffer.put(Packet(2, 2 * 960, 1, b"\x08"))
    drain(buffer, 20)
    counts = buffer.counts
    assert is_dtx(b"\x08")
    assert (counts.concealed_frames, counts.silent_frames) == (0, 0)
    assert counts.paused_frames > 4800


_packets = st.builds(
    Packet,
    st.integers(0, 0xFFFF),
    st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0, 20_000), st.integers(2**32 - 20_000, 2**32 - 1)),
    st.sampled_from([1, 1, 1, 1, 2]),
    st.binary(max_size=6),
)


@settings(max_examples=300)
@given(st.lists(st.one_of(_packets, st.integers(1, 5)), max_size=200))
def test_any_packets_in_any_order(steps: list[Packet | int]) -> None:
    """Never an exception, never more than the ceiling, always a decision that libopus can carry out."""
    buffer = FixedBuffer()
    total = 0
    for step in steps:
        if isinstance(step, Packet):
            buffer.put(step)
            assert len(buffer._waiting) == len(buffer._order) <= 48
            continue
        for _ in range(step):
            decision = buffer.decide()
            assert 0 < decision.frames <= CEILING_FRAMES
            assert decision.frames % 120 == 0
            total += decision.frames
    counts = buffer.counts
    assert counts.received == sum(isinstance(step, Packet) for step in steps)
    heard_frames = (
        counts.played_frames, counts.recovered_frames, counts.concealed_frames, counts.silent_frames,
        counts.paused_frames,
    )  # fmt: skip
    assert sum(heard_frames) <= total  # a restart of the stream keeps them


@settings(max_examples=100)
@given(st.lists(st.integers(0, 99), max_size=30), st.randoms(use_true_random=False))
def test_losses_keep_time(lost: list[int], rng: random.Random) -> None:
    """With packets lost and neighbours swapped, as much time is heard as was sent: nothing drifts."""
    order = [index for index in range(100) if index not in lost]
    for at in range(0, len(order) - 1, 2):
        if rng.random() < 0.3:
            order[at], order[at + 1] = order[at + 1], order[at]
    buffer, seen = FixedBuffer(), []
    arriving = iter(order)
    for index in range(100):
        for _ in range(order.count(index)):
            buffer.put(packet(next(arriving), fec=True))
        seen.append(buffer.decide())
    last = [heard(decision) for decision in seen if isinstance(decision, Play)]
    assert last == sorted(set(last), key=int)
    if last and 99 not in lost:
        assert 99 - int(last[-1]) <= 6 + len(lost)


def test_a_flood_does_not_grow_it() -> None:
    rng = random.Random(5)
    buffer = FixedBuffer()
    payloads = [rng.randbytes(rng.randrange(5)) for _ in range(64)]
    bits = rng.getrandbits
    for number in range(200_000):
        buffer.put(Packet(bits(16), bits(32) if number % 3 else bits(12), number >> 12, payloads[bits(6)]))
        if number % 7 == 0:
            buffer.decide()
        assert len(buffer._order) <= 48


def test_many_tiny_packets_are_bounded_in_number() -> None:
    """A thousand packets whose timestamps differ by one frame fit under the ceiling."""
    buffer = FixedBuffer()
    for number in range(1000):
        buffer.put(Packet(number, number, 1, bytes([_20_MS, 0, 0])))
    assert len(buffer._order) <= 48


def test_duration_of_every_configuration() -> None:
    silk, hybrid, celt = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
    expected = silk * 3 + hybrid * 2 + celt * 4
    assert tuple(duration_frames(bytes([config << 3])) for config in range(32)) == expected
    assert duration_frames(bytes([0x08 | 1])) == 1920
    assert duration_frames(bytes([0x08 | 3, 6])) == 5760
    assert duration_frames(bytes([0x08 | 3, 7])) == 0


def test_celt_and_short_packets_carry_no_copy() -> None:
    assert not carries_fec(b"\xf8\xff\xff")
    assert not carries_fec(b"\x08\x40")
    assert carries_fec(b"\x08\x40\x00")
