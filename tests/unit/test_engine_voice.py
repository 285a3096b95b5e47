"""The engine with voice processing and with push-to-talk, on the fake card by a clock that the test turns."""

from collections.abc import Iterator

import numpy as np
import pytest

from intercomd.core.effects import Tone
from intercomd.core.snapshot import Route
from intercomd.fakes.canceller import FakeCanceller, FakeLoading
from intercomd.fakes.card import FakeCard
from intercomd.fakes.clock import ManualClock
from intercomd.media.engine import AudioPcms, Engine
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm
from intercomd.media.processing import Switches, VoiceProcessing

SPEAKER, HANDSET, MICROPHONE = "speaker", "handset", "microphone"
PCMS = AudioPcms(
    playout={Route.SPEAKER: SPEAKER, Route.HANDSET: HANDSET},
    capture={Route.SPEAKER: MICROPHONE, Route.HANDSET: MICROPHONE},
)


class Reckoner(FakeCanceller):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Pcm, Pcm]] = []

    def process(self, captured: Pcm, reference: Pcm) -> Pcm:
        self.pairs.append((captured, reference))
        return captured + np.int16(1)

    def firsts(self) -> list[int]:
        """The number that each reference bears in its first frame; 0 for silence."""
        return [int(reference[0]) for _, reference in self.pairs]


class Rig:
    """Periods of the far end bear their number in each frame."""

    def __init__(self, *, push_to_talk: bool = False, processed: bool = True) -> None:
        self.clock = ManualClock()
        self.card = FakeCard(self.clock)
        self.canceller = Reckoner()
        switches = Switches(highpass=False, noise=False, gain=False, chirp=False, double_talk=False)
        self.voice = VoiceProcessing(switches, FakeLoading(self.canceller)) if processed else None
        self.pulled = 0
        self.pushed: list[Pcm] = []
        self.microphone: list[bool] = []
        self.engine = Engine(
            self.card,
            PCMS,
            self,
            self,
            lambda _state, _message: None,
            self.microphone.append,
            lambda _line, _frames: None,
            clock=self.clock,
            processing=self.voice,
            push_to_talk=push_to_talk,
        )
        self.engine.start()
        self.clock.settle(threads=2)
        self.engine.prepare()
        if self.voice is not None:
            assert self.voice.wait_loaded(5)

    def pull(self) -> Pcm:
        self.pulled += 1
        return np.full(PERIOD_FRAMES, self.pulled, np.int16)

    def push(self, period: Pcm) -> None:
        self.pushed.append(period)

    def stop(self) -> None:
        self.clock.run_out()
        self.engine.stop()
        assert self.engine.failed is None


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.stop()


def test_the_reference_is_what_the_card_took_in_its_order(rig: Rig) -> None:
    rig.clock.advance(0.5)
    rig.engine.open_microphone()
    rig.clock.advance(1.0)
    firsts = rig.canceller.firsts()
    assert firsts == list(range(firsts[0], firsts[0] + len(firsts)))
    assert rig.pulled - firsts[-1] <= 3
    assert all(int(period[0]) == 1 for period in rig.pushed[1:]), "what the canceller made of it is sent"
    assert rig.engine.voice.parts == ("echo",)


def test_an_overrun_moves_the_reference_by_as_much(rig: Rig) -> None:
    rig.clock.advance(0.5)
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    rig.card.overrun(4 * PERIOD_FRAMES)
    before = len(rig.canceller.pairs)
    rig.clock.advance(0.2)
    after = rig.canceller.firsts()[before + 1 :]
    assert after[0] == 0, "no time went by for it: what belongs here is not played yet"
    assert rig.voice is not None
    assert rig.voice.reference.slipped_frames == 0


def test_an_underrun_is_silence_in_the_reference(rig: Rig) -> None:
    rig.clock.advance(0.5)
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    rig.card.underrun(960)
    before = len(rig.canceller.pairs)
    rig.clock.advance(0.3)
    silent = sum(np.count_nonzero(reference == 0) for _, reference in rig.canceller.pairs[before:])
    assert silent == 960 + PERIOD_FRAMES, "the gap and the period of silence that refills the card"


def test_tones_are_in_the_reference_too(rig: Rig) -> None:
    rig.pull = lambda: SILENCE  # type: ignore[method-assign]
    rig.clock.advance(0.5)
    rig.engine.open_microphone()
    rig.engine.loop(Tone.BUSY)
    rig.clock.advance(0.3)
    references = np.concatenate([reference for _, reference in rig.canceller.pairs[-10:]])
    heard = rig.card.heard(SPEAKER)
    places = np.lib.stride_tricks.sliding_window_view(heard, len(references))[::PERIOD_FRAMES]
    assert references.any()
    assert any(np.array_equal(place, references) for place in places)


def test_without_processing_the_microphone_is_sent_as_it_is() -> None:
    rig = Rig(processed=False)
    rig.card.say(MICROPHONE, np.arange(PERIOD_FRAMES * 10, dtype=np.int16))
    rig.clock.advance(0.05)
    rig.engine.open_microphone()
    rig.clock.advance(0.05)
    assert rig.engine.voice.parts == ()
    assert all(np.all(np.diff(period) == 1) for period in rig.pushed)
    rig.stop()


def test_push_to_talk_opens_the_microphone_only_while_the_button_is_held_in_a_call() -> None:
    rig = Rig(push_to_talk=True, processed=False)
    rig.engine.talk(True)
    rig.clock.advance(0.2)
    rig.engine.talk(False)
    assert rig.microphone == [], "no call, no microphone"
    rig.engine.open_microphone()
    rig.clock.advance(0.2)
    assert rig.microphone == []
    rig.engine.talk(True)
    rig.clock.advance(0.2)
    assert rig.microphone == [True]
    heard = rig.card.heard(SPEAKER)
    assert not heard[-PERIOD_FRAMES:].any(), "who talks does not hear the far end"
    rig.engine.talk(False)
    rig.clock.advance(0.2)
    assert rig.microphone == [True, False]
    assert rig.card.heard(SPEAKER)[-PERIOD_FRAMES:].any()
    rig.engine.close_microphone()
    rig.engine.talk(True)
    rig.clock.advance(0.2)
    assert rig.microphone == [True, False]
    rig.stop()


def test_without_push_to_talk_the_button_changes_nothing(rig: Rig) -> None:
    rig.engine.open_microphone()
    rig.engine.talk(False)
    rig.clock.advance(0.2)
    assert rig.microphone == [True]
