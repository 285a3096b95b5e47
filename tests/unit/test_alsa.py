"""What the ALSA adapter makes of alsa-lib's refusals; the PCMs themselves are tested in tests/contract/test_card.py."""

import os
from pathlib import Path
from typing import Any

import pytest

from intercomd.adapters.alsa import barred_nodes, holders, refusal, unsuitable
from intercomd.core.events import Card

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
        ({"rate": 44100}, "44100 Hz"),
        ({"channels": 2}, "2 channel(s)"),
        ({"format_name": "S32_LE"}, "S32_LE"),
        ({"period_size": 1024}, "periods of 1024"),
        ({"buffer_size": 960}, "buffer of 960"),
    ],
)
def test_what_is_granted_is_checked(change: dict[str, Any], said: str) -> None:
    complaint = unsuitable(GRANTED | change)
    assert said in complaint
    assert bool(said) == bool(complaint)
