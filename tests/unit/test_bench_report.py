"""What a benchmark says, and what it must not pass over: misses, invalid runs, peers that are missing, ears that hear
wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from intercomd.demo.listen import read_wav
from intercomd.demo.sound import sentence
from intercomd.media.pcm import RATE_HZ, Pcm
from tests.bench.load import Load
from tests.bench.report import Peer, Row, broken, invalid, is_valid, row, table, verdict, write
from tests.bench.sounds import CHIRP_FRAMES, Dated, chirps, delays_s, find_chirps, voice_from_s, without_pauses

NOBODY = Peer(None, reason="nobody else can")


def test_the_file_is_what_interfaces_says(tmp_path: Path) -> None:
    rows = [
        row("delay: median", 41.23456, "ms", Peer("stock", 90.0), at_most=45.0),
        row("growth", 2.0, "%", NOBODY, at_most=1.0, reason="100 → 102 MB"),
        row("import", 0.5, "s", Peer("stock", 0.4)),
    ]
    write(rows, tmp_path / "build" / "bench" / "x.json")
    read = json.loads((tmp_path / "build" / "bench" / "x.json").read_text())
    assert read[0] == {
        "name": "delay: median", "ours": 41.2346, "peer": 90.0, "peer_name": "stock", "unit": "ms", "target": "≤ 45",
        "ok": True, "reason": "",
    }  # fmt: skip
    assert (read[1]["ok"], read[1]["peer"]) == (False, None)
    assert read[1]["reason"] == "100 → 102 MB; nobody else can"
    assert (read[2]["ok"], read[2]["target"]) == (None, "")


def test_a_peer_is_never_left_out_without_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        row("delay", 1.0, "ms", Peer("stock"))
    with pytest.raises(ValueError, match="numbers"):
        row("delay", float("nan"), "ms", NOBODY)


def test_the_peer_can_be_the_target() -> None:
    assert row("cpu", 5.0, "%", Peer("stock", 7.0), at_most_peer=True).ok is True
    missed = row("cpu", 9.0, "%", Peer("stock", 6.0), at_most_peer=True)
    assert missed.ok is False
    assert verdict(missed) == "MISSED (1.50 of it)"


def test_invalid_runs_are_no_results() -> None:
    good = [row("delay", 1.0, "ms", NOBODY, at_most=2.0)]
    assert is_valid(good)
    assert not is_valid([]), "a run that measured nothing"
    assert not is_valid([*good, broken("calls", "the house fell down")])
    doubted = invalid(good, "the machine was busy")
    assert not is_valid(doubted)
    assert doubted[0].ok is False
    assert verdict(doubted[0]) == "INVALID"
    assert doubted[0].reason == "INVALID: the machine was busy; nobody else can"


def test_a_busy_machine_is_told_in_every_way_it_can_be_busy() -> None:
    assert not Load(0.1, 9.0, 0.001, 0.0).complaints(), "our own load is no complaint"
    for load in (Load(99.0, 1.0, 0.001, 0.0), Load(0.1, 1.0, 0.05, 0.0), Load(0.1, 1.0, 0.001, 0.9)):
        assert len(load.complaints()) == 1


def test_the_table_has_the_ratio_and_the_verdict() -> None:
    missed = row("delay", 90.0, "ms", Peer("stock", 45.0), at_most=60.0, reason="9 calls")
    text = table([missed, Row("x", None, None, None, "", "", None, "")])
    assert "2.00" in text
    assert "MISSED (1.50 of it)" in text
    assert "delay: 9 calls" in text


def late(sound: Pcm, frames: int) -> Pcm:
    return np.concatenate((np.zeros(frames, np.int16), sound))


def noisy(sound: Pcm) -> Pcm:
    noise = np.random.default_rng(1).normal(0, 300, len(sound))
    return (0.5 * sound + noise).clip(-32768, 32767).astype(np.int16)


def test_delays_are_measured_to_the_sample() -> None:
    spoken = chirps(8.0, seed=3)
    heard = Dated(noisy(late(spoken, 4321)), 100.0)
    delays, count = delays_s(Dated(spoken, 100.01), heard, 0.5)
    assert count >= 11
    assert len(delays) == count
    for delay_s in delays:
        assert delay_s == pytest.approx(4321 / RATE_HZ - 0.01, abs=0.0005)


def test_a_chirp_that_was_swallowed_is_missed_and_no_other_is_taken_for_it() -> None:
    spoken = chirps(8.0, seed=3)
    at = find_chirps(spoken)
    heard = late(spoken, 2400)
    heard[at[4] + 2400 - 480 : at[4] + 2400 + CHIRP_FRAMES + 480] = 0
    delays, count = delays_s(Dated(spoken, 0.0), Dated(heard, 0.0), 0.5)
    assert len(delays) == count - 1
    assert max(delays) == pytest.approx(0.05, abs=0.0005)
    assert delays_s(Dated(spoken, 0.0), Dated(np.zeros_like(spoken), 0.0), 0.5)[0] == []


def test_when_a_voice_is_back_is_known_to_some_milliseconds() -> None:
    voice, other = (without_pauses(read_wav(sentence(number))) for number in (0, 1))
    tone = (4000 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)
    gap = np.concatenate((voice[:48_000], np.zeros(24_000, np.int16), tone))
    recorded = noisy(np.concatenate((gap, voice[70_000:140_000])))
    back_s = voice_from_s(voice, recorded, 1.1)
    assert back_s == pytest.approx(len(gap) / RATE_HZ, abs=0.03)
    assert voice_from_s(other, recorded, 1.1) is None, "another voice is not this one"
    assert voice_from_s(voice, gap, 1.1) is None, "a tone is no voice"


def test_a_target_from_below_is_met_from_above() -> None:
    nobody = Peer(None, reason="none")
    assert row("erle", 38.0, "dB", nobody, at_least=38).ok is True
    assert row("erle", 37.9, "dB", nobody, at_least=38).ok is False
    judged = row("PESQ", 4.0, "", Peer("stock aiortc", 4.1), at_least_peer=True)
    assert (judged.ok, judged.target) == (False, "≥ 4.1")
