"""What the calls of `tests.bench.audio.latency` come to: rows beside each peer, and series for plots. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from tests.bench import baresip
from tests.bench.audio import chromium_call
from tests.bench.audio.conditions import AFTER, BAD, LOSSY, ONE, PHASES, ZERO, Phase, Run, Taken
from tests.bench.audio.hearing import Heard
from tests.bench.audio.lanes import BARESIP, BARESIP_MINIMAL, CHROMIUM, OURS, STOCK
from tests.bench.load import Load
from tests.bench.report import Peer, Row, row
from tests.bench.sounds import percentile

PEERS: Final = (STOCK, BARESIP, BARESIP_MINIMAL, CHROMIUM)
FEWEST: Final = 4
"""Fewer chirps are no figure."""
MIN_FOUND: Final = 0.9
"""Of ours, where nothing is lost; of 10 % lost packets some take a chirp along."""
MIN_FOUND_BAD: Final = 0.7
COPY_SPREAD_MS: Final = 15.0
"""10 ms by the phase of two cards; beyond that even the copy loop had hiccups, and is no measure."""
COPY_SHIFT_MS: Final = 5.0
"""By so much the copy loop may be later beside two calls than alone, or these disturb one another."""
WIRE_MS: Final = 1.0
TARGETS: Final[Mapping[str, tuple[float, float]]] = {ZERO.name: (45.0, 75.0), BAD.name: (150.0, 150.0)}
"""Median and 95th percentile."""
ADDED_MS: Final = 20.0


class Unheard(Exception):
    """Too few chirps were found again."""


def rows(taken: Taken, load: Load) -> list[Row]:
    """Raises `Unheard` where ours cannot be judged; a peer is missing with that reason."""
    if OURS in taken.missing:
        raise Unheard(f"{OURS}: {taken.missing[OURS]}")
    figures = Figures(taken)
    note = f"{figures.note()}; {load}"
    return [
        *(made for phase in PHASES for made in _phase_rows(figures, phase, note)),
        *_added_rows(figures),
        *_silence_rows(taken),
        *_estimate_rows(figures, taken),
        *_control_rows(figures, taken),
    ]


class Figures:
    """Delays in milliseconds by contender and phase, less the copy loop's median."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        self.copy = _ms(taken.copy_beside)
        if not self.copy:
            raise Unheard("the copy loop was never heard")
        self.base_ms = median(self.copy)

    def delays_ms(self, name: str, phase: Phase) -> list[float]:
        """Absolute. Raises `Unheard`."""
        spoken = [one for run in self._taken.runs[name] for one in _within(run, phase)]
        found = _ms(spoken)
        if len(found) < FEWEST:
            raise Unheard(f"{name}, {phase.name}: {len(found)} of {len(spoken)} chirps were heard")
        for run in self._taken.runs[name]:
            lost, seen = run.lost[phase.name]
            if seen == 0 or lost not in phase.lost:
                raise Unheard(f"{name}, {phase.name}: {lost} of {seen} packets were lost, not {phase.lost}")
        return found

    def spoken(self, name: str, phase: Phase) -> int:
        return sum(len(_within(run, phase)) for run in self._taken.runs[name])

    def beyond_ms(self, name: str, phase: Phase, percent: float) -> float:
        return percentile(self.delays_ms(name, phase), percent) - self.base_ms

    def peer(self, name: str, phase: Phase, percent: float) -> Peer:
        if name in self._taken.missing:
            return Peer(name, reason=self._taken.missing[name])
        try:
            heard = f"{len(self.delays_ms(name, phase))} of {self.spoken(name, phase)} chirps of {name} heard"
            note = "; ".join(filter(None, (heard, _NOTES.get(name, ""))))
            return Peer(name, self.beyond_ms(name, phase, percent), note)
        except Unheard as error:
            return Peer(name, reason=str(error))

    def note(self) -> str:
        calls = len(self._taken.runs[OURS])
        return (
            f"{calls} calls of ours, one of each peer, two contenders at a time; the copy loop beside them, "
            f"{self.base_ms:.1f} ms (median of {len(self.copy)}), is taken off; alone it took "
            f"{median(_ms(self._taken.copy_alone) or [0.0]):.1f} ms"
        )


_NOTES: Final = {
    BARESIP: f"its default, {baresip.DEFAULT_BUFFER} frames; SIP and plain RTP",
    BARESIP_MINIMAL: f"{baresip.MINIMAL_BUFFER} frames; SIP and plain RTP",
    CHROMIUM: f"{chromium_call.version()} to itself, voice processing off, its own fill of the sound server",
}


def _ms(heard: Sequence[Heard]) -> list[float]:
    return [one.delay_s * 1000 for one in heard if one.delay_s is not None]


def _within(run: Run, phase: Phase) -> list[Heard]:
    window = next(window for window in run.windows if window.phase == phase.name)
    return [one for one in run.heard if window.since_s <= one.at_s < window.to_s]


def _phase_rows(figures: Figures, phase: Phase, note: str) -> list[Row]:
    """Medians beside everybody; the tails too at the two ends of the scale. A target is told once."""
    made = []
    for place, (figure, percent) in enumerate((("median", 50), ("p95", 95))):
        for peer in PEERS if percent == 50 or phase in (ZERO, BAD) else (STOCK,):
            target = TARGETS[phase.name][place] if phase.name in TARGETS and peer == STOCK else None
            made.append(
                row(f"mouth to ear − copy loop, {phase.name}: {figure}{_beside(peer)}",
                    figures.beyond_ms(OURS, phase, percent), "ms", figures.peer(peer, phase, percent),
                    at_most=target, reason=note)
            )  # fmt: skip
    return made


def _beside(peer: str) -> str:
    return "" if peer == STOCK else f", beside {peer}"


def _added_rows(figures: Figures) -> list[Row]:
    def one(phase: Phase, peer: str) -> Row:
        before, after = figures.peer(peer, ZERO, 50), figures.peer(peer, phase, 50)
        ours = figures.beyond_ms(OURS, phase, 50) - figures.beyond_ms(OURS, ZERO, 50)
        if before.value is None or after.value is None:
            theirs = Peer(peer, reason=before.reason or after.reason)
        else:
            theirs = Peer(peer, after.value - before.value)
        target = ADDED_MS if peer == STOCK else None
        return row(f"delay added {phase.name}: median{_beside(peer)}", ours, "ms", theirs, at_most=target,
                   reason="to that at 0 loss, in the same calls")  # fmt: skip

    return [one(phase, peer) for phase in (ONE, AFTER) for peer in PEERS]


def _silence_rows(taken: Taken) -> list[Row]:
    """Periods of digital silence per call."""

    def per_call(name: str, phase: Phase) -> float:
        return sum(run.silent[phase.name] for run in taken.runs[name]) / len(taken.runs[name])

    made = []
    for phase in PHASES:
        for peer in PEERS if phase == BAD else (STOCK,):
            told = ", ".join(f"{lost} of {seen}" for lost, seen in (run.lost[phase.name] for run in taken.runs[OURS]))
            theirs = Peer(peer, reason=taken.missing.get(peer, "not heard"))
            if taken.runs.get(peer):
                theirs = Peer(peer, per_call(peer, phase))
            made.append(
                row(f"digital silence, {phase.name}: periods of 10 ms in a call{_beside(peer)}",
                    per_call(OURS, phase), "", theirs, at_most=0 if peer == STOCK else None,
                    reason=f"packets lost: {told}")
            )  # fmt: skip
    return made


def _estimate_rows(figures: Figures, taken: Taken) -> list[Row]:
    made = []
    for phase in (ZERO, AFTER, BAD):
        estimates = [
            estimate_s * 1000
            for run in taken.runs[OURS]
            for window in run.windows
            if window.phase == phase.name
            for at_s, estimate_s in run.estimates
            if window.since_s <= at_s < window.to_s
        ]
        if not estimates:
            raise Unheard(f"{OURS}, {phase.name}: the station told no estimate")
        absolute = median(figures.delays_ms(OURS, phase))
        told = f"{median(estimates):.1f} ms in its status, {absolute:.1f} ms measured with the rig's own buffers in it"
        made.append(
            row(f"mouth-to-ear estimate minus measured, {phase.name}", median(estimates) - absolute, "ms",
                Peer(None, reason="no other one tells an estimate"), reason=told)
        )  # fmt: skip
    return made


def _control_rows(figures: Figures, taken: Taken) -> list[Row]:
    nobody = Peer(None, reason="a control of the rig itself")
    alone = _ms(taken.copy_alone)
    probes = [taken_s * 1000 for taken_s in taken.probe_s]
    told = f"{len(alone)} chirps alone, {len(figures.copy)} beside; each start lies by chance within 10 ms"
    wire = f"{len(probes)} packets that are no voice, from socket to socket through the impaired wire; "
    return [
        row("the copy loop beside two calls minus alone: median", figures.base_ms - median(alone), "ms", nobody,
            at_most=COPY_SHIFT_MS, reason=told),
        row("the impaired wire's own delay: median", median(probes), "ms", nobody, at_most=WIRE_MS,
            reason=f"{wire}p95 {percentile(probes, 95):.2f}, p99 {percentile(probes, 99):.2f} ms"),
    ]  # fmt: skip


def complaints(taken: Taken) -> list[str]:
    """Why these figures are not to be believed, beside the machine's load."""
    beside, alone = _ms(taken.copy_beside), _ms(taken.copy_alone)
    probes = [taken_s * 1000 for taken_s in taken.probe_s]
    found = []
    if percentile(beside, 95) - percentile(beside, 5) > COPY_SPREAD_MS:
        found.append(f"the copy loop was disturbed: {percentile(beside, 5):.1f} to {percentile(beside, 95):.1f} ms")
    if not alone or abs(median(beside) - median(alone)) > COPY_SHIFT_MS:
        found.append("two calls at a time disturb the copy loop")
    if not probes or median(probes) > WIRE_MS:
        found.append("the impaired wire lagged")
    for phase in PHASES:
        spoken = [one for run in taken.runs[OURS] for one in _within(run, phase)]
        heard = _ms(spoken)
        if len(heard) < (MIN_FOUND_BAD if phase in (LOSSY, BAD) else MIN_FOUND) * len(spoken):
            found.append(f"{len(heard)} of {len(spoken)} chirps of ours were heard {phase.name}")
    holes = {name: sum(run.mouth_silent for run in runs) for name, runs in taken.runs.items()}
    if any(holes.values()):
        found.append(f"the injector had holes of 10 ms: {holes}")
    return found


def series(taken: Taken) -> dict[str, object]:
    """Seconds of a call; absolute milliseconds, None for a chirp that was not found again. The last call of each."""
    return {
        "phases": [{"name": phase.name, "lasts_s": phase.lasts_s, "judged_from_s": phase.from_s} for phase in PHASES],
        "copy_loop_ms": median(_ms(taken.copy_beside)),
        "latency": {name: _points(runs[-1]) for name, runs in taken.runs.items() if runs},
        "estimate": [[round(at_s - _began_s(run), 2), round(estimate_s * 1000, 1)]
                     for run in taken.runs[OURS][-1:] for at_s, estimate_s in run.estimates],
        "silent_periods": {name: [dict(run.silent) for run in runs] for name, runs in taken.runs.items()},
        "packets_lost_and_sent": {name: [dict(run.lost) for run in runs] for name, runs in taken.runs.items()},
    }  # fmt: skip


def _began_s(run: Run) -> float:
    return run.windows[0].from_s


def _points(run: Run) -> dict[str, Any]:
    """By condition, each a list of (time_s, latency_ms)."""
    return {
        window.phase: [
            [round(one.at_s - _began_s(run), 3), None if one.delay_s is None else round(one.delay_s * 1000, 1)]
            for one in run.heard
            if window.from_s <= one.at_s < window.to_s
        ]
        for window in run.windows
    }
