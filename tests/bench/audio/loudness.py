"""Noise suppression and automatic gain, beside speexdsp's preprocessor: what they take away and add, and what speech
pays for it. Faster than real time."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from intercomd.media.pcm import RATE_HZ, Pcm
from intercomd.media.processing import Switches
from tests.bench.audio import judges, talkers
from tests.bench.audio.cancellers import NO_SPEEX, Contender, Ours, SpeexPreprocessor, speexdsp
from tests.bench.audio.measured import Measured
from tests.bench.audio.receiving import missing_for_speech
from tests.bench.audio.rehearsal import Scene, delay_of, loss_db, sent
from tests.bench.audio.rooms import SCORING, Wave, pcm
from tests.bench.audio.rooms import noise as own_noise
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, Row, row

LENGTH_S: Final = 16.0
QUIET_FROM_S: Final = 12.0
"""Then only the noise is left, or the last words of whoever is raised."""
TALK_DBFS: Final = -24.0
HISS_DBFS: Final = -45.0
FAINT_DBFS: Final = -45.0
_WARM_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Trial:
    """`kind` is "noise" or "gain"."""

    kind: str
    contender: str
    voice: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """By how much the level of the end changed; speech before and after, as PESQ and STOI."""

    change_db: float
    before: tuple[float, float]
    after: tuple[float, float]


_MAKERS: Final[dict[tuple[str, str], Callable[[], Contender]]] = {
    ("noise", "ours"): lambda: Ours(Switches(echo=False, gain=False, highpass=False)),
    ("gain", "ours"): lambda: Ours(Switches(echo=False, noise=False)),
    ("noise", "speexdsp"): lambda: SpeexPreprocessor(denoise=True),
    ("gain", "speexdsp"): lambda: SpeexPreprocessor(gain=True),
}


def tried(trial: Trial) -> Outcome:
    heard = (_hissing if trial.kind == "noise" else _faint)(trial.voice)
    contender = _MAKERS[trial.kind, trial.contender]()
    out = sent(contender, heard)
    contender.close()
    at = slice(round(_WARM_S * RATE_HZ), round(QUIET_FROM_S * RATE_HZ))
    # Judges want the level that the talker has at a decent microphone.
    said, raw = (_levelled(wave, heard.near, at) for wave in (heard.near, heard.microphone))
    late = delay_of(heard.near, out)
    made = _levelled(np.append(out[late:], np.zeros(late)), out[late:], at)
    return Outcome(
        -loss_db(heard, out, QUIET_FROM_S + 1, LENGTH_S - 0.1),
        (judges.pesq(said, raw), judges.stoi(said, raw)),
        (judges.pesq(said, made), judges.stoi(said, made)),
    )


def _hissing(voice: int) -> Scene:
    """A talker over steady noise, which stays behind."""
    said = _talk(voice, TALK_DBFS)
    said[round(QUIET_FROM_S * RATE_HZ) :] = 0
    hiss = np.random.default_rng(5 + voice).normal(0, 32768 * 10 ** (HISS_DBFS / 20), len(said))
    return _scene(said, hiss)


def _faint(voice: int) -> Scene:
    said = _talk(voice, FAINT_DBFS)
    return _scene(said, own_noise(SCORING[0], len(said)))


def _talk(voice: int, dbfs: float) -> Wave:
    return talkers.talk(voice, LENGTH_S).astype(np.float64) * 10 ** ((dbfs - talkers.LEVEL_DBFS) / 20)


def _scene(said: Wave, other: Wave) -> Scene:
    return Scene(SCORING[0], np.zeros(len(said), np.int16), pcm(said + other), said)


def _levelled(wave: Wave | Pcm, by: Wave | Pcm, at: slice) -> Pcm:
    level = float(np.sqrt(np.mean(by[at].astype(np.float64) ** 2)))
    return pcm(wave[at].astype(np.float64) * 32768 * 10 ** (talkers.LEVEL_DBFS / 20) / max(level, 1e-3))


async def noise() -> Measured:
    """Steady noise between words, and a talker who stands far away, with each of the four voices."""
    if missing := missing_for_speech():
        raise RuntimeError(missing)
    contenders = ("ours", "speexdsp") if speexdsp() is not None else ("ours",)
    trials = [Trial(kind, name, voice) for kind in ("noise", "gain") for name in contenders for voice in range(4)]
    found = dict(zip(trials, await spread("noise", tried, trials), strict=True))

    def median(kind: str, name: str, figure: Callable[[Outcome], float]) -> float:
        return statistics.median(figure(found[Trial(kind, name, voice)]) for voice in range(4))

    def one(name: str, kind: str, figure: Callable[[Outcome], float], unit: str, reason: str, **target: float) -> Row:
        peer = Peer("speexdsp's preprocessor", median(kind, "speexdsp", figure)) if len(contenders) > 1 else NO_SPEEX
        return row(name, median(kind, "ours", figure), unit, peer, at_least=target.get("at_least"), reason=reason)

    hiss = f"noise at {HISS_DBFS:.0f} dBFS, talker at {TALK_DBFS:.0f}; medians of 4 voices"
    faint = f"talker at {FAINT_DBFS:.0f} dBFS for {LENGTH_S:.0f} s, its last 3 s; medians of 4 voices"

    def pesq(one: Outcome) -> float:
        return one.after[0] - one.before[0]

    def stoi(one: Outcome) -> float:
        return one.after[1] - one.before[1]

    rows = [
        one("steady noise suppressed", "noise", lambda one: -one.change_db, "dB", hiss, at_least=15),
        one("PESQ gained by noise suppression", "noise", pesq, "", hiss, at_least=0),
        one("STOI gained by noise suppression", "noise", stoi, "", hiss, at_least=-0.02),
        one("a quiet talker raised", "gain", lambda one: one.change_db, "dB", faint, at_least=15),
        one("PESQ gained by automatic gain", "gain", pesq, "", faint, at_least=-0.2),
        one("STOI gained by automatic gain", "gain", stoi, "", faint, at_least=-0.02),
    ]
    series = {
        kind: {name: [round(found[Trial(kind, name, voice)].change_db, 2) for voice in range(4)] for name in contenders}
        for kind in ("noise", "gain")
    }
    return Measured(rows, {"change_db": series})
