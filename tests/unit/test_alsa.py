"""What the ALSA adapter makes of alsa-lib's refusals; the PCMs themselves are tested in tests/contract/test_card.py."""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alsaaudio import ALSAAudioError

from intercomd.adapters.alsa.capture import AlsaCapture
from intercomd.adapters.alsa.faults import barred_nodes, holders, refusal
from intercomd.adapters.alsa.opening import info, unsuitable
from intercomd.adapters.alsa.playout import AlsaPlayout
from intercomd.adapters.alsa.shape import FromCard, Shape, ToCard
from intercomd.core.events import Card
from intercomd.media.pcm import PERIOD_FRAMES, QUEUED_PERIODS, SILENCE, Pcm
from intercomd.ports import CardError

GRANTED = {"rate": 48000, "channels": 1, "format_name": "S16_LE", "period_size": 480, "buffer_size": 1920}


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Two processes: one plays on card 1, one records from it."""
    for pid, name, node in (("812", "pulseaudio", "pcmC1D0p"), ("99", "arecord", "pcmC1D0c")):
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "comm").write_text(f"{name}\n")
        (tmp_path / pid / "fd" / "0").symlink_to("/dev/null")
        (tmp_path / pid / "fd" / "7").symlink_to(f"/dev/snd/{node}")
    (tmp_path / "self").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("reason", "card"),
    [
        ("No such file or directory", Card.MISSING),
        ("No such device", Card.MISSING),
        ("Input/output error", Card.MISSING),
        ("Connection refused", Card.MISSING),
        ("Invalid argument", Card.MISSING),
        ("Device or resource busy", Card.BUSY),
        ("Permission denied", Card.DENIED),
        ("Operation not permitted", Card.DENIED),
    ],
)
def test_each_reason_has_its_state_and_its_advice(reason: str, card: Card, tmp_path: Path) -> None:
    error = refusal("intercom_mic", "capture", f"{reason} [intercom_mic]", [], tmp_path, tmp_path)
    assert error.card is card
    assert str(error).startswith(f"intercom_mic: capture does not open: {reason}")
    assert ";" in str(error)  # what to do follows


def test_alsa_lib_s_own_words_are_kept() -> None:
    error = refusal("x", "playback", "No such file or directory [x]", ["earlier", "Unknown PCM x"])
    assert "(Unknown PCM x)" in str(error)


def test_the_holder_of_a_busy_card_is_named_by_direction(proc: Path) -> None:
    nodes = Path("/dev/snd")
    assert holders("playback", proc, nodes) == ["pulseaudio (pid 812)"]
    assert holders("capture", proc, nodes) == ["arecord (pid 99)"]
    error = refusal("speaker", "playback", "Device or resource busy [speaker]", [], proc, nodes)
    assert "held by pulseaudio (pid 812): end it" in str(error)


def test_the_holder_is_named_with_its_card_by_the_kernel_s_own_word(tmp_path: Path) -> None:
    """/proc/asound is for everybody, and names the thread that opened the PCM: the process is what can be ended."""
    for direction in "pc":
        (tmp_path / f"asound/card1/pcm0{direction}/sub0").mkdir(parents=True)
    (tmp_path / "asound/card1/id").write_text("Speakerphone\n")
    (tmp_path / "asound/card1/pcm0p/sub0/status").write_text("state: RUNNING\nowner_pid   : 813\ntrigger_time: 1.0\n")
    (tmp_path / "asound/card1/pcm0c/sub0/status").write_text("closed\n")
    for task in ("812", "813"):
        (tmp_path / task).mkdir()
        (tmp_path / task / "status").write_text(f"Name:\tx\nTgid:\t812\nPid:\t{task}\n")
    (tmp_path / "812/comm").write_text("pulseaudio\n")
    assert holders("playback", tmp_path, Path("/dev/snd")) == ["pulseaudio (pid 812, card Speakerphone)"]
    assert holders("capture", tmp_path, Path("/dev/snd")) == []


def test_an_invisible_holder_is_admitted(tmp_path: Path) -> None:
    assert "fuser" in str(refusal("speaker", "playback", "Device or resource busy [speaker]", [], tmp_path))


@pytest.mark.parametrize(("readable", "card"), [(True, Card.MISSING), (False, Card.DENIED)])
def test_a_card_that_permission_hides_is_denied_and_not_missing(
    readable: bool, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """alsa-lib cannot even find the card's name then, and says that there is no such device."""
    (tmp_path / "controlC0").touch()
    monkeypatch.setattr(os, "access", lambda _path, _mode: readable)
    assert bool(barred_nodes(tmp_path)) is not readable
    error = refusal("hw:CARD=Wall", "playback", "No such device [hw:CARD=Wall]", [], tmp_path, tmp_path)
    assert error.card is card


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"period_size": 240}, ""),
        ({"buffer_size": 4800}, ""),
        ({"rate": 44100, "period_size": 441}, ""),
        ({"rate": 16000, "period_size": 160, "buffer_size": 640}, ""),
        ({"rate": 16000, "buffer_size": 640}, "periods of 480"),
        ({"rate": 4000}, "4000 Hz"),
        ({"channels": 2}, ""),
        ({"format_name": "S32_LE"}, ""),
        ({"format_name": "FLOAT_LE"}, "FLOAT_LE"),
        ({"period_size": 1024}, "periods of 1024"),
        ({"buffer_size": 960}, "buffer of 960"),
    ],
)
def test_what_is_granted_is_checked(change: dict[str, Any], said: str) -> None:
    complaint = unsuitable(GRANTED | change)
    assert said in complaint
    assert bool(said) == bool(complaint)


TONE: Pcm = np.rint(12_000 * np.sin(2 * np.pi * 400 / 48_000 * np.arange(100 * PERIOD_FRAMES))).astype(np.int16)


@pytest.mark.parametrize("sample", ["S16_LE", "S24_LE", "S24_3LE", "S32_LE"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_what_goes_to_a_card_of_another_shape_comes_back_the_same(sample: str, channels: int) -> None:
    shape = Shape(48_000, channels, sample)
    there, back = ToCard(shape), FromCard(shape)
    for period in TONE.reshape(-1, PERIOD_FRAMES):
        block = there.block(period)
        assert len(block) == PERIOD_FRAMES * shape.frame_bytes
        back.put(block)
        again = back.period()
        assert again is not None
        assert np.array_equal(again, period)
    assert back.period() is None


def test_blocks_of_any_length_leave_no_memory_behind() -> None:
    """numpy keeps freed arrays of each length below 1 KiB: the pulse plugin's blocks have all of them, in time."""
    back = FromCard(Shape())
    before = malloc_bytes()
    for frames in (*range(1, PERIOD_FRAMES), *range(1, PERIOD_FRAMES)):
        for part in (frames // 2, frames - frames // 2, PERIOD_FRAMES - frames):
            back.put(bytes(2 * part))
        assert back.period() is not None
    assert malloc_bytes() - before < 200_000  # with arrays 300 kB, with bytes 100: glibc keeps some, too


def malloc_bytes() -> int:
    """In use, by glibc (mallinfo2(3))."""

    class Figures(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in ("1", "2", "3", "4", "5", "6", "7", "in_use", "9", "10")]

    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = Figures
    return int(mallinfo2().in_use)


def test_opening_a_card_makes_no_new_names_each_time() -> None:
    """CPython's table of interned names, 0.9 MB, grows by names that come and go, too."""

    class Handle:
        def info(self) -> dict[str, int]:
            return {"".join(("buffer_size ", "of this test")): 1}

    info(Handle())
    another = "".join(("buffer_size ", "of this test"))
    assert sys.intern(another) is not another


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 96_000])
def test_a_card_of_another_rate_gets_and_gives_10_ms_at_a_time(rate_hz: int) -> None:
    shape = Shape(rate_hz, 2)
    there, back = ToCard(shape), FromCard(shape)
    heard, longest = [], 0
    for period in TONE.reshape(-1, PERIOD_FRAMES):
        block = there.block(period)
        longest = max(longest, len(block))
        back.put(block)
        while (again := back.period()) is not None:
            heard.append(again)
    assert longest <= shape.period_frames * shape.frame_bytes
    assert len(heard) >= 98
    sound = np.concatenate(heard).astype(float)[4800:]
    share = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert share.argmax() * 48_000 / len(sound) == pytest.approx(400, abs=2)
    assert np.abs(sound).max() == pytest.approx(12_000, rel=0.01)


class Handle:
    """A PCM of pyalsaaudio that answers from a script: what the kernel does on a suspend cannot be had otherwise."""

    def __init__(self, answers: Iterator[int | str]) -> None:
        self._answers = answers
        self.written: list[bytes] = []
        self.closed = False

    def info(self) -> dict[str, Any]:
        return GRANTED

    def avail(self) -> int:
        return 1920

    def polldescriptors(self) -> list[tuple[int, int]]:
        return []

    def write(self, block: bytes) -> int:
        answer = next(self._answers, len(block) // 2)
        if isinstance(answer, str):
            raise ALSAAudioError(answer)
        if answer > 0:
            self.written.append(block)
        return answer

    def read(self) -> tuple[int, bytes]:
        answer = next(self._answers, PERIOD_FRAMES)
        if isinstance(answer, str):
            raise ALSAAudioError(answer)
        return answer, bytes(2 * max(0, answer))

    def drop(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


SUSPENDED = f"{os.strerror(errno.ESTRPIPE)} [speaker]"


def test_a_card_that_was_suspended_is_opened_again_at_once_and_the_gap_is_told() -> None:
    handles = [Handle(iter([480, 480, SUSPENDED])), Handle(iter([]))]
    opening = iter(handles)
    stream = AlsaPlayout(lambda: (next(opening), Shape()), "speaker")
    assert stream.write(SILENCE) == 0
    assert stream.write(TONE[:PERIOD_FRAMES]) >= (QUEUED_PERIODS - 1) * PERIOD_FRAMES
    assert handles[0].closed
    assert b"".join(handles[1].written).endswith(TONE[:PERIOD_FRAMES].tobytes())
    stream.close()


def test_a_microphone_that_was_suspended_is_opened_again_at_once_and_the_gap_is_told() -> None:
    handles = [Handle(iter([480, 100, SUSPENDED])), Handle(iter([480]))]
    opening = iter(handles)
    stream = AlsaCapture(lambda: (next(opening), Shape()), "microphone")
    assert stream.read()[1] == 0
    period, lost = stream.read()
    assert period.shape == (PERIOD_FRAMES,)
    assert lost >= 100  # what had been read and was no whole period is lost as well
    assert handles[0].closed
    stream.close()


def test_a_card_that_is_not_back_from_its_suspend_is_missing() -> None:
    def opened() -> tuple[Any, Shape]:
        if handles:
            return handles.pop(), Shape()
        raise CardError(Card.MISSING, "No such device")

    handles = [Handle(iter([480, 480, SUSPENDED]))]
    stream = AlsaPlayout(opened, "speaker")
    stream.write(SILENCE)
    with pytest.raises(CardError, match="No such device"):
        stream.write(SILENCE)
