"""Voice processing put together, with a canceller that knows its room: what is sent, and what is told of it."""

import numpy as np
import pytest

from intercomd.fakes.canceller import FakeCanceller, FakeLoading
from intercomd.media.alignment import MARGIN_FRAMES
from intercomd.media.echo_delay import chirp
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from intercomd.media.processing import Switches, VoiceProcessing
from tests.unit.sounds import speech

ECHO_FRAMES = MARGIN_FRAMES + 960
"""From a frame that is written to its echo."""
FAR = speech(1, 8 * RATE_HZ)
NEAR = speech(2, 8 * RATE_HZ)
ECHO_ONLY = Switches(noise=False, gain=False, highpass=False, double_talk=False)


class Station:
    """Playout and capture in turn, before a wall that gives half of it back."""

    def __init__(self, switches: Switches = ECHO_ONLY, *, fails: bool = False, held: bool = False) -> None:
        self.canceller = FakeCanceller(0.5, ECHO_FRAMES - MARGIN_FRAMES + PERIOD_FRAMES)
        self.loading = FakeLoading(self.canceller, fails=fails, held=held)
        self.failures: list[str] = []
        self.half_duplex: list[bool] = []
        self.chirps = 0
        self.voice = VoiceProcessing(
            switches,
            self.loading if switches.engine == "livekit" else None,
            on_failed=self.failures.append,
            on_half_duplex=self.half_duplex.append,
            play_chirp=self._chirp,
        )
        self.at = 0
        self._played: Pcm = np.zeros(ECHO_FRAMES, np.int16)

    def _chirp(self) -> None:
        self.chirps += 1

    def begin(self) -> "Station":
        self.voice.start()
        if self.loading.go_on.is_set():
            self.voice.wait_loaded(5)
        self.voice.begin("microphone")
        return self

    def delay(self, frames: int) -> None:
        """The echo comes later from now on."""
        self._played = np.concatenate([np.zeros(frames, np.int16), self._played])

    def talk(self, seconds: float, *, far: bool = True, near: bool = False, lost: int = 0) -> tuple[Pcm, Pcm]:
        """What was captured and what was sent. `lost`: frames that capture loses first."""
        captured, sent = [], []
        for _ in range(round(seconds * 100)):
            at = slice(self.at % len(FAR), self.at % len(FAR) + PERIOD_FRAMES)
            self.at += PERIOD_FRAMES
            played = FAR[at] if far else np.zeros(PERIOD_FRAMES, np.int16)
            self.voice.played(played)
            self._played = np.concatenate([self._played, played])
            heard = np.rint(self._played[:PERIOD_FRAMES] * 0.5) + (NEAR[at] * 0.5 if near else 0)
            self._played = self._played[PERIOD_FRAMES:]
            captured.append(heard.astype(np.int16))
            sent.append(self.voice.captured(captured[-1], lost))
            lost = 0
        return np.concatenate(captured), np.concatenate(sent)


def rms(sound: Pcm) -> float:
    return float(np.sqrt(np.mean(sound.astype(float) ** 2)))


def test_an_echo_is_taken_away_and_measured() -> None:
    station = Station().begin()
    captured, sent = station.talk(6)
    assert rms(sent[RATE_HZ:]) < rms(captured[RATE_HZ:]) / 30
    status = station.voice.status()
    assert status.parts == ("echo",)
    assert status.erle_db is not None
    assert status.erle_db > 30
    assert status.echo_delay_ms == pytest.approx(ECHO_FRAMES / 48, abs=1)
    assert station.canceller.expected_ms == pytest.approx(30, abs=1)
    assert station.half_duplex == []


def test_a_near_end_is_sent_as_it_is_while_both_speak() -> None:
    station = Station().begin()
    station.talk(5)
    _, sent = station.talk(3, near=True)
    said = NEAR[5 * RATE_HZ :] * 0.5
    assert np.abs(sent - said).max() <= 3


def test_half_duplex_stands_in_until_the_canceller_is_loaded_and_proven() -> None:
    station = Station(held=True).begin()
    captured, sent = station.talk(1)
    assert station.voice.status().parts == ("half-duplex",)
    assert station.half_duplex == [True]
    assert rms(sent) < rms(captured) / 10
    station.loading.go_on.set()
    assert station.voice.wait_loaded(5)
    station.talk(1)
    assert station.half_duplex == [True, False]
    assert station.voice.status().parts == ("echo",)


def test_without_a_canceller_calls_are_half_duplex_and_it_is_told_once() -> None:
    station = Station(fails=True).begin()
    captured, sent = station.talk(3)
    assert station.failures == ["there is none here: install it"]
    assert station.voice.status().half_duplex
    assert rms(sent) < rms(captured) / 30
    _, alone = station.talk(2, far=False, near=True)
    assert rms(alone[RATE_HZ:]) == pytest.approx(rms(NEAR[4 * RATE_HZ : 5 * RATE_HZ]) * 0.5, rel=0.3)


def test_a_canceller_that_breaks_in_a_call_leaves_half_duplex() -> None:
    station = Station().begin()
    station.talk(4)
    station.canceller.failing = True
    captured, sent = station.talk(2)
    assert station.failures == ["the canceller failed"]
    assert station.half_duplex == [True]
    assert rms(sent) < rms(captured) / 10


def test_a_canceller_that_leaves_an_echo_is_helped_until_it_does_better() -> None:
    station = Station().begin()
    station.talk(5)
    station.canceller.working = False
    station.talk(8)
    assert station.half_duplex == [True]
    captured, sent = station.talk(2)
    assert rms(sent) < rms(captured) / 10
    station.canceller.working = True
    station.talk(8)
    assert station.half_duplex == [True, False]


def test_after_an_xrun_half_duplex_stands_in_until_the_canceller_is_proven_again() -> None:
    station = Station().begin()
    station.talk(5)
    captured, sent = station.talk(0.8, lost=PERIOD_FRAMES // 2)  # by the wrong length: the reference is off from now on
    assert rms(sent[RATE_HZ // 10 :]) < rms(captured[RATE_HZ // 10 :]) / 10
    assert station.half_duplex == [], "no state that is worth a lamp"


def test_after_an_echo_has_jumped_half_duplex_stands_in() -> None:
    """A network of loudspeakers, or a sound server, changes its delay in a call: the canceller knows the old room."""
    station = Station().begin()
    station.talk(5)
    station.delay(2400)
    captured, sent = station.talk(4)
    assert station.half_duplex == [], "it is over by itself, and no fault of the room"
    assert rms(sent[RATE_HZ : 3 * RATE_HZ]) < rms(captured[RATE_HZ : 3 * RATE_HZ]) / 10


def test_both_ends_speaking_for_long_is_no_poor_canceller() -> None:
    station = Station().begin()
    station.talk(4)
    for _ in range(5):
        station.talk(1.6, near=True)
        station.talk(0.4)
    assert station.half_duplex == []


def test_half_duplex_as_configured_loads_nothing() -> None:
    station = Station(Switches(engine="half-duplex", highpass=False)).begin()
    captured, sent = station.talk(3)
    assert rms(sent[RATE_HZ:]) < rms(captured[RATE_HZ:]) / 30
    assert station.loading.asked == {}
    assert station.voice.status().parts == ("half-duplex",)


def test_each_part_can_be_switched_off() -> None:
    station = Station(Switches(echo=False, noise=True, gain=False, highpass=True)).begin()
    assert station.loading.asked == {"echo": False, "noise": True, "gain": False}
    station.talk(0.1)
    assert station.voice.status().parts == ("highpass", "noise")
    assert station.half_duplex == []
    assert station.chirps == 0


def test_a_chirp_measures_the_delay_once_on_each_way() -> None:
    station = Station().begin()
    assert station.chirps == 1
    station.talk(2)
    station.voice.begin("microphone")
    assert station.chirps == 1, "the delay is known"
    station.voice.begin("handset")
    assert station.chirps == 2
    quiet = Station(Switches(chirp=False)).begin()
    assert quiet.chirps == 0
    assert len(chirp()) % PERIOD_FRAMES == 0


def test_close_ends_the_canceller_and_is_idempotent() -> None:
    station = Station().begin()
    station.voice.close()
    station.voice.close()
    station.talk(0.1)
    assert station.voice.status().parts == ("half-duplex",)
