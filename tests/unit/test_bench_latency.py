"""The judge of live mouth to ear: what its wire does to packets, and what it makes of recordings."""

import json
import socket
import struct
from dataclasses import replace

import numpy as np
import pytest

from intercomd.media.pcm import RATE_HZ
from tests.bench.audio.conditions import AFTER, BAD, PHASES, ZERO, Run, Taken, Window
from tests.bench.audio.hearing import (
    Heard,
    base_s,
    by_start,
    calm,
    delays,
    found,
    hiccups_s,
    silent_at,
    sound,
    steadiest,
)
from tests.bench.audio.impaired import Condition, Fates
from tests.bench.audio.lanes import OURS, STOCK
from tests.bench.audio.latency_rows import PEERS, Unheard, complaints, rows, series
from tests.bench.load import Load
from tests.bench.report import Row
from tests.bench.sounds import Dated

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
QUIET = Load(0.1, 0.2, 0.001, 0.01)


def datagram(payload: bytes, source: str = A, target: str = B) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    return struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0) + ends + bytes(8) + payload


VOICE, REPORT = b"\x80\x60" + bytes(20), b"\x80\xc8" + bytes(20)


@pytest.mark.parametrize(
    "packet",
    [
        datagram(b"\x00\x01" + bytes(18)),  # STUN
        datagram(b"\x16\xfe\xfd"),  # DTLS
        datagram(b"INVITE sip:callee SIP/2.0"),
        datagram(b""),
        bytes([0x45]) + bytes(8) + b"\x06" + bytes(10) + VOICE,  # TCP
        b"\x60" + bytes(60),  # IPv6
    ],
)
def test_all_but_rtp_and_rtcp_passes_at_once(packet: bytes) -> None:
    fates = Fates(Condition("all", loss=1.0))
    assert fates.of(packet) == 0.0
    assert fates.of(datagram(VOICE)) is None
    assert fates.of(datagram(REPORT)) is None


def test_every_stream_in_a_direction_has_the_same_fates() -> None:
    condition = Condition("10 %", loss=0.1, jitter_s=0.05)
    one, other = Fates(condition), Fates(condition)
    one.of(datagram(REPORT))
    first = [one.of(datagram(VOICE)) for _ in range(1000)]
    assert first == [other.of(datagram(VOICE, B, C)) for _ in range(1000)]
    assert first != [one.of(datagram(VOICE, B, A)) for _ in range(1000)]
    late_s = [fate_s for fate_s in first if fate_s is not None]
    assert 70 < len(first) - len(late_s) < 130
    assert 0 <= min(late_s) < 0.002 < 0.048 < max(late_s) <= 0.05
    assert one.told()[f"{A}>{B}"]["lost"] == len(first) - len(late_s)


def test_exactly_one_packet_of_each_stream_is_lost() -> None:
    fates = Fates(Condition("one", drop_next=1))
    assert fates.of(datagram(REPORT)) == 0.0
    assert [fates.of(datagram(VOICE)) for _ in range(3)] == [None, 0.0, 0.0]
    assert fates.of(datagram(VOICE, B, A)) is None


def test_a_condition_begins_its_fates_anew() -> None:
    fates = Fates()
    assert fates.of(datagram(VOICE)) == 0.0
    fates.change(Condition(**json.loads('{"name": "one", "drop_next": 1}')))
    assert fates.of(datagram(VOICE)) is None


def test_chirps_are_found_across_blocks() -> None:
    pcm = sound(30.0, 5)
    at = found(pcm)
    assert 44 <= len(at) <= 54
    assert min(np.diff(at)) > 0.5 * RATE_HZ


@pytest.mark.parametrize("late_s", [0.03, 0.45, 0.75])
def test_delays_longer_than_the_chirps_are_apart(late_s: float) -> None:
    """With a gap in the ear that swallows some, and another delay after it."""
    said = sound(20.0, 6)
    late = round(late_s * RATE_HZ)
    heard = np.zeros(len(said) + RATE_HZ, np.int16)
    heard[late : late + len(said)] = said
    heard[8 * RATE_HZ : 10 * RATE_HZ] = 0
    found_s = [one.delay_s for one in delays(Dated(said, 100.0), Dated(heard, 100.0))]
    assert sum(delay_s is None for delay_s in found_s) in range(2, 6)
    assert [delay_s for delay_s in found_s if delay_s is not None] == pytest.approx(
        [late_s] * (len(found_s) - found_s.count(None)), abs=0.001
    )


def test_a_jump_of_the_delay_is_followed() -> None:
    assert steadiest([[0.1], [0.1, 0.7], [0.3, 0.72], [0.3], [], [0.3]]) == [0.1, 0.1, 0.3, 0.3, None, 0.3]


def test_only_whole_periods_of_zeros_are_silent() -> None:
    pcm = np.ones(RATE_HZ, np.int16)
    pcm[1000:1479] = 0
    assert silent_at(Dated(pcm, 5.0), 5.0, 6.0) == ()
    pcm[1000:1960] = 0
    assert silent_at(Dated(pcm, 5.0), 5.0, 6.0) == pytest.approx((5.0 + 1000 / RATE_HZ, 5.0 + 1480 / RATE_HZ))
    assert silent_at(Dated(pcm, 5.0), 5.5, 6.0) == ()


def test_a_hiccup_of_the_rig_is_told_from_a_new_start() -> None:
    """Each start has its own delay; within one, another delay is the machine's."""
    heard = [Heard(100 + 0.6 * number, 0.02 if number < 10 else 0.028) for number in range(20)]
    groups = by_start(heard, [100.0, 106.0], 6.0)
    assert [len(group) for group in groups] == [8, 8]
    assert base_s(groups) == pytest.approx(0.024)
    assert hiccups_s(groups) == ()
    late = [Heard(one.at_s, 0.05) if one.at_s == 103.0 else one for one in heard]
    assert hiccups_s(by_start(late, [100.0, 106.0], 6.0)) == (103.0,)
    assert [calm(at_s, (103.0,)) for at_s in (101.0, 103.5, 105.0)] == [True, False, True]


# ----------------------------------------------------------------------------------------------------------- figures


def a_run(delay_s: float, bad_s: float) -> Run:
    windows, heard, at_s = [], [], 1000.0
    for phase in PHASES:
        windows.append(Window(phase.name, at_s, at_s + phase.from_s, at_s + phase.lasts_s))
        heard += [
            Heard(at_s + 0.6 * number, bad_s if phase == BAD else delay_s) for number in range(int(phase.lasts_s / 0.6))
        ]
        at_s += phase.lasts_s
    lost = {phase.name: (phase.lost.start, 500) for phase in PHASES}
    estimates = [(window.since_s + 1, 0.06) for window in windows]
    return Run(windows, heard, {phase.name: () for phase in PHASES}, (), lost, estimates)


def a_house(ours: Run) -> Taken:
    copy = [[Heard(1000.0 + 10 * start + number, 0.02) for number in range(6)] for start in range(10)]
    runs = {OURS: [ours], **{name: [a_run(0.2, 0.4)] for name in PEERS}}
    return Taken(runs, {}, copy, list(copy), [0.0002] * 20)


def named(made: list[Row], name: str) -> Row:
    return next(row for row in made if row.name == name)


def test_the_copy_loop_is_taken_off() -> None:
    made = rows(a_house(a_run(0.06, 0.15)), QUIET)
    clean = named(made, f"mouth to ear − copy loop, {ZERO.name}: median")
    assert (clean.ours, clean.peer, clean.peer_name, clean.ok) == (
        pytest.approx(40.0),
        pytest.approx(180.0),
        STOCK,
        True,
    )
    assert named(made, f"mouth to ear − copy loop, {BAD.name}: p95").ours == pytest.approx(130.0)
    assert named(made, f"delay added {AFTER.name}: median").ours == pytest.approx(0.0)
    assert named(made, f"mouth-to-ear estimate minus measured, {ZERO.name}").ours == pytest.approx(0.0)
    assert not complaints(a_house(a_run(0.06, 0.15)))


def test_a_condition_that_tried_nothing_is_no_figure() -> None:
    untried = a_run(0.06, 0.15)
    untried = replace(untried, lost={**untried.lost, BAD.name: (0, 500)})
    with pytest.raises(Unheard, match="0 of 500"):
        rows(a_house(untried), QUIET)


def test_a_peer_that_is_not_there_says_why() -> None:
    house = a_house(a_run(0.06, 0.15))
    del house.runs[STOCK]
    house.missing[STOCK] = "it did not start"
    row = named(rows(house, QUIET), f"mouth to ear − copy loop, {ZERO.name}: median")
    assert row.peer is None
    assert "it did not start" in row.reason


def test_a_disturbed_rig_is_complained_of() -> None:
    house = a_house(a_run(0.06, 0.15))
    house.copy_beside[:] = [[replace(one, delay_s=0.09) if one is group[2] else one for one in group]
                            for group in house.copy_beside]  # fmt: skip
    assert "hiccups" in complaints(house)[0]
    house = a_house(a_run(0.06, 0.15))
    house.copy_beside[:] = [[replace(one, delay_s=0.03) for one in group] for group in house.copy_beside]
    assert "two calls at a time" in complaints(house)[0]
    house = a_house(replace(a_run(0.06, 0.15), mouth_silent=tuple(map(float, range(30)))))
    assert "holes" in complaints(house)[0]


def test_a_silence_that_the_injector_made_is_nobodys() -> None:
    run = a_run(0.06, 0.15)
    at_s = run.windows[0].from_s + 5
    silent = replace(run, silent={**run.silent, ZERO.name: (at_s,)})
    name = f"digital silence, {ZERO.name}: periods of 10 ms in a call"
    assert named(rows(a_house(silent), QUIET), name).ours == 1
    assert named(rows(a_house(replace(silent, mouth_silent=(at_s - 0.1,))), QUIET), name).ours == 0
    house = a_house(a_run(0.06, 0.15))
    house.probe_s[:] = [0.004] * 20
    assert "wire" in complaints(house)[0]


def test_what_plots_are_drawn_from_is_json() -> None:
    told = json.loads(json.dumps(series(a_house(a_run(0.06, 0.15)))))
    assert told["latency"][OURS][ZERO.name][0] == [0.0, 60.0]
    assert [phase["name"] for phase in told["phases"]] == [phase.name for phase in PHASES]
