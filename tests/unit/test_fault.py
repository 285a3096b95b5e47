"""What a station with a faulty configuration tells: the report beside the file, the sentence, the lines it uses."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from intercomd.config import ConfigError, Mistake, load, salvage
from intercomd.core.events import Card
from intercomd.device import fault, speech
from intercomd.device.unusable import leave, left
from intercomd.fakes.card import FakeCard
from intercomd.media.pcm import RATE_HZ
from intercomd.texts import LANGUAGES, Language, speaking

WRONG = Mistake("audio.bitrate_bps", "is 1", "a whole number from 6000 to 64000")

FAULTY = """
[station]
name = 5
language = "zh"

[audio]
speaker_pcm = "hall"
bitrate_bps = 1

[panel]
leds = { error = 7 }
buttons = { call = "x" }

[nonsense]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "intercomd.toml"
    path.write_text(FAULTY)
    return path


# -------------------------------------------------------------------------------------------------------- what is left


def test_mistakes_are_left_for_the_next_program_and_forgotten_by_a_good_start(tmp_path: Path) -> None:
    environ = {"RUNTIME_DIRECTORY": str(tmp_path)}
    leave([WRONG], environ)
    assert left(tmp_path) == (WRONG,)
    leave([], environ)
    assert left(tmp_path) == ()


@pytest.mark.parametrize("text", ["", "[[", "[1]", json.dumps([["a", "b"]])])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "mistakes.json").write_text(text)
    assert left(tmp_path) == ()


def test_without_a_runtime_directory_nothing_is_left() -> None:
    leave([WRONG], {})


# ---------------------------------------------------------------------------------------------------------- the report


def test_the_report_has_every_mistake_in_both_languages_beside_the_file_itself(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, "device", {})
    link = tmp_path / "etc" / "intercomd.toml"
    link.parent.mkdir()
    link.symlink_to(file)
    report = fault.write_report(link, caught.value.mistakes)
    assert report == tmp_path / "intercomd-error.txt"
    said = report.read_bytes().decode()
    for mistake in caught.value.mistakes:
        assert said.count(f"- {mistake}\r\n") == len(LANGUAGES)
    assert len(caught.value.mistakes) >= 4
    assert "配置有误" in said
    assert sorted(os.listdir(tmp_path)) == ["etc", "intercomd-error.txt", "intercomd.toml"]


def test_without_a_known_mistake_the_report_says_where_to_look(file: Path) -> None:
    assert "journalctl -u intercomd" in fault.write_report(file, ()).read_text()


def test_what_is_right_in_a_faulty_file_is_used(file: Path) -> None:
    config = salvage(file)
    assert (config.station.language, config.station.name) == ("zh", "station")
    assert (config.audio.speaker_pcm, config.audio.bitrate_bps) == ("hall", 48000)
    assert fault._board(config).leds["error"] == 7


@pytest.mark.parametrize("text", [b"[[[", b"\xff", b"station = 3\n", b"[[panel]]\na = 1\n"])
def test_a_file_that_is_none_leaves_the_built_in_lines(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    assert fault._board(salvage(file)).leds["error"] == 19


# -------------------------------------------------------------------------------------------------------- the sentence


def test_the_recordings_are_of_the_texts() -> None:
    """Else: `python -m intercomd.texts.speaking`."""
    assert json.loads(speaking.MANIFEST.read_text()) == {one: speaking.sentences(one) for one in LANGUAGES}
    for language in LANGUAGES:
        files = {path.stem for path in (speaking.SPOKEN / language).glob("*.wav")}
        assert files == set(speaking.sentences(language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("where", "section"),
    [("audio.bitrate_bps", "audio"), ("ice.servers[0].urls", "ice"), ("", "file"), ("nonsense", "file")],
)
def test_the_section_of_the_first_mistake_is_named(language: Language, where: str, section: str) -> None:
    said = np.frombuffer(speech.spoken([Mistake(where, "is wrong")], language), "<i2")
    expected_s = sum(len(speaking.sound(name, language)) / 2 / speaking.RATE_HZ for name in ("configuration", section))
    assert len(said) / RATE_HZ == pytest.approx(expected_s + speech.GAP_S, abs=0.01)
    assert np.abs(said).max() > 15_000


def test_a_raised_sound_is_the_same_sound() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000) * np.hanning(8000) * 20_000
    raised = np.frombuffer(speech._raised(tone.astype("<i2").tobytes()), "<i2")
    same = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000) * np.hanning(48000) * 20_000
    assert np.abs(raised - same).max() < 100


class Asked(threading.Event):
    """Instead of waiting: asked again at once, and ended in the end."""

    def __init__(self, ended: threading.Event, rounds: int) -> None:
        super().__init__()
        self._ended, self._rounds = ended, rounds
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) == self._rounds:
            self._ended.set()
        return True


def test_it_is_said_through_the_pcm_that_is_there_and_again_when_asked() -> None:
    """A few times by itself, then only when a button asks for it."""
    card, ended = FakeCard(pcms=("default",)), threading.Event()
    asked = Asked(ended, 3)
    sentence = np.full(480 * 3, 500, "<i2").tobytes()
    failures: list[Exception] = []
    speech.speak(card, ("gone", "default"), sentence, 2, 20.0, asked, ended, failures.append)
    assert asked.waits == [20.0, None, None]
    assert failures == []
    assert np.count_nonzero(card.heard("default") == 500) == 3 * 480 * 3
    assert card.streams() == []


def test_a_card_that_is_missing_is_told_once_and_tried_again() -> None:
    card, ended = FakeCard(pcms=()), threading.Event()
    card.refuse(Card.MISSING)
    asked = Asked(ended, 3)
    failures: list[Exception] = []
    speech.speak(card, ("a", "b"), bytes(960), 3, 20.0, asked, ended, failures.append)
    assert asked.waits == [speech.RETRY_S] * 3
    assert len(failures) == 1
