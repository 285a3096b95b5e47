"""How much of speech Chromium's NetEQ saves from a network that loses packets, beside ours and stock aiortc's.

    python -m tests.bench audio/browser

Everybody gets the same packets of our encoder after the same silence, and loses the same ones; Chromium in real time,
the others faster. What was heard is judged in parts of four seconds, each laid on what was said first: PESQ changes by
up to 0.2 with the fraction of its own steps by which both begin apart.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final

import numpy as np

from intercomd.demo.resident import lacking
from intercomd.media.opus import Decoder
from intercomd.media.pcm import RATE_HZ, Pcm
from tests.bench.audio import judges, neteq, talkers
from tests.bench.audio.measured import Measured
from tests.bench.audio.neteq import Played, Sent
from tests.bench.audio.receiving import CONTENDERS, SHARES, missing_for_speech
from tests.bench.audio.simulation import encoded, run
from tests.bench.audio.traces import Times, Trace, bursty_loss, lan, random_loss
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, Row, invalid, row
from tests.unit.sounds import best_alignment

CHROMIUM: Final = "Chromium"
WITHIN: Final = 0.2
"""By how much our PESQ may be below Chromium's, …"""
TARGET_SHARES: Final = (0.0, 0.05, 0.10, 0.20)
"""… at these losses."""
VOICES: Final = range(len(talkers.VOICES))
_AT_ONCE: Final = 2
"""Voices, each on all networks: more, and the machine would have too little time for each."""
_PART_S, _PARTS = 4, 4
_REST_S: Final = 0.5
"""What is still on its way when the last packet has been sent is not judged."""
_REACH_S: Final = 1
_PACKET_S: Final = 0.020
_LEAD_PACKETS: Final = round(neteq.SETTLING_S / _PACKET_S)
_TRANSIT_S: Final = 0.001
_PHASE_S: Final = 0.003
_LIMIT_S: Final = 480.0
_MOST_CONCEALED: Final = 0.005
"""Chromium that conceals more without loss was not given the time to listen."""
_MOST_SPOILT: Final = 0.2
"""By how much PESQ may be below the codec's without loss: more, and it is this machine that is judged."""
_MOST_LATE_MS: Final = 10.0
"""99 of 100 packets must leave earlier than this after their time."""
_WRONG: Final = 1.5
"""No better may other words be judged."""
NAMES: Final = ("ours", CHROMIUM, "stock")
_FIGURES: Final = ("pesq", "stoi", "lag_ms", "wait_ms")


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of network."""

    share: float
    kind: str

    @property
    def name(self) -> str:
        return f"{100 * self.share:.0f} % lost{f', {self.kind}' if self.share else ''}"

    @property
    def trace(self) -> Trace:
        return Trace(self.name, (random_loss if self.kind == "random" else bursty_loss)(self.share))


STEPS: Final = tuple(
    Step(share, kind) for kind in ("random", "bursty") for share in (SHARES if kind == "random" else SHARES[1:])
)


@dataclass(frozen=True, slots=True)
class Score:
    """Of one voice: PESQ of each part, STOI, how long after it was said it was heard (network and cards left out, the
    codec's look-ahead not), and how long it waited in the receive buffer (NaN: unknown)."""

    pesq: Sequence[float]
    stoi: float
    lag_ms: float
    wait_ms: float


@cache
def _said(voice: int) -> Pcm:
    return talkers.talk(voice, _PARTS * _PART_S + _REST_S)


@cache
def _payloads(voice: int) -> Sequence[bytes]:
    return encoded(_said(voice))


@cache
def _sent(step: Step, voice: int) -> Sent:
    """Seeded like those of the part `speech`."""
    payloads = _payloads(voice)
    sent: Times = _PACKET_S * np.arange(1, len(payloads) + 1, dtype=np.float64)
    delays = step.trace.arrivals(sent, np.random.default_rng(11 + voice)) - sent - _TRANSIT_S
    return Sent(payloads, delays)


def _lost(step: Step, voice: int) -> int:
    return int(np.isnan(_sent(step, voice).delays).sum())


# --------------------------------------------------------------------------------------------------------- judging


def _places(said: Pcm, heard: Pcm) -> list[tuple[int, int]]:
    """Where each part of `said` begins, and where it is heard."""
    part, reach = _PART_S * RATE_HZ, _REACH_S * RATE_HZ
    begins = range(0, _PARTS * part, part)
    return [(at, at + best_alignment(said[at : at + part], heard[at : at + part + reach])[0]) for at in begins]


def _pesq(said: Pcm, heard: Pcm) -> list[float]:
    part = _PART_S * RATE_HZ
    whole = np.append(heard, np.zeros(part + _REACH_S * RATE_HZ, np.int16))
    return [judges.pesq(said[at : at + part], whole[there : there + part]) for at, there in _places(said, heard)]


def _simulated(name: str, step: Step, voice: int) -> Score:
    """Of one of those that need no real time."""
    sent, lead = _sent(step, voice), _LEAD_PACKETS

    def arrivals(times: Times, dice: np.random.Generator) -> Times:
        return np.append(lan(times[:lead], dice), times[lead:] + _TRANSIT_S + sent.delays)

    payloads = [neteq.silence()] * lead + list(sent.payloads)
    result = run(CONTENDERS[name](), Trace(step.name, arrivals), payloads=payloads, seed=11 + voice, phase_s=_PHASE_S)
    said, heard = _said(voice), result.pcm[round(neteq.SETTLING_S * RATE_HZ) :]
    lag_s = float(np.mean([(there - at) / RATE_HZ for at, there in _places(said, heard)])) + _PHASE_S - _TRANSIT_S
    wait_ms = result.mean_lag_ms(neteq.SETTLING_S) - 1000 * (_PACKET_S + _TRANSIT_S + float(np.nanmean(sent.delays)))
    return Score(_pesq(said, heard), judges.stoi(said, heard), 1000 * lag_s, wait_ms)


def _browsed(played: Played, voice: int) -> Score:
    said, heard = _said(voice), played.pcm
    lag_s = float(np.mean([played.heard_s(there) - at / RATE_HZ for at, there in _places(said, heard)]))
    return Score(_pesq(said, heard), judges.stoi(said, heard), 1000 * lag_s, played.wait_ms)


Job = tuple[str, Step, int, Played | None]
"""By whom, through what, which voice; what was heard, of Chromium only."""


def _scored(job: Job) -> Score:
    name, step, voice, played = job
    return _simulated(name, step, voice) if played is None else _browsed(played, voice)


Scores = Mapping[Step, Mapping[str, Sequence[Score]]]
"""By whom, a score for each voice."""


async def _scores(played: Mapping[tuple[Step, int], Played]) -> Scores:
    jobs: list[Job] = [
        (name, step, voice, played[step, voice] if name == CHROMIUM else None)
        for step in STEPS
        for name in NAMES
        for voice in VOICES
    ]
    found = iter(await spread("judged", _scored, jobs))
    return {step: {name: list(islice(found, len(VOICES))) for name in NAMES} for step in STEPS}


# --------------------------------------------------------------------------------------------------------- telling


def _mean(scores: Sequence[Score], figure: str) -> float:
    return float(np.mean([getattr(score, figure) for score in scores]))


def _step_rows(step: Step, scores: Mapping[str, Sequence[Score]]) -> list[Row]:
    ours, theirs, stock = (scores[name] for name in NAMES)
    pesq = _mean(theirs, "pesq")
    apart = [float(np.mean(one.pesq) - np.mean(other.pesq)) for one, other in zip(ours, theirs, strict=True)]
    told = f"voice by voice ours minus Chromium's: {', '.join(f'{one:+.2f}' for one in apart)}"
    return [
        row(f"PESQ, {step.name}", _mean(ours, "pesq"), "", Peer(CHROMIUM, pesq),
            at_least=pesq - WITHIN if step.share in TARGET_SHARES else None, reason=told),
        row(f"PESQ, {step.name}, against stock", _mean(ours, "pesq"), "", Peer("stock aiortc", _mean(stock, "pesq")),
            at_least_peer=True),
        row(f"STOI, {step.name}", _mean(ours, "stoi"), "", Peer(CHROMIUM, _mean(theirs, "stoi"))),
    ]  # fmt: skip


def _delay_rows(scores: Scores) -> list[Row]:
    figures = (
        ("delay of speech", "lag_ms", "from mouth to ear, without network and cards"),
        ("wait in the receive buffer", "wait_ms", "NetEQ's jitterBufferDelay; ours until a packet is taken out of it"),
    )
    return [
        row(f"{what}, {step.name}", _mean(scores[step]["ours"], figure), "ms",
            Peer(CHROMIUM, _mean(scores[step][CHROMIUM], figure)), reason=reason)
        for what, figure, reason in figures
        for step in STEPS
        if step.share in TARGET_SHARES
    ]  # fmt: skip


def _ceiling(voice: int) -> float:
    """PESQ of what the codec leaves of it."""
    with Decoder() as decoder:
        heard = np.concatenate([decoder.decode(payload).copy() for payload in _payloads(voice)])
    return float(np.mean(_pesq(_said(voice), heard)))


def _control(played: Mapping[tuple[Step, int], Played]) -> Row:
    """The judge must hear whose words they are."""
    heard = played[STEPS[0], 0].pcm
    wrong = max(float(np.mean(_pesq(_said(voice), heard))) for voice in VOICES[1:])
    nobody = Peer(None, reason="what Chromium heard of one voice, held against what the other three said: must be bad")
    return row("PESQ against other words (control)", wrong, "", nobody, at_most=_WRONG)


def _complaints(played: Mapping[tuple[Step, int], Played], whole: float, ceiling: float) -> list[str]:
    """Why Chromium's figures are not to be believed. `whole`: its PESQ without loss."""
    found = []
    if whole < ceiling - _MOST_SPOILT:
        found.append(f"without loss Chromium hears {whole:.2f} of PESQ, of the {ceiling:.2f} that the codec leaves")
    for (step, voice), one in played.items():
        counted, lost = one.stats["packetsLost"], _lost(step, voice)
        if counted != lost:
            found.append(f"{step.name}, voice {voice}: Chromium misses {counted:.0f} packets instead of {lost}")
        concealed = one.stats["concealedSamples"] / max(1.0, one.stats["totalSamplesReceived"])
        if not lost and concealed > _MOST_CONCEALED:
            found.append(f"without loss Chromium concealed {100 * concealed:.1f} % of voice {voice}")
    late_ms = max(map(_late_ms, played.values()))
    if late_ms > _MOST_LATE_MS:
        found.append(f"packets left up to {late_ms:.0f} ms late (99th percentile)")
    return found


def _late_ms(played: Played) -> float:
    return float(np.percentile(played.late_ms, 99))


def _series(scores: Scores, played: Mapping[tuple[Step, int], Played]) -> Mapping[str, object]:
    """Lists have a value for each step, in their order; those of `neteq` for each voice therein."""
    curves = {
        name: {figure: [round(_mean(scores[step][name], figure), 4) for step in STEPS] for figure in _FIGURES}
        for name in NAMES
    }
    counters = [[dict(played[step, voice].stats) for voice in VOICES] for step in STEPS]
    late_ms = [round(max(_late_ms(played[step, voice]) for voice in VOICES), 2) for step in STEPS]
    return {
        "steps": [step.name for step in STEPS],
        "lost": [step.share for step in STEPS],
        "kind": [step.kind for step in STEPS],
        **curves,
        "neteq": counters,
        "sent_late_p99_ms": late_ms,
    }


# ------------------------------------------------------------------------------------------------------- measuring


async def browser_speech() -> Measured:
    """PESQ and STOI at each step of `STEPS`; some three minutes. Raises RuntimeError if something is not installed,
    TimeoutError, and playwright's Error."""
    missing = "; ".join(filter(None, (missing_for_speech(), lacking())))
    if missing:
        raise RuntimeError(f"Chromium's hearing cannot be judged here: {missing}")
    async with asyncio.timeout(_LIMIT_S):
        played = await _played()
        scores = await _scores(played)
        rows = [*(one for step in STEPS for one in _step_rows(step, scores[step])), *_delay_rows(scores)]
        ceiling = float(np.mean([_ceiling(voice) for voice in VOICES]))
        rows.append(row("PESQ, encoded and decoded only", ceiling, "", Peer(None, reason="nobody can do better")))
        rows.append(_control(played))
    complaints = _complaints(played, _mean(scores[STEPS[0]][CHROMIUM], "pesq"), ceiling)
    return Measured(invalid(rows, "; ".join(complaints)) if complaints else rows, _series(scores, played))


def _all_sent(cases: Sequence[tuple[Step, int]]) -> list[Sent]:
    return [_sent(*case) for case in cases]


async def _played() -> Mapping[tuple[Step, int], Played]:
    """Some voices after the others, all networks at once."""
    found: dict[tuple[Step, int], Played] = {}
    for first in VOICES[::_AT_ONCE]:
        cases = [(step, voice) for voice in VOICES[first : first + _AT_ONCE] for step in STEPS]
        sent = await asyncio.to_thread(_all_sent, cases)
        found.update(zip(cases, await neteq.played(sent), strict=True))
        print(f"    Chromium has heard {VOICES[: first + _AT_ONCE][-1] + 1} of {len(VOICES)} voices", flush=True)
    return found
