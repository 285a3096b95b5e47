"""The near end's voice on its way to the event loop: whole packets, bounded, coded as reports ask for."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest

from intercomd.media.near_end import SentFrame, SentVoice
from intercomd.media.opus import Decoder
from intercomd.media.packet import carries_fec, duration_frames
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm
from intercomd.media.sending import Report
from tests.unit.sounds import best_alignment, speech

pytestmark = pytest.mark.platform("libopus")


def ignore() -> None:
    """A wake-up that nobody needs."""


@pytest.fixture
def sent() -> Iterator[SentVoice]:
    voice = SentVoice()
    yield voice
    voice.close()


def push(sent: SentVoice, pcm: Pcm) -> None:
    for at in range(0, len(pcm), PERIOD_FRAMES):
        sent.push(pcm[at : at + PERIOD_FRAMES])


@pytest.mark.parametrize("frame_ms", [10, 20])
def test_pushed_voice_becomes_packets(frame_ms: Literal[10, 20]) -> None:
    sent, voice, woken, decoded = SentVoice(frame_ms=frame_ms), speech(1, 48_000), [0], []
    taken: list[SentFrame] = []

    def wake() -> None:
        woken[0] += 1
        frame = sent.take()
        assert frame is not None
        taken.append(frame)

    sent.start(wake)
    push(sent, voice)
    sent.close()
    assert woken[0] == 1000 // frame_ms
    assert [frame.at_frames for frame in taken] == list(range(0, 48_000, frame_ms * 48))
    assert lengths(taken) == {frame_ms * 48}
    with Decoder() as decoder:
        for frame in taken:
            assert frame.payload
            decoded.append(decoder.decode(frame.payload).copy())
    assert best_alignment(voice[:40_000], np.concatenate(decoded))[1] > 0.8


def test_nothing_is_encoded_before_start_and_after_stop(sent: SentVoice) -> None:
    push(sent, speech(1, 9600))
    assert sent.take() is None
    sent.start(ignore)
    push(sent, speech(1, 9600))
    sent.stop()
    assert sent.take() is None
    push(sent, speech(1, 9600))
    assert sent.take() is None


def test_the_oldest_are_dropped_beyond_100_ms(sent: SentVoice) -> None:
    sent.start(ignore)
    push(sent, speech(1, 48_000))
    waiting = []
    while (frame := sent.take()) is not None:
        waiting.append(frame.at_frames)
    assert waiting == [at * 960 for at in range(45, 50)]
    assert sent.dropped == 45


def test_a_new_start_begins_with_a_whole_frame(sent: SentVoice) -> None:
    sent.start(ignore)
    sent.push(speech(1, 480))
    sent.start(ignore)
    sent.push(speech(2, 480))
    assert sent.take() is None
    sent.push(speech(2, 480))
    assert sent.take() is not None


def test_dtx_frames_are_marked_and_not_carried() -> None:
    sent = SentVoice(dtx=True)
    kinds = []

    def wake() -> None:
        frame = sent.take()
        assert frame is not None
        kinds.append(frame.payload is None)

    sent.start(wake)
    push(sent, np.zeros(96_000, np.int16))
    sent.close()
    assert len(kinds) == 100
    assert 50 < sum(kinds) < 100


def test_the_packet_of_silence_is_silent_and_small(sent: SentVoice) -> None:
    assert 3 <= len(sent.silence) <= 40
    with Decoder() as decoder:
        for _ in range(20):
            quiet = decoder.decode(sent.silence)
            assert len(quiet) == 960
            assert np.abs(quiet).max() <= 4


def taken_while(sent: SentVoice, pcm: Pcm) -> list[bytes]:
    payloads = []

    def wake() -> None:
        frame = sent.take()
        assert frame is not None
        payloads.append(frame.payload or b"")

    sent.start(wake)
    push(sent, pcm)
    return payloads


@pytest.mark.parametrize("bitrate_bps", [24_000, 28_000, 36_000, 44_000, 48_000, 64_000])
def test_copies_are_sent_before_any_loss_was_reported(bitrate_bps: int) -> None:
    sent = SentVoice(bitrate_bps=bitrate_bps)
    payloads = taken_while(sent, speech(3, 96_000))
    sent.close()
    assert sum(map(carries_fec, payloads)) > len(payloads) / 2


def test_copies_are_left_out_while_nothing_is_lost_and_come_back_with_the_first_loss(sent: SentVoice) -> None:
    payloads: list[bytes] = []

    def wake() -> None:
        frame = sent.take()
        assert frame is not None
        payloads.append(frame.payload or b"")

    def copies(loss: float, reports: int) -> int:
        for _ in range(reports):
            sent.report(Report(loss))
        payloads.clear()
        push(sent, speech(3, 48_000))
        return sum(map(carries_fec, payloads))

    sent.start(wake)
    assert copies(0.0, 10) > 20
    assert copies(0.0, 10) <= 1
    assert copies(0.02, 1) > 20


def test_a_slow_processor_codes_with_less_effort() -> None:
    """It takes 4 of 20 ms for each frame, until the complexity is low enough."""
    now_s, asked = [0.0], [0]

    def cpu_s() -> float:
        asked[0] += 1
        if asked[0] % 2 == 0:
            now_s[0] += 0.004 if slow._coding.complexity > 4 else 0.001
        return now_s[0]

    slow = SentVoice(cpu_s=cpu_s)
    payloads = taken_while(slow, speech(3, 240_000))
    slow.close()
    assert slow._coding.complexity == 4
    assert len(payloads) == 250


def test_push_after_close_does_nothing() -> None:
    sent = SentVoice()
    sent.start(ignore)
    sent.close()
    sent.close()
    sent.push(SILENCE)
    assert sent.take() is None


LAN = Report(0.0, 0.002, 0.001, 0.1, takes_short=True)
LOSS = Report(0.05, 0.002, 0.001, 0.1, takes_short=True)


class Talk:
    """A voice whose packets change their length."""

    def __init__(self) -> None:
        self.sent, self.taken = SentVoice(frame_ms="auto"), list[SentFrame]()
        self.sent.start(self.wake)

    def wake(self) -> None:
        frame = self.sent.take()
        assert frame is not None
        self.taken.append(frame)

    def hears(self, report: Report, times: int = 15) -> None:
        for _ in range(times):
            self.sent.report(report)

    def says(self, pcm: Pcm) -> list[SentFrame]:
        before = len(self.taken)
        push(self.sent, pcm)
        return self.taken[before:]


def lengths(frames: list[SentFrame]) -> set[int]:
    return {frame.frames for frame in frames}


def test_packets_change_their_length_in_the_middle_of_a_voice() -> None:
    """Nothing of it is lost or said twice; what an Opus packet says of its length is what its frame says."""
    talk, voice = Talk(), speech(1, 240_000)
    assert lengths(talk.says(voice[:48_000])) == {960}
    talk.hears(LAN)
    assert lengths(talk.says(voice[48_000:96_000])[50:]) == {480}
    talk.hears(LOSS, 1)
    assert lengths(talk.says(voice[96_000:192_000])[75:]) == {960}
    talk.hears(LAN, 30)
    assert lengths(talk.says(voice[192_000:])[50:]) == {480}
    talk.sent.close()
    assert all(later.at_frames == earlier.at_frames + earlier.frames for earlier, later in pairwise(talk.taken))
    with Decoder() as decoder:
        decoded = [decoder.decode(frame.payload or b"").copy() for frame in talk.taken]
    assert [len(pcm) for pcm in decoded] == [frame.frames for frame in talk.taken]
    assert [duration_frames(frame.payload or b"") for frame in talk.taken] == [frame.frames for frame in talk.taken]
    assert best_alignment(voice[:200_000], np.concatenate(decoded))[1] > 0.8


def test_another_length_waits_for_a_pause() -> None:
    talk, noise = Talk(), np.random.default_rng(1).integers(-3000, 3000, 19_200).astype(np.int16)
    talk.says(noise)
    talk.hears(LAN)
    assert lengths(talk.says(noise)) == {960}
    assert lengths(talk.says(np.zeros(4_800, np.int16))) == {480}
    talk.sent.close()


def test_but_not_for_longer_than_half_a_second() -> None:
    talk, noise = Talk(), np.random.default_rng(1).integers(-3000, 3000, 48_000).astype(np.int16)
    talk.says(noise[:9_600])
    talk.hears(LAN)
    frames = [frame.frames for frame in talk.says(noise)]
    talk.sent.close()
    assert frames.index(480) * 960 in (24_000, 24_960)


def test_no_copy_is_of_a_packet_of_another_length() -> None:
    """libopus would code it with the tables of the present one's."""
    talk, voice = Talk(), speech(3, 768_000)
    for number, report in enumerate([LAN, LOSS] * 4):
        talk.hears(report, 120)
        talk.says(voice[number * 96_000 : (number + 1) * 96_000])
    talk.sent.close()
    changes = [(one, other) for one, other in pairwise(talk.taken) if one.frames != other.frames]
    assert len(changes) == 7
    assert not any(carries_fec(other.payload or b"") for _, other in changes)
    assert sum(carries_fec(frame.payload or b"") for frame in talk.taken) > 50


def test_another_stream_begins_with_long_packets_and_copies() -> None:
    talk, voice = Talk(), speech(3, 96_000)
    talk.hears(LAN)
    assert 480 in lengths(talk.says(voice))
    talk.sent.start(talk.wake)
    frames = talk.says(voice)
    talk.sent.close()
    assert lengths(frames) == {960}
    assert sum(carries_fec(frame.payload or b"") for frame in frames) > 20


def test_a_queue_is_answered_with_fewer_bits() -> None:
    talk, voice = Talk(), speech(3, 96_000)

    def size() -> int:
        return sum(len(frame.payload or b"") for frame in talk.says(voice))

    talk.hears(Report(0.0, 0.02), 1)
    before = size()
    talk.hears(Report(0.0, 0.6), 4)
    squeezed = size()
    talk.hears(Report(0.0, 0.02), 30)
    again = size()
    talk.sent.close()
    assert squeezed < 0.65 * before
    assert again >= 0.9 * before


def test_a_busy_processor_codes_with_less_effort() -> None:
    talk, voice = Talk(), speech(3, 9_600)
    talk.hears(Report(cpu_ratio=0.9), 6)
    talk.says(voice)
    assert talk.sent._coding.complexity == 4
    talk.hears(Report(cpu_ratio=0.2), 60)
    talk.says(voice)
    assert talk.sent._coding.complexity == 6
    talk.sent.close()
