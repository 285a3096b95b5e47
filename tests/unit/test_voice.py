"""The voice between threads and loop: sound comes through, losses are covered, queues bounded, epochs apart."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from intercomd.media.fixed import FixedBuffer
from intercomd.media.jitter import Decision, Play
from intercomd.media.opus import Encoder
from intercomd.media.packet import Packet
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm, level_dbfs
from intercomd.media.voice import ReceivedVoice
from tests.unit.sounds import best_alignment, likeness, speech

pytestmark = pytest.mark.platform("libopus")


class Ear(ReceivedVoice):
    """A period is pulled every 10 ms of a clock that nobody waits for."""

    def __init__(self) -> None:
        super().__init__(now_s=lambda: self.at_s)
        self.at_s = 100.0

    def deliver(self, packet: Packet) -> None:
        super().deliver(replace(packet, arrived_s=self.at_s))

    def pull(self) -> Pcm:
        self.at_s += 0.010
        return super().pull()


@pytest.fixture
def received() -> Iterator[ReceivedVoice]:
    voice = Ear()
    yield voice
    voice.close()


def encoded(voice: Pcm, *, ssrc: int = 1, frame_ms: int = 20) -> list[Packet]:
    with Encoder(frame_ms=frame_ms) as encoder:
        encoder.expect_loss(20)
        return [
            Packet(at // encoder.frames, at, ssrc, encoder.encode(voice[at : at + encoder.frames]))
            for at in range(0, len(voice) - encoder.frames + 1, encoder.frames)
        ]


def listen(received: ReceivedVoice, packets: Sequence[Packet | None]) -> Pcm:
    """Deliver a packet every 20 ms (None: it is lost on the way), pull every 10 ms."""
    heard = []
    for packet in packets:
        if packet is not None:
            received.deliver(packet)
        heard += [received.pull(), received.pull()]
    return np.concatenate(heard)


def test_silence_while_there_is_nothing(received: ReceivedVoice) -> None:
    for _ in range(20):
        assert received.pull() is SILENCE


def test_voice_comes_through_within_60_ms(received: ReceivedVoice) -> None:
    voice = speech(1, 48_000)
    heard = listen(received, encoded(voice))
    at, alike = best_alignment(voice[:24_000], heard)
    assert alike > 0.8
    assert at <= 48 * 60
    assert likeness(voice[:46_000], heard) > 0.8
    assert received.counts.concealed_frames == 0


@pytest.mark.parametrize("frame_ms", [10, 20])
def test_each_period_is_whole_and_its_own(received: ReceivedVoice, frame_ms: int) -> None:
    for packet in encoded(speech(1, 9_600), frame_ms=frame_ms)[:5]:
        received.deliver(packet)
    periods = [received.pull() for _ in range(6)]
    assert {(period.shape, period.dtype) for period in periods} == {((PERIOD_FRAMES,), np.dtype(np.int16))}
    kept = [period.copy() for period in periods]
    for _ in range(10):
        received.pull()
    assert all(np.array_equal(a, b) for a, b in zip(periods, kept, strict=True))


class Asking(FixedBuffer):
    """Wants each packet shorter, and keeps what it is told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[int] = []

    def decide(self, now_s: float = 0.0, ahead_frames: int = 0, /) -> Decision:
        decision = super().decide(now_s, ahead_frames)
        return replace(decision, stretch=-480) if isinstance(decision, Play) else decision

    def stretched(self, frames: int) -> None:
        self.told.append(frames)


def test_the_buffer_is_told_what_was_left_out_of_a_voice() -> None:
    buffer = Asking()
    voice = ReceivedVoice(buffer)
    listen(voice, encoded(tone(96_000)))
    voice.close()
    assert len(buffer.told) > 50
    assert all(-480 <= frames <= -120 for frames in buffer.told)


def test_a_tenth_lost_is_mostly_rebuilt_and_never_silent(received: ReceivedVoice) -> None:
    voice = speech(2, 96_000)
    packets = encoded(voice)
    heard = listen(received, [None if index % 10 == 7 else packet for index, packet in enumerate(packets)])
    counts = received.counts
    assert 10 * 960 <= counts.recovered_frames + counts.concealed_frames <= 11 * 960
    assert counts.recovered_frames > counts.concealed_frames
    assert counts.silent_frames == 0
    assert likeness(voice[:90_000], heard) > 0.75


def tone(frames: int) -> Pcm:
    """A steady tone, whose level tells the gain."""
    return (8000 * np.sin(2 * np.pi * 200 * np.arange(frames) / 48_000)).astype(np.int16)


def test_it_fades_out_within_100_ms_and_comes_back_without_a_click(received: ReceivedVoice) -> None:
    packets: list[Packet | None] = [*encoded(tone(96_000))]
    heard = listen(received, packets[:50] + [None] * 20 + packets[70:])
    levels = [level_dbfs(heard[at : at + 480]) for at in range(0, len(heard), 480)]
    last = next(number for number in range(130, 60, -1) if levels[number] > -96)
    begin = next(number for number in range(last + 1, 200) if levels[number] > -96)
    assert begin - last > 25
    assert levels[last] < levels[last - 7] - 12
    assert np.abs(heard[(last + 1) * 480 - 24 : (last + 1) * 480]).max() < 300
    first = next(at for at in range(begin * 480, len(heard)) if heard[at])
    assert np.abs(heard[first : first + 24]).max() < 900
    assert levels[begin + 8] > -20


def test_after_a_reset_nothing_of_the_last_stream_is_heard(received: ReceivedVoice) -> None:
    listen(received, encoded(speech(1, 48_000))[:20])
    received.reset()
    assert received.counts.received == 0
    assert all(received.pull() is SILENCE for _ in range(10))
    voice = speech(5, 48_000)
    assert likeness(voice[:46_000], listen(received, encoded(voice, ssrc=9))) > 0.8


def test_packets_that_nobody_pulls_are_bounded(received: ReceivedVoice) -> None:
    """A card that went away must not leave old voice for when it comes back."""
    packets = encoded(speech(1, 96_000))
    for packet in packets:
        received.deliver(packet)
    assert received.overrun == len(packets) - 6
    received.pull()
    assert received.counts.received == 6


def test_garbage_is_concealed(received: ReceivedVoice) -> None:
    """A code 3 packet whose padding runs beyond its end: the first byte looks right, libopus refuses it."""
    packets = encoded(tone(48_000))
    packets[30] = replace(packets[30], payload=b"\x0b\x41\xff")
    heard = listen(received, packets)
    assert received.undecodable == 1
    # Packet by packet: libopus 1.5 lets a concealed tone die within its second 10 ms.
    levels = [level_dbfs(heard[at : at + 960]) for at in range(20 * 960, 50 * 960, 480)]
    assert min(levels) > -30


def test_what_the_buffer_aims_at_is_told(received: ReceivedVoice) -> None:
    fixed = ReceivedVoice(buffer_ms=60)
    assert fixed.target_s == 0.06
    fixed.close()
    jittery = encoded(speech(4, 4 * 48_000))
    assert received.target_s == 0.0
    for index, packet in enumerate(jittery):
        if index % 2:  # two packets at a time: every second one is 20 ms late
            received.deliver(jittery[index - 1])
            received.deliver(packet)
        received.pull()
        received.pull()
    assert 0.015 <= received.target_s <= 0.04


def test_decoded_voice_from_elsewhere(received: ReceivedVoice) -> None:
    voice = speech(1, 48_000)
    heard = []
    for at in range(0, len(voice), 1000):
        received.deliver_pcm(voice[at : at + 1000])
        heard += [received.pull(), received.pull()]
    at, alike = best_alignment(voice[:30_000], np.concatenate(heard))
    assert alike > 0.99
    assert at <= 48 * 60
    received.reset()
    assert received.pull() is SILENCE


def test_packets_that_were_under_way_at_a_reset_are_not_heard(received: ReceivedVoice) -> None:
    for packet in encoded(speech(1, 9_600)):
        received.deliver(packet)
    received.reset()
    received.pull()
    assert received.counts.received == 0


def test_pull_after_close_is_silence() -> None:
    voice = ReceivedVoice()
    voice.deliver(encoded(speech(1, 9600))[0])
    voice.close()
    voice.close()
    assert voice.pull() is SILENCE


def test_delivery_and_pull_from_two_threads(received: ReceivedVoice) -> None:
    packets = encoded(speech(1, 48_000))
    wrong: list[str] = []

    def play() -> None:
        for _ in range(400):
            if received.pull().shape != (PERIOD_FRAMES,):
                wrong.append("shape")

    thread = threading.Thread(target=play)
    thread.start()
    for round_number in range(20):
        for packet in packets[:20]:
            received.deliver(packet)
        if round_number % 5 == 4:
            received.reset()
    thread.join()
    assert not wrong


# ------------------------------------------------------------------------------------------------------ sent voice


@pytest.mark.parametrize("ppm", [-600, 600])
def test_a_far_end_with_another_crystal_costs_neither_packets_nor_delay(ppm: int) -> None:
    """60 s at 600 ppm are 36 ms: uncorrected, the buffer runs dry or leaves packets out."""
    now_s = 100.0
    voice = ReceivedVoice(now_s=lambda: now_s)
    packets = encoded(speech(3, 48_000)) * 61
    sent = 0
    for pull in range(6000):
        now_s = 100.0 + pull * 0.01
        while sent * 0.02 / (1 + ppm / 1e6) <= pull * 0.01:
            arrived_s = 100.003 + sent * 0.02 / (1 + ppm / 1e6)
            voice.deliver(replace(packets[sent], sequence=sent, timestamp=sent * 960, arrived_s=arrived_s))
            sent += 1
        voice.pull()
    counts, found_ppm = voice.counts, voice.drift_ppm
    voice.close()
    assert found_ppm == pytest.approx(ppm, abs=250)
    assert counts.concealed_frames == counts.silent_frames == 0
    assert counts.left_out == counts.overflowed == 0
