"""The echo in rooms of a seed list, offline and faster than real time: what the far end hears of itself, and what is
left of the near end.

    python -m tests.bench.audio.echo [--choosing]

Ours is the daemon's whole way (alignment, high-pass, livekit's AEC3, the half duplex that stands in while it learns);
speexdsp with its residual suppressor is the peer. Figures are medians over rooms and voices, the worst beside them.
"""

import argparse
import asyncio
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from intercomd.media.echo_delay import chirp
from intercomd.media.pcm import RATE_HZ, Pcm
from intercomd.media.processing import Switches
from tests.bench.audio import talkers
from tests.bench.audio.cancellers import NO_SPEEX, Contender, Nothing, Ours, Speex, speexdsp
from tests.bench.audio.measured import Measured
from tests.bench.audio.receiving import missing_for_speech
from tests.bench.audio.rehearsal import Scene, delay_of, loss_db, scene, sent
from tests.bench.audio.rooms import CHOOSING, ECHO_DBFS, SCORING, Room, Wave, level_db, pcm
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, Row, row, table

SINGLE_S: Final = 20.0
SETTLED_S: Final = 5.0
DOUBLE_S: Final = 16.0
DOUBLE_FROM_S: Final = 8.0
JUMP_S: Final = 10.0
DOUBLE_ROOMS: Final = 3
JUMP_ROOMS, JUMP_VOICES = 3, 2
CURVE_S: Final = 0.25
_SHOWN: Final = "hall, 60 ms"
VOICES: Final = (0, 1, 2, 3)

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
class Job:
    """`kind` is "single", "double" or "jump"."""

    kind: str
    room: Room
    voice: int


@dataclass(frozen=True, slots=True)
class Single:
    """Of one room, voice and contender; ERLE in dB; what is left of the echo over time, in dBFS."""

    name: str
    settled_db: float
    first_db: float
    own_meter_db: float | None
    residual: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Double:
    """STOI of the near end at a signal-to-echo ratio."""

    name: str
    ratio_db: int
    stoi: float


@dataclass(frozen=True, slots=True)
class Jump:
    """Seconds until ERLE is back for good after the echo came 50 ms later; infinite if it is not."""

    name: str
    recovery_s: float
    residual: Sequence[tuple[float, float]]


Result = Single | Double | Jump
Found = Mapping[Job, Sequence[Result]]


def opened(voice: int, length_s: float) -> Pcm:
    """What is played as a call begins: the far end, and the chirp over it."""
    played = talkers.talk(voice, length_s).astype(np.int32)
    sound = chirp()
    played[: len(sound)] += sound
    return played.clip(-32768, 32767).astype(np.int16)


def work(job: Job) -> Sequence[Result]:
    """All contenders in one room with one voice."""
    return list({"single": _single, "double": _double, "jump": _jump}[job.kind](job.room, job.voice))


def _single(room: Room, voice: int) -> Iterator[Single]:
    heard = scene(room, opened(voice, SINGLE_S))
    for name, make in contenders().items():
        out, meter = _run(make, heard)
        settled = loss_db(heard, out, SETTLED_S, SINGLE_S - 0.1)
        yield Single(name, settled, loss_db(heard, out, 0, 2), meter, _levels(out))
    yield Single("none", 0.0, 0.0, None, _levels(heard.microphone))


def _double(room: Room, voice: int) -> Iterator[Double]:
    from pystoi import stoi

    for ratio_db in (0, 10):
        near = _near((voice + 1) % len(talkers.VOICES), ratio_db)
        heard = scene(room, opened(voice, DOUBLE_S), near)
        for name, make in ({"none": Nothing} | dict(contenders())).items():
            out, _ = _run(make, heard)
            late = _lateness_frames(name)
            start = round((DOUBLE_FROM_S + 1) * RATE_HZ)
            said = heard.near[start : len(out) - late]
            yield Double(name, ratio_db, float(stoi(said, out[start + late :].astype(float), RATE_HZ)))


def _jump(room: Room, voice: int) -> Iterator[Jump]:
    """ERLE is back when it is within 6 dB of before or at 20 dB in each half second from then on."""
    heard = scene(room, opened(voice, SINGLE_S), jump_s=JUMP_S)
    for name, make in contenders().items():
        if name not in ("echo", "speexdsp"):
            continue
        out, _ = _run(make, heard)
        wanted = min(20.0, loss_db(heard, out, SETTLED_S, JUMP_S) - 6)
        begins = np.arange(JUMP_S, SINGLE_S - 0.6, 0.25)
        lost = [at_s for at_s in begins if loss_db(heard, out, at_s, at_s + 0.5) <= wanted]
        back_s = max(lost) + 0.5 - JUMP_S if lost else 0.0
        yield Jump(name, float(back_s) if back_s < SINGLE_S - JUMP_S - 1 else float("inf"), _levels(out))


def _levels(out: Pcm) -> Sequence[tuple[float, float]]:
    step = round(CURVE_S * RATE_HZ)
    parts = out[: len(out) // step * step].reshape(-1, step).astype(float)
    levels = 10 * np.log10(np.mean(parts**2, axis=1) / 32768.0**2 + 1e-10)
    return [(round((index + 0.5) * CURVE_S, 3), round(float(level), 1)) for index, level in enumerate(levels)]


@cache
def _lateness_frames(name: str) -> int:
    """By how much a contender delays the near end."""
    make = contenders().get(name)
    if make is None:
        return 0
    said = talkers.talk(1, 4.0).astype(float) * 0.5
    heard = Scene(SCORING[0], np.zeros(len(said), np.int16), pcm(said), said)
    out, _ = _run(make, heard)
    return delay_of(said, out)


def lateness_ms(name: str) -> float:
    return _lateness_frames(name) * 1000 / RATE_HZ


def _near(voice: int, ratio_db: int) -> Wave:
    said = talkers.talk(voice, DOUBLE_S).astype(float)
    said[: round(DOUBLE_FROM_S * RATE_HZ)] = 0
    return said * 10 ** ((ECHO_DBFS + ratio_db - level_db(said)) / 20)


def _run(make: Callable[[], Contender], heard: Scene) -> tuple[Pcm, float | None]:
    contender = make()
    out = sent(contender, heard)
    meter = contender.voice.status().erle_db if isinstance(contender, Ours) else None
    contender.close()
    return out, meter


# --------------------------------------------------------------------------------------------------------------- rows


async def echo() -> Measured:
    """The rooms that figures are told from. Raises RuntimeError without voices or judges."""
    return await heard_in(SCORING)


async def heard_in(rooms: Sequence[Room]) -> Measured:
    if missing := missing_for_speech():
        raise RuntimeError(missing)
    linear = [room for room in rooms if _is_linear(room)]
    steady = [room for room in rooms if not room.ppm][::2][:DOUBLE_ROOMS]
    jobs = [Job("double", room, voice) for room in steady for voice in VOICES]
    jobs += [Job("jump", room, voice) for room in linear[:JUMP_ROOMS] for voice in VOICES[:JUMP_VOICES]]
    jobs += [Job("single", room, voice) for room in rooms for voice in VOICES]
    found = dict(zip(jobs, await spread("echo", work, jobs), strict=True))
    late_ms = (await spread("echo", lateness_ms, ["all"]))[0]
    return Measured(
        [*_single_rows(found), *_double_rows(found), *_jump_rows(found), _late_row(late_ms)], _series(found)
    )


def _of(found: Found, kind: str, belongs: Callable[[Room], bool] | None = None) -> Mapping[str, list[Result]]:
    """By contender."""
    by_name: dict[str, list[Result]] = defaultdict(list)
    for job, results in found.items():
        for result in results:
            if job.kind == kind and (belongs is None or belongs(job.room)):
                by_name[result.name].append(result)
    return by_name


def _is_linear(room: Room) -> bool:
    return not (room.clip or room.moving or room.ppm)


_KINDS: Final[Sequence[tuple[str, float, Callable[[Room], bool] | None]]] = (
    ("linear", 38.0, _is_linear),
    ("clipping loudspeaker", 30.0, lambda room: bool(room.clip)),
    ("somebody walks", 30.0, lambda room: room.moving),
    ("50 ppm", 35.0, lambda room: bool(room.ppm)),
    ("first 2 s", 28.0, None),
)


def _single_rows(found: Found) -> Iterator[Row]:
    for kind, target_db, belongs in _KINDS:
        figure = "first_db" if kind == "first 2 s" else "settled_db"
        values = {
            name: [getattr(one, figure) for one in group] for name, group in _of(found, "single", belongs).items()
        }
        if values:
            others = _others(values, ("all", "half duplex"))
            yield _row(f"ERLE, {kind}", values, statistics.median, "dB", at_least=target_db, reason=others)
            yield _row(f"ERLE, {kind}, worst", values, min, "dB")
    ours = _of(found, "single")["echo"]
    off = [abs(one.own_meter_db - one.settled_db) for one in ours if isinstance(one, Single) and one.own_meter_db]
    nobody = Peer(None, reason="the peer has no meter")
    if off:
        yield row("own ERLE meter is off by, median", statistics.median(off), "dB", nobody)


def _double_rows(found: Found) -> Iterator[Row]:
    for ratio_db, target in ((0, 0.80), (10, 0.92)):
        values = {
            name: [one.stoi for one in group if isinstance(one, Double) and one.ratio_db == ratio_db]
            for name, group in _of(found, "double").items()
        }
        others = _others(values, ("none", "all", "half duplex"))
        why = f"{others}; speexdsp leaves the echo in (ERLE above)"
        yield _row(f"double talk, STOI at {ratio_db} dB", values, statistics.median, "", at_least=target, reason=why)


def _jump_rows(found: Found) -> Iterator[Row]:
    longest_s = SINGLE_S - JUMP_S
    values = {
        name: [min(longest_s, one.recovery_s) for one in group if isinstance(one, Jump)]
        for name, group in _of(found, "jump").items()
    }
    told = f"{longest_s:.0f} s: not within the run"
    yield _row("back after the echo came 50 ms later, worst", values, max, "s", at_most=2.0, reason=told)


def _late_row(late_ms: float) -> Row:
    nobody = Peer(None, reason="speexdsp adds none")
    return row("processing adds, everything on", late_ms, "ms", nobody, at_most=15.0)


def _others(values: Mapping[str, Sequence[float]], names: Sequence[str]) -> str:
    told = ", ".join(f"{name} {statistics.median(values[name]):.3g}" for name in names if name in values)
    return f"medians of the others: {told}"


def _row(
    name: str,
    values: Mapping[str, Sequence[float]],
    of: Callable[[Sequence[float]], float],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    reason: str = "",
) -> Row:
    """Ours, with echo cancellation alone, beside speexdsp."""
    peer = Peer("speexdsp", of(values["speexdsp"])) if "speexdsp" in values else NO_SPEEX
    return row(name, of(values["echo"]), unit, peer, at_least=at_least, at_most=at_most, reason=reason)


def _series(found: Found) -> Mapping[str, object]:
    """ERLE by room: of each contender, a value for each voice. Residuals of one room and voice, in dBFS over time."""
    erle: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    residual: dict[str, Mapping[str, object]] = {}
    for job, results in found.items():
        for one in results:
            if isinstance(one, Single) and one.name != "none":
                erle[job.room.name][one.name].append(round(one.settled_db, 1))
        if job.kind != "double" and job.kind not in residual and job.room.name == _SHOWN:
            residual[job.kind] = {one.name: one.residual for one in results if not isinstance(one, Double)}
    return {"erle_db": erle, "residual_dbfs": residual, "shown": _SHOWN, "jump_s": JUMP_S}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audio.echo")
    parser.add_argument("--choosing", action="store_true", help="the rooms on which parameters are chosen")
    found = asyncio.run(heard_in(CHOOSING if parser.parse_args(argv).choosing else SCORING))
    print(table(found.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
