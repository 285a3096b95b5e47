"""The engine on the fake card, in its real threads, by a clock that the test turns."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from intercomd.core.effects import Jingle, Tone
from intercomd.core.events import Card
from intercomd.core.snapshot import Route
from intercomd.fakes.card import FakeCard
from intercomd.fakes.clock import ManualClock
from intercomd.media.engine import AudioPcms, Engine
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm
from intercomd.media.tones import loop_of

SPEAKER, HANDSET, MICROPHONE, HANDSET_MICROPHONE = "speaker", "handset", "microphone", "handset_microphone"
PCMS = AudioPcms(
    playout={Route.SPEAKER: SPEAKER, Route.HANDSET: HANDSET},
    capture={Route.SPEAKER: MICROPHONE, Route.HANDSET: HANDSET_MICROPHONE},
)


class Voice:
    """A source whose every period tells its number, and a sink that keeps what it gets."""

    def __init__(self) -> None:
        self.pulled = 0
        self.pushed: list[Pcm] = []

    def pull(self) -> Pcm:
        self.pulled += 1
        return np.full(PERIOD_FRAMES, self.pulled, np.int16)

    def push(self, period: Pcm) -> None:
        self.pushed.append(period)


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.card = FakeCard(self.clock)
        self.voice = Voice()
        self.cards: list[tuple[Card, str]] = []
        self.microphone: list[bool] = []
        self.xruns: list[tuple[str, int]] = []
        self.engine = Engine(
            self.card,
            PCMS,
            self.voice,
            self.voice,
            lambda state, message: self.cards.append((state, message)),
            self.microphone.append,
            lambda line, frames: self.xruns.append((line, frames)),
            clock=self.clock,
        )

    def start(self) -> "Rig":
        self.engine.start()
        self.clock.settle(threads=2)
        return self

    def stop(self) -> None:
        self.clock.run_out()
        self.engine.stop()

    def states(self) -> list[Card]:
        return [state for state, _ in self.cards]

    def numbers(self, pcm: str) -> list[int]:
        """The numbers of the source's periods that were heard."""
        return [int(period[0]) for period in self.card.heard(pcm).reshape(-1, PERIOD_FRAMES) if period[0]]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.stop()
    assert rig.engine.failed is None
    assert rig.card.streams() == []
    assert not {"playout", "capture"} & {thread.name for thread in threading.enumerate()}


def test_plays_the_source_in_real_time_with_two_periods_queued(rig: Rig) -> None:
    rig.start().clock.advance(1.0)
    assert 100 <= rig.voice.pulled <= 103
    assert rig.numbers(SPEAKER) == list(range(1, len(rig.numbers(SPEAKER)) + 1))
    levels = rig.engine.levels()
    assert levels.playout_open
    assert levels.periods_played == rig.voice.pulled
    assert 10 <= levels.playout_queued_ms <= 20


def test_no_period_is_made_before_it_is_due(rig: Rig) -> None:
    rig.start()
    for _ in range(20):
        rig.clock.advance(0.013)
        assert rig.voice.pulled == rig.numbers(SPEAKER)[-1], "a period that waits is 10 ms more from mouth to ear"


def test_is_ready_only_when_a_microphone_was_probed_and_closes_it_again(rig: Rig) -> None:
    rig.start()
    assert rig.states() == []  # playout is open, nothing has been captured yet
    rig.clock.advance(0.1)
    assert rig.cards == [(Card.READY, f"{SPEAKER} and {MICROPHONE}")]
    assert [stream.pcm for stream in rig.card.streams()] == [SPEAKER]
    assert rig.microphone == []
    assert rig.voice.pushed == []


def test_missing_microphone_is_known_before_the_first_call(rig: Rig) -> None:
    rig.card.refuse(Card.MISSING, MICROPHONE)
    rig.start().clock.advance(0.1)
    assert rig.states() == [Card.MISSING]
    assert MICROPHONE in rig.cards[0][1]
    rig.card.accept()
    rig.clock.advance(2.0)
    assert rig.states() == [Card.MISSING, Card.READY]


@pytest.mark.parametrize("how", [Card.MISSING, Card.BUSY, Card.DENIED])
def test_a_card_that_does_not_open_is_told_once_and_opened_within_2_s_of_its_return(rig: Rig, how: Card) -> None:
    rig.card.refuse(how)
    rig.start().clock.advance(30.0)
    assert rig.states() == [how]
    rig.card.accept()
    rig.clock.advance(2.0)
    assert rig.states() == [how, Card.READY]
    assert rig.engine.levels().playout_open


def test_microphone_is_told_open_only_after_its_first_period(rig: Rig) -> None:
    rig.start().clock.advance(0.1)
    rig.engine.open_microphone()
    rig.clock.advance(0.009)
    assert rig.microphone == []
    assert not rig.engine.microphone_open
    rig.clock.advance(0.002)
    assert rig.microphone == [True]
    assert rig.engine.microphone_open
    assert len(rig.voice.pushed) == 1


def test_microphone_is_told_closed_only_once_the_pcm_is(rig: Rig) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.2)
    seen: list[list[str]] = []
    told = rig.microphone.append
    rig.engine._capture._on_microphone = lambda lit: (
        told(lit),
        seen.append([stream.pcm for stream in rig.card.streams()]),
    )
    rig.engine.close_microphone()
    rig.clock.advance(0.011)
    assert rig.microphone == [True, False]
    assert seen == [[SPEAKER]]
    pushed = len(rig.voice.pushed)
    rig.clock.advance(1.0)
    assert len(rig.voice.pushed) == pushed


def test_captured_audio_reaches_the_sink(rig: Rig) -> None:
    rig.start().clock.advance(0.1)
    said = np.arange(5000, 5000 + 3 * PERIOD_FRAMES, dtype=np.int16)
    rig.card.say(MICROPHONE, said)
    rig.engine.open_microphone()
    rig.clock.advance(0.05)
    assert np.array_equal(np.concatenate(rig.voice.pushed[:3]), said)
    assert rig.engine.levels().capture_dbfs > -40
    assert rig.engine.levels().periods_captured == len(rig.voice.pushed)


def test_pulled_plug_darkens_the_led_is_told_once_and_heals(rig: Rig) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    rig.card.vanish()
    rig.clock.advance(0.01)
    assert rig.states() == [Card.READY, Card.MISSING]
    assert rig.microphone == [True, False]
    assert not rig.engine.levels().playout_open
    rig.clock.advance(10.0)
    rig.card.come_back()
    rig.clock.advance(2.0)
    assert rig.states() == [Card.READY, Card.MISSING, Card.READY]
    assert rig.microphone == [True, False, True]


@pytest.mark.parametrize("away_s", [0.1, 0.7, 1.8, 3.01, 3.5, 10.0, 60.3])
def test_a_card_is_in_use_again_soon_after_its_return_however_long_it_was_away(rig: Rig, away_s: float) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(2.0)
    rig.card.vanish()
    rig.clock.advance(away_s)
    rig.card.come_back()
    rig.clock.advance(1.1)
    assert rig.states()[-1] is Card.READY
    assert rig.microphone[-1]


def test_source_is_drained_in_real_time_while_there_is_no_card(rig: Rig) -> None:
    rig.start().clock.advance(0.5)
    rig.card.vanish()
    before = rig.voice.pulled
    rig.clock.advance(5.0)
    assert 499 <= rig.voice.pulled - before <= 502
    rig.card.come_back()
    rig.clock.advance(5.0)
    assert 999 <= rig.voice.pulled - before <= 1003


def test_the_time_of_a_slow_opening_is_made_good(rig: Rig) -> None:
    rig.card.opening_s = 0.4
    rig.start().clock.advance(2.0)
    assert 198 <= rig.voice.pulled <= 203


def test_a_microphone_that_fails_in_a_call_is_watched_for_after_it(rig: Rig) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    rig.card.refuse(Card.MISSING, MICROPHONE)
    for stream in rig.card.streams():
        if stream.pcm == MICROPHONE:
            stream.gone.set()
    rig.clock.advance(0.1)
    rig.engine.close_microphone()
    rig.clock.advance(5.0)
    assert rig.states() == [Card.READY, Card.MISSING]
    rig.card.accept()
    rig.clock.advance(2.0)
    assert rig.states() == [Card.READY, Card.MISSING, Card.READY]
    assert rig.microphone == [True, False]


def test_a_card_that_does_not_move_is_given_up_and_its_time_is_made_good(rig: Rig) -> None:
    rig.start().clock.advance(0.5)
    rig.card.freeze()
    before = rig.voice.pulled
    rig.clock.advance(0.52)
    assert rig.states()[-1] is Card.MISSING
    rig.clock.advance(0.48)
    assert 98 <= rig.voice.pulled - before <= 103


def test_microphone_that_returns_with_the_card_is_probed_again(rig: Rig) -> None:
    rig.start().clock.advance(0.5)
    rig.card.vanish()
    rig.clock.advance(1.0)
    rig.card.come_back()
    rig.card.refuse(Card.MISSING, MICROPHONE)
    rig.clock.advance(3.0)
    assert rig.states()[-1] is Card.MISSING
    assert MICROPHONE in rig.cards[-1][1]


def test_back_off_of_a_card_that_opens_and_fails_at_once_grows(rig: Rig) -> None:
    rig.start().clock.advance(2.0)
    opened = rig.card.opened[SPEAKER]
    for _ in range(100):  # ten seconds
        for stream in rig.card.streams():
            stream.gone.set()
        rig.clock.advance(0.1)
    assert rig.card.opened[SPEAKER] - opened <= 11


def test_route_opens_the_other_pcms_and_voice_goes_on_without_a_gap(rig: Rig) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    rig.engine.set_route(Route.HANDSET)
    rig.clock.advance(0.5)
    assert sorted(stream.pcm for stream in rig.card.streams()) == [HANDSET, HANDSET_MICROPHONE]
    numbers = rig.numbers(SPEAKER) + rig.numbers(HANDSET)
    assert numbers == list(range(1, len(numbers) + 1))
    assert rig.microphone == [True, False, True]
    assert rig.states() == [Card.READY]


def test_route_with_the_same_pcms_opens_nothing(rig: Rig) -> None:
    rig.engine._pcms = AudioPcms(
        {Route.SPEAKER: SPEAKER, Route.HANDSET: SPEAKER}, {Route.SPEAKER: MICROPHONE, Route.HANDSET: MICROPHONE}
    )
    rig.start().clock.advance(0.5)
    rig.engine.set_route(Route.HANDSET)
    rig.clock.advance(0.5)
    assert rig.card.opened == {SPEAKER: 1, MICROPHONE: 1}


@pytest.mark.parametrize("missing", [HANDSET, HANDSET_MICROPHONE])
def test_route_to_a_card_that_is_not_there_is_told_and_the_way_back_is_immediate(rig: Rig, missing: str) -> None:
    rig.start().clock.advance(0.5)
    rig.card.refuse(Card.MISSING, missing)
    rig.engine.set_route(Route.HANDSET)
    rig.clock.advance(5.0)
    assert rig.states() == [Card.READY, Card.MISSING]
    rig.engine.set_route(Route.SPEAKER)
    rig.clock.advance(0.05)
    assert rig.states() == [Card.READY, Card.MISSING, Card.READY]


def test_xruns_are_told_with_their_frames_and_late_voice_is_skipped(rig: Rig) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    rig.card.underrun(960)
    rig.card.overrun(2400)
    before = rig.voice.pulled
    rig.clock.advance(0.1)
    assert sorted(rig.xruns) == [("capture", 2400), ("playout", 1440)]
    assert rig.engine.levels().xruns == 2
    assert rig.voice.pulled - before == pytest.approx(10 + 1440 / PERIOD_FRAMES, abs=1)


def test_what_overruns_cost_is_sent_as_silence_to_the_frame(rig: Rig) -> None:
    """Without it the far end's buffer runs down by each of them, and so does its estimate of the two clocks."""
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    total = 0
    for lost in (700, 260, 479, 1, 20):
        rig.card.overrun(lost)
        rig.clock.advance(0.1)
        total += lost
        captured = rig.engine.levels().periods_captured * PERIOD_FRAMES
        assert len(rig.voice.pushed) == (captured + total) // PERIOD_FRAMES
        assert {len(period) for period in rig.voice.pushed} == {PERIOD_FRAMES}


def test_after_a_long_gap_the_far_end_begins_anew_and_nothing_is_inserted_without_end(rig: Rig) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.5)
    rig.card.overrun(480 * 5000)
    rig.clock.advance(0.1)
    assert len(rig.voice.pushed) == rig.engine.levels().periods_captured + 10


def test_tone_loops_over_the_voice_until_it_is_ended(rig: Rig) -> None:
    rig.voice.pull = lambda: SILENCE  # type: ignore[method-assign]
    rig.start().clock.advance(0.1)
    played = rig.engine.levels().periods_played
    rig.engine.loop(Tone.BUSY)
    rig.clock.advance(2.0)
    sound = rig.card.heard(SPEAKER)[(played + 1) * PERIOD_FRAMES :]
    turn = loop_of(Tone.BUSY)
    assert np.array_equal(sound[: len(turn)], turn)
    assert np.array_equal(sound[len(turn) : len(turn) + PERIOD_FRAMES], turn[:PERIOD_FRAMES])
    rig.clock.advance(0.3)
    assert rig.engine.levels().playout_dbfs > -40
    rig.engine.loop(None)
    rig.clock.advance(3.0)
    assert not rig.card.heard(SPEAKER)[-PERIOD_FRAMES * 200 :].any()
    assert rig.engine.levels().playout_dbfs == -96.0


def test_jingle_sounds_once(rig: Rig) -> None:
    rig.voice.pull = lambda: SILENCE  # type: ignore[method-assign]
    rig.start().clock.advance(0.1)
    rig.engine.play(Jingle.CONNECTED)
    rig.clock.advance(1.0)
    (loud,) = np.nonzero(rig.card.heard(SPEAKER))
    assert 0.1 < (loud[-1] - loud[0]) / 48000 < 0.3


def test_stop_is_idempotent_and_closes_an_open_microphone(rig: Rig) -> None:
    rig.start()
    rig.engine.open_microphone()
    rig.clock.advance(0.1)
    rig.stop()
    rig.engine.stop()
    assert rig.microphone == [True, False]
    assert rig.card.streams() == []


def test_stop_before_start_does_nothing() -> None:
    Rig().engine.stop()


def test_a_thread_that_dies_is_seen(rig: Rig) -> None:
    rig.start().clock.advance(0.1)

    def broken() -> Pcm:
        raise ZeroDivisionError

    rig.voice.pull = broken  # type: ignore[method-assign]
    rig.clock.advance(0.1)
    assert isinstance(rig.engine.failed, ZeroDivisionError)
    assert rig.card.streams() == []
    rig.engine.failed = None
