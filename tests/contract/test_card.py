"""One suite for `FakeCard` and for `AlsaCard` over a private PulseAudio; then what only alsa-lib can do wrong."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from intercomd.adapters.alsa import AlsaCard
from intercomd.adapters.alsa.playout import AlsaPlayout
from intercomd.adapters.alsa.shape import Shape
from intercomd.core.events import Card
from intercomd.core.snapshot import Route
from intercomd.demo.listen import SAME_VOICE, find, read_raw, read_wav
from intercomd.demo.sound import Child, SoundRig, sentence
from intercomd.fakes.card import FakeCard
from intercomd.media.engine import AudioPcms, Engine
from intercomd.media.pcm import PERIOD_FRAMES, QUEUED_PERIODS, RATE_HZ, SILENCE, Pcm
from intercomd.ports import CardError, SoundCard

SPEAKER, MICROPHONE = "wall_speaker", "wall_microphone"
PERIOD_S = PERIOD_FRAMES / RATE_HZ
VOICE = read_wav(sentence(0))[: 2 * RATE_HZ]


class Bench(Protocol):
    """A card and the hands that plug it, speak before it and listen to it."""

    card: SoundCard

    def vanish(self) -> None: ...
    def come_back(self) -> None: ...
    def say(self, sound: Pcm) -> None: ...
    def heard(self) -> Pcm: ...
    def close(self) -> None: ...


class FakeBench:
    def __init__(self) -> None:
        self.fake = FakeCard(pcms=(SPEAKER, MICROPHONE))
        self.card: SoundCard = self.fake
        self.vanish, self.come_back = self.fake.vanish, self.fake.come_back

    def say(self, sound: Pcm) -> None:
        self.fake.say(MICROPHONE, sound)

    def heard(self) -> Pcm:
        return self.fake.heard(SPEAKER)

    def close(self) -> None:
        pass


class AlsaBench:
    def __init__(self, rig: SoundRig, directory: Path, shape: Shape | None = None) -> None:
        self.card: SoundCard = AlsaCard(shape)
        self._rig, self._directory = rig, directory
        self._children: list[Child] = [rig.record("wall_spk", directory / "heard.raw")]
        self._plugged = True

    def vanish(self) -> None:
        self._rig.unplug("wall")
        self._plugged = False

    def come_back(self) -> None:
        self._rig.plug("wall")
        self._plugged = True

    def say(self, sound: Pcm) -> None:
        raw = self._directory / "said.raw"
        raw.write_bytes(sound.tobytes())
        self._children.append(self._rig.play("wall_mic", raw))

    def heard(self) -> Pcm:
        return read_raw(self._directory / "heard.raw")

    def close(self) -> None:
        for child in self._children:
            child.close()
        if not self._plugged:
            self.come_back()


@pytest.fixture(scope="module")
def rig() -> Iterator[SoundRig]:
    patch = pytest.MonkeyPatch()
    with SoundRig(["wall"]) as rig:
        for name, value in rig.env.items():
            patch.setenv(name, value)
        yield rig
    patch.undo()


SHAPES = {
    "alsa": Shape(),
    "a headset of 44.1 kHz": Shape(44100, 2),
    "a hands-free chip of 16 kHz": Shape(16000, 1),
    "an I2S card of 32 bit": Shape(48000, 2, "S32_LE"),
}
"""Real alsa-lib in each of these shapes; only that a card grants no other is left to the tests below."""


@pytest.fixture(
    params=[
        "fake",
        *(pytest.param(name, marks=pytest.mark.platform("pulseaudio", "alsa-pulse")) for name in SHAPES),
    ]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    rig = None if request.param == "fake" else request.getfixturevalue("rig")
    made: Bench = FakeBench() if rig is None else AlsaBench(rig, tmp_path, SHAPES[request.param])
    yield made
    made.close()


def until(true: Callable[[], bool], limit_s: float) -> float:
    """How long it took; fails after the limit."""
    began_s = time.monotonic()
    while not true():
        assert time.monotonic() - began_s < limit_s, "not within the limit"
        time.sleep(0.005)
    return time.monotonic() - began_s


def error_of(move: Callable[[], object]) -> CardError:
    """The error that moving periods ends with; a card that never fails fails the test."""
    for _ in range(300):
        try:
            move()
        except CardError as error:
            return error
    raise AssertionError("no error within 3 s of audio")


# ---------------------------------------------------------------------------------------------------- one suite


def test_after_a_wait_the_card_takes_the_period_at_once(bench: Bench) -> None:
    stream = bench.card.open_playout(SPEAKER)
    try:
        queued, taken_s = [], []
        for _ in range(60):
            stream.wait()
            began_s = time.monotonic()
            queued.append(stream.queued_frames())
            stream.write(SILENCE)
            taken_s.append(time.monotonic() - began_s)
        assert np.median(taken_s) < PERIOD_S / 4
        assert np.median(queued[10:]) <= (QUEUED_PERIODS - 1) * PERIOD_FRAMES
    finally:
        stream.close()


def test_writes_are_paced_by_the_card_and_two_periods_stay_queued(bench: Bench) -> None:
    stream = bench.card.open_playout(SPEAKER)
    try:
        for _ in range(10):
            stream.write(SILENCE)
        began_s = time.monotonic()
        queued, lost = [], 0
        for _ in range(100):
            lost += stream.write(SILENCE)
            queued.append(stream.queued_frames())
        assert time.monotonic() - began_s == pytest.approx(1.0 + lost / RATE_HZ, abs=0.15)
        assert max(queued) <= QUEUED_PERIODS * PERIOD_FRAMES
        assert np.median(queued) > (QUEUED_PERIODS - 1) * PERIOD_FRAMES - PERIOD_FRAMES // 2
    finally:
        stream.close()


def test_what_is_written_is_heard(bench: Bench) -> None:
    stream = bench.card.open_playout(SPEAKER)
    for period in VOICE.reshape(-1, PERIOD_FRAMES):
        stream.write(period)
    for _ in range(10):
        stream.write(SILENCE)
    stream.close()
    assert find(VOICE, bench.heard()).correlation > SAME_VOICE


def test_underrun_is_told_with_the_silence_that_was_heard(bench: Bench) -> None:
    stream = bench.card.open_playout(SPEAKER)
    try:
        for _ in range(20):
            stream.write(SILENCE)
        time.sleep(0.3)
        lost_s = stream.write(SILENCE) / RATE_HZ
        assert lost_s == pytest.approx(0.3, abs=0.06)
        assert [stream.write(SILENCE) for _ in range(10)].count(0) >= 8  # a busy machine may add one of its own
    finally:
        stream.close()


def test_reads_are_whole_periods_at_the_pace_of_the_card(bench: Bench) -> None:
    stream = bench.card.open_capture(MICROPHONE)
    try:
        stream.read()
        began_s = time.monotonic()
        for _ in range(100):
            period, lost = stream.read()
            assert period.shape == (PERIOD_FRAMES,)
            assert period.dtype == np.int16
            assert lost == 0
        assert time.monotonic() - began_s == pytest.approx(1.0, abs=0.15)
    finally:
        stream.close()


def test_what_is_said_is_read(bench: Bench) -> None:
    stream = bench.card.open_capture(MICROPHONE)
    try:
        stream.read()
        bench.say(VOICE)
        captured = np.concatenate([stream.read()[0] for _ in range(260)])
    finally:
        stream.close()
    assert find(VOICE, captured).correlation > SAME_VOICE


def test_a_card_that_goes_away_is_told_within_1_s_and_opens_again(bench: Bench) -> None:
    playout, capture = bench.card.open_playout(SPEAKER), bench.card.open_capture(MICROPHONE)
    playout.write(SILENCE)
    capture.read()
    bench.vanish()
    began_s = time.monotonic()
    errors = [error_of(lambda: playout.write(SILENCE)), error_of(capture.read)]
    assert time.monotonic() - began_s < 1.0
    assert [error.card for error in errors] == [Card.MISSING, Card.MISSING]
    assert SPEAKER in str(errors[0])
    assert MICROPHONE in str(errors[1])
    playout.close()
    capture.close()
    with pytest.raises(CardError) as reopened:
        bench.card.open_playout(SPEAKER)
    assert reopened.value.card is Card.MISSING
    bench.come_back()
    again = bench.card.open_playout(SPEAKER)
    again.write(SILENCE)
    again.close()


def test_a_blocked_read_ends_when_the_card_goes(bench: Bench) -> None:
    capture = bench.card.open_capture(MICROPHONE)
    ended: list[CardError] = []
    reader = threading.Thread(target=lambda: ended.append(error_of(capture.read)))
    reader.start()
    bench.vanish()
    reader.join(1.0)
    assert not reader.is_alive()
    assert ended[0].card is Card.MISSING
    capture.close()


@pytest.mark.parametrize("direction", ["open_playout", "open_capture"])
def test_an_unknown_pcm_is_missing_and_named(bench: Bench, direction: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CardError, match="nowhere") as refused:
        getattr(bench.card, direction)("nowhere")
    assert refused.value.card is Card.MISSING
    assert capfd.readouterr().err == ""  # a missing card is tried for ever: alsa-lib must not fill the journal


def test_close_is_fast_idempotent_and_final(bench: Bench) -> None:
    playout, capture = bench.card.open_playout(SPEAKER), bench.card.open_capture(MICROPHONE)
    for _ in range(5):
        playout.write(SILENCE)
    capture.read()
    began_s = time.monotonic()
    for stream in (playout, capture, playout, capture):
        stream.close()
    assert time.monotonic() - began_s < 0.1
    assert playout.queued_frames() >= 0
    with pytest.raises(CardError):
        playout.write(SILENCE)
    with pytest.raises(CardError):
        capture.read()


def test_fifty_openings_leave_nothing_behind(bench: Bench) -> None:
    """The fixture of tests/conftest.py counts threads and descriptors."""
    for _ in range(50):
        playout, capture = bench.card.open_playout(SPEAKER), bench.card.open_capture(MICROPHONE)
        playout.write(SILENCE)
        playout.close()
        capture.close()


# ------------------------------------------------------------------------------------------- the engine upon them


class Echo:
    """A source that gives what the sink got: the bare copy loop."""

    def __init__(self) -> None:
        self.held: list[Pcm] = []

    def pull(self) -> Pcm:
        return self.held.pop(0) if self.held else SILENCE

    def push(self, period: Pcm) -> None:
        self.held = [*self.held[-5:], period]


def test_engine_carries_a_voice_from_microphone_to_speaker_and_survives_a_pulled_plug(bench: Bench) -> None:
    lit: list[bool] = []
    cards: list[Card] = []
    echo = Echo()
    pcms = AudioPcms({Route.SPEAKER: SPEAKER}, {Route.SPEAKER: MICROPHONE})
    told = lambda state, _message: cards.append(state)  # noqa: E731
    with Engine(bench.card, pcms, echo, echo, told, lit.append, lambda _line, _frames: None) as engine:
        until(lambda: cards == [Card.READY], 2.0)
        engine.open_microphone()
        until(lambda: engine.microphone_open, 1.0)
        bench.say(VOICE)
        played = engine.levels().periods_played
        until(lambda: engine.levels().periods_played - played > 260, 5.0)
        assert find(VOICE, bench.heard()).correlation > SAME_VOICE
        bench.vanish()
        until(lambda: cards[-1] is Card.MISSING, 1.0)
        until(lambda: not engine.microphone_open, 1.0)
        time.sleep(1.0)  # the back-off grows meanwhile
        bench.come_back()
        until(lambda: cards[-1] is Card.READY and engine.microphone_open, 2.5)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 1.5
    assert engine.failed is None
    assert lit == [True, False, True, False]
    assert cards == [Card.READY, Card.MISSING, Card.READY]


# --------------------------------------------------------------------------------- a sound server of its own

PLUGGED = AudioPcms({Route.SPEAKER: SPEAKER}, {Route.SPEAKER: MICROPHONE})


class Server:
    """A rig whose server can be stopped, killed and started again, with an engine upon it."""

    def __init__(self, rig: SoundRig) -> None:
        self.rig = rig
        self.cards: list[Card] = []
        self.lit: list[bool] = []
        echo = Echo()
        told = lambda state, _message: self.cards.append(state)  # noqa: E731
        self.engine = Engine(AlsaCard(), PLUGGED, echo, echo, told, self.lit.append, lambda _line, _frames: None)

    @property
    def pid(self) -> int:
        children = [pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()]
        (pid,) = {int(pid) for pid in children if self._socket in _sockets_of(pid)}
        return pid

    @property
    def _socket(self) -> str:
        return self.rig.env["PULSE_SERVER"].removeprefix("unix:")

    def start_again(self) -> None:
        Path(self._socket).unlink(missing_ok=True)
        self.rig._serve()
        self.rig._fence()
        self.rig.plug("wall")


def _sockets_of(pid: str) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with SoundRig(["wall"]) as rig:
        for name, value in rig.env.items():
            monkeypatch.setenv(name, value)
        server = Server(rig)
        with server.engine:
            server.engine.open_microphone()
            until(lambda: server.cards == [Card.READY] and server.engine.microphone_open, 3.0)
            yield server
            assert server.engine.failed is None


@pytest.mark.platform("pulseaudio", "alsa-pulse")
def test_a_sound_server_that_dies_is_a_missing_card_and_in_use_within_2_s_of_its_return(server: Server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: server.cards[-1] is Card.MISSING and not server.engine.microphone_open, 1.0)
    assert server.lit[-1] is False
    time.sleep(2.0)  # the back-off is at its longest
    server.start_again()
    took_s = until(lambda: server.cards[-1] is Card.READY and server.engine.microphone_open, 2.5)
    assert took_s < 2.0
    assert server.lit == [True, False, True]


@pytest.mark.platform("pulseaudio", "alsa-pulse")
def test_a_sound_server_that_hangs_is_a_missing_card_and_nothing_else_hangs_with_it(server: Server) -> None:
    """alsa-lib waits for it without a limit, and pyalsaaudio would hold the GIL meanwhile."""
    pid, longest_s, last_s = server.pid, 0.0, time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        began_s = last_s
        while time.monotonic() - began_s < 4.0:
            time.sleep(0.01)
            longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
        assert server.cards == [Card.READY, Card.MISSING]
        assert server.lit == [True, False]
        assert longest_s < 0.3
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: server.cards[-1] is Card.READY and server.engine.microphone_open, 2.5)


# ----------------------------------------------------------------------------------------------- only alsa-lib


@pytest.fixture
def asound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """An ALSA configuration of the test's own."""

    def write(text: str) -> None:
        path = tmp_path / "asound.conf"
        path.write_text(text)
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(path))

    return write


def test_a_card_that_grants_stereo_only_is_written_to_in_its_own_shape(asound: Callable[[str], None]) -> None:
    """alsa-lib's multi plugin has the channels of its slaves and no others."""
    asound(
        """
        pcm.sink { type null }
        pcm.stereo { type multi slaves.a { pcm sink channels 2 }
            bindings { 0 { slave a channel 0 } 1 { slave a channel 1 } } }
        """
    )
    stream = AlsaCard().open_playout("stereo")
    assert isinstance(stream, AlsaPlayout)
    assert stream._shape == Shape(48000, 2, "S16_LE")
    for _ in range(5):
        stream.write(SILENCE)
    stream.close()


@pytest.mark.platform("alsa-pulse")
def test_a_card_whose_periods_are_too_long_says_so_and_what_to_use(asound: Callable[[str], None]) -> None:
    """alsa-lib's a52 plugin grants 44.1 kHz in stereo and 32 bit only, which will do; but 768 frames at a time."""
    asound('pcm.sink { type null }\npcm.cinema { type a52 rate 44100 channels 2 slavepcm "sink" }')
    with pytest.raises(CardError, match=r"periods of 768 frames.*type plug") as refused:
        AlsaCard().open_playout("cinema")
    assert refused.value.card is Card.MISSING


def test_a_pcm_that_does_not_keep_time_is_paced_by_the_clock(asound: Callable[[str], None]) -> None:
    """The null plugin plays everything at once and its avail() always promises the whole buffer."""
    asound("pcm.pit { type null }")
    stream = AlsaCard().open_playout("pit")
    began_s = time.monotonic()
    for _ in range(120):
        stream.write(SILENCE)
    took_s = time.monotonic() - began_s
    stream.close()
    assert took_s > 120 * PERIOD_S - 0.3


def test_the_speakerphone_s_configuration_is_read_and_asks_for_the_card_by_its_id(
    asound: Callable[[str], None],
) -> None:
    shipped = (
        (Path(__file__).parents[2] / "hw/asound/usb-speakerphone.conf").read_text().replace("Speakerphone", "NotThere")
    )
    asound(f"</usr/share/alsa/alsa.conf>\n{shipped}")
    for opened in (AlsaCard().open_playout, AlsaCard().open_capture):
        with pytest.raises(CardError, match="Cannot get card index for NotThere") as refused:
            opened("intercom_speaker" if opened.__name__ == "open_playout" else "intercom_mic")
        assert refused.value.card is Card.MISSING
