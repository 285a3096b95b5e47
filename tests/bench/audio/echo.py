"""The echo in rooms of a seed list, offline and faster than real time: what the far end hears of itself, and what is
left of the near end.

    python -m tests.bench.audio.echo [--quick] [--choosing]

Ours is the daemon's whole way (alignment, high-pass, livekit's AEC3, the half duplex that stands in while it learns);
speexdsp with its residual suppressor is the peer. Figures are medians over rooms and voices, the worst beside them.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from intercomd.media.echo_delay import chirp
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from intercomd.media.processing import Switches
from tests.bench.audio import talkers
from tests.bench.audio.cancellers import Contender, Nothing, Ours, Speex, speexdsp
from tests.bench.audio.rehearsal import Scene, delay_of, loss_db, scene, sent
from tests.bench.audio.rooms import CHOOSING, ECHO_DBFS, SCORING, Room, Wave, level_db, noise, pcm
from tests.bench.report import Peer, Row, table, write

SINGLE_S: Final = 20.0
SETTLED_S: Final = 5.0
DOUBLE_S: Final = 16.0
DOUBLE_FROM_S: Final = 8.0
JUMP_S: Final = 10.0
OUTPUT: Final = Path(__file__).parents[3] / "build" / "bench" / "audio-echo.json"

Makers = Mapping[str, Callable[[], Contender]]


def contenders() -> Makers:
    """By name; speexdsp only where it is installed."""
    makers: dict[str, Callable[[], Contender]] = {
        "echo": lambda: Ours(Switches(noise=False, gain=False)),
        "all": lambda: Ours(Switches()),
        "half duplex": lambda: Ours(Switches(engine="half-duplex")),
    }
    return makers | ({"speexdsp": Speex} if speexdsp() is not None else {})


@dataclass(frozen=True, slots=True)
class Single:
    """Of one room, voice and contender; ERLE in dB, the processor's time per period."""

    room: Room
    name: str
    settled_db: float
    first_db: float
    own_meter_db: float | None
    period_us: float


@dataclass(frozen=True, slots=True)
class Double:
    """STOI of the near end at a signal-to-echo ratio, and the change of its level."""

    name: str
    ratio_db: int
    stoi: float


def opened(voice: int, length_s: float) -> Pcm:
    """What is played as a call begins: the far end, and the chirp over it."""
    played = talkers.talk(voice, length_s).astype(np.int32)
    sound = chirp()
    played[: len(sound)] += sound
    return played.clip(-32768, 32767).astype(np.int16)


def single_talk(rooms: Sequence[Room], voices: Sequence[int], makers: Makers) -> Iterator[Single]:
    for room in rooms:
        for voice in voices:
            heard = scene(room, opened(voice, SINGLE_S))
            for name, make in makers.items():
                out, period_us, meter = _run(make, heard)
                settled = loss_db(heard, out, SETTLED_S, SINGLE_S - 0.1)
                yield Single(room, name, settled, loss_db(heard, out, 0, 2), meter, period_us)


def double_talk(rooms: Sequence[Room], voices: Sequence[int], makers: Makers) -> Iterator[Double]:
    from pystoi import stoi

    late_frames = {name: _lateness(make) for name, make in makers.items()}
    for room in rooms:
        for voice in voices:
            for ratio_db in (0, 10):
                near = _near((voice + 1) % len(talkers.VOICES), ratio_db)
                heard = scene(room, opened(voice, DOUBLE_S), near)
                for name, make in ({"none": Nothing} | dict(makers)).items():
                    out, _, _ = _run(make, heard)
                    late = late_frames.get(name, 0)
                    start = round((DOUBLE_FROM_S + 1) * RATE_HZ)
                    said = heard.near[start : len(out) - late]
                    yield Double(name, ratio_db, float(stoi(said, out[start + late :].astype(float), RATE_HZ)))


def recovery_s(room: Room, voice: int, make: Callable[[], Contender]) -> float:
    """After the echo came 50 ms later: seconds until ERLE is back, within 6 dB of before or at 20 dB."""
    heard = scene(room, opened(voice, SINGLE_S), jump_s=JUMP_S)
    out, _, _ = _run(make, heard)
    before = loss_db(heard, out, SETTLED_S, JUMP_S)
    wanted = min(20.0, before - 6)
    for at_s in np.arange(JUMP_S, SINGLE_S - 0.6, 0.25):
        if loss_db(heard, out, at_s, at_s + 0.5) > wanted:
            return float(at_s - JUMP_S)
    return float("inf")


def suppressed_db() -> float:
    """By how much steady noise at −45 dBFS between the words of a talker at −24 dBFS falls, gain apart."""
    room = SCORING[0]
    said = talkers.talk(0, 14.0).astype(float) * 10 ** (-4 / 20)
    said[10 * RATE_HZ :] = 0
    hiss = np.random.default_rng(5).normal(0, 32768 * 10 ** (-45 / 20), len(said))
    heard = Scene(room, np.zeros(len(said), np.int16), pcm(said + hiss), said)
    out, _, _ = _run(lambda: Ours(Switches(echo=False, gain=False, highpass=False)), heard)
    return loss_db(heard, out, 11, 13.9)


def gained_db() -> float:
    """What a talker at −45 dBFS is raised by within 12 s."""
    room = SCORING[0]
    said = talkers.talk(2, 14.0).astype(float) * 10 ** (-25 / 20)
    heard = Scene(room, np.zeros(len(said), np.int16), pcm(said + noise(room, len(said))), said)
    out, _, _ = _run(lambda: Ours(Switches(echo=False, noise=False)), heard)
    return -loss_db(heard, out, 11, 13.9)


def added_ms(switches: Switches) -> float:
    """By how much processing delays the near end."""
    return _lateness(lambda: Ours(switches)) * 1000 / RATE_HZ


def _near(voice: int, ratio_db: int) -> Wave:
    said = talkers.talk(voice, DOUBLE_S).astype(float)
    said[: round(DOUBLE_FROM_S * RATE_HZ)] = 0
    return said * 10 ** ((ECHO_DBFS + ratio_db - level_db(said)) / 20)


def _lateness(make: Callable[[], Contender]) -> int:
    said = talkers.talk(1, 4.0).astype(float) * 0.5
    heard = Scene(SCORING[0], np.zeros(len(said), np.int16), pcm(said), said)
    out, _, _ = _run(make, heard)
    return delay_of(said, out)


def _run(make: Callable[[], Contender], heard: Scene) -> tuple[Pcm, float, float | None]:
    contender = make()
    began_s = time.process_time()
    out = sent(contender, heard)
    period_us = (time.process_time() - began_s) / (len(out) / PERIOD_FRAMES) * 1e6
    meter = contender.voice.status().erle_db if isinstance(contender, Ours) else None
    contender.close()
    return out, period_us, meter


# --------------------------------------------------------------------------------------------------------------- rows


def rows(rooms: Sequence[Room] = SCORING, voices: Sequence[int] = (0, 1, 2, 3)) -> list[Row]:
    """All figures; some three minutes of one core."""
    why = talkers.missing()
    if why:
        return [Row("echo", None, None, None, "", "", None, why)]
    makers = contenders()
    singles = list(single_talk(rooms, voices, makers))
    print(f"  {len(singles)} runs of single talk", flush=True)
    doubles = list(double_talk([room for room in rooms if not room.ppm][:5], voices, makers))
    linear = [room for room in rooms if not (room.clip or room.moving or room.ppm)]
    jumps = {
        name: [recovery_s(room, voice, makers[name]) for room in linear[:3] for voice in voices[:2]]
        for name in ("echo", "speexdsp")
        if name in makers
    }
    return [
        *_single_rows(singles),
        *_double_rows(doubles),
        _row("back after the echo came 50 ms later, worst", jumps, max, "s", at_most=2.0),
        _plain("steady noise suppressed", suppressed_db(), "dB", at_least=15.0),
        _plain("a talker at −45 dBFS raised", gained_db(), "dB", at_least=15.0),
        _plain("processing adds, everything on", added_ms(Switches()), "ms", at_most=15.0),
        *_cost_rows(singles),
    ]


_KINDS: Final[Sequence[tuple[str, float, Callable[[Room], bool]]]] = (
    ("linear", 38.0, lambda room: not (room.clip or room.moving or room.ppm)),
    ("clipping loudspeaker", 30.0, lambda room: bool(room.clip)),
    ("somebody walks", 30.0, lambda room: room.moving),
    ("50 ppm", 35.0, lambda room: bool(room.ppm)),
)


def _single_rows(singles: Sequence[Single]) -> Iterator[Row]:
    for kind, target_db, belongs in _KINDS:
        found = {name: [one.settled_db for one in group if belongs(one.room)] for name, group in _grouped(singles)}
        if any(found.values()):
            yield _row(f"ERLE, {kind}", found, statistics.median, "dB", at_least=target_db)
            yield _row(f"ERLE, {kind}, worst", found, min, "dB")
    first = {name: [one.first_db for one in group] for name, group in _grouped(singles)}
    yield _row("ERLE, first 2 s", first, statistics.median, "dB", at_least=28.0)
    yield _row("ERLE, first 2 s, worst", first, min, "dB")
    for other in ("all", "half duplex"):
        settled = [one.settled_db for one in singles if one.name == other]
        yield _plain(f"ERLE, {other}, every room", statistics.median(settled), "dB")
    off = [abs(one.own_meter_db - one.settled_db) for one in singles if one.own_meter_db and one.name == "echo"]
    yield _plain("own ERLE meter is off by, median", statistics.median(off), "dB")


def _double_rows(doubles: Sequence[Double]) -> Iterator[Row]:
    for ratio_db, target in ((0, 0.80), (10, 0.92)):
        found: dict[str, list[float]] = {}
        for one in doubles:
            if one.ratio_db == ratio_db:
                found.setdefault(one.name, []).append(one.stoi)
        also = ", ".join(
            f"{name} {statistics.median(found[name]):.3f}" for name in ("none", "all", "half duplex") if name in found
        )
        name = f"double talk, STOI at {ratio_db} dB"
        yield _row(name, found, statistics.median, "", at_least=target, reason=f"medians of the others: {also}")


def _cost_rows(singles: Sequence[Single]) -> Iterator[Row]:
    for name, group in _grouped(singles):
        costs = statistics.median(one.period_us for one in group)
        yield _plain(f"processor time per 10 ms: {name}", costs, "µs", at_most=500.0 if name == "all" else None)


def _grouped(singles: Sequence[Single]) -> Iterator[tuple[str, list[Single]]]:
    for name in dict.fromkeys(one.name for one in singles):
        yield name, [one for one in singles if one.name == name]


def _row(
    name: str,
    found: Mapping[str, Sequence[float]],
    of: Callable[[Sequence[float]], float],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    reason: str = "",
) -> Row:
    """Ours, with echo cancellation alone, beside speexdsp."""
    peer = Peer("speexdsp", of(found["speexdsp"])) if "speexdsp" in found else Peer(None, None, _NO_SPEEX)
    row = _plain(name, of(found["echo"]), unit, at_least=at_least, at_most=at_most)
    told = None if peer.value is None or not np.isfinite(peer.value) else round(peer.value, 4)
    never = "the peer did not come back" if peer.value is not None and told is None else ""
    whole = "; ".join(text for text in (reason, peer.reason, never) if text)
    return Row(name, row.ours, told, peer.name, unit, row.target, row.ok, whole)


_NO_SPEEX: Final = "libspeexdsp1 is not installed: apt install libspeexdsp1"


def _plain(name: str, value: float, unit: str, *, at_least: float | None = None, at_most: float | None = None) -> Row:
    known = round(value, 4) if np.isfinite(value) else None
    if at_least is not None:
        return Row(name, known, None, None, unit, f"≥ {at_least:.4g}", known is not None and value >= at_least, "")
    if at_most is not None:
        return Row(name, known, None, None, unit, f"≤ {at_most:.4g}", known is not None and value <= at_most, "")
    return Row(name, known, None, None, unit, "", None, "")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audio.echo")
    parser.add_argument("--quick", action="store_true", help="one voice")
    parser.add_argument("--choosing", action="store_true", help="the rooms on which parameters are chosen")
    options = parser.parse_args(argv)
    print(f"  livekit {version('livekit')}, numpy {np.__version__}; voices {', '.join(talkers.VOICES)}", flush=True)
    found = rows(CHOOSING if options.choosing else SCORING, (0,) if options.quick else (0, 1, 2, 3))
    if not (options.quick or options.choosing):
        write(found, OUTPUT)
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
