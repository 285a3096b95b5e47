"""What the calls of `tests.bench.audio.latency` come to: rows beside each peer, and series for plots. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from tests.bench import baresip
from tests.bench.audio import chromium_call
from tests.bench.audio.conditions import AFTER, BAD, LOSSY, ONE, PHASES, ZERO, Phase, Run, Taken
from tests.bench.audio.hearing import Heard, base_s, calm, hiccups_s
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
MAX_DISTURBED: Final = 0.1
"""Of the chirps: so many may be left out because the rig itself had a hiccup around them, or there is no figure."""
COPY_SHIFT_MS: Final = 5.0
"""By so much the copy loop may be later beside two calls than alone, or these disturb one another."""
MAX_HOLES: Final = 20
"""Periods that the injector left out, of some 50,000; what is heard around them is not counted as a silence."""
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
    """Delays in milliseconds by contender and phase, less the copy loop's; chirps around a hiccup of the rig are left
    out, everybody's."""

    def __init__(self, taken: Taken) -> None:
        self._taken = taken
        if not taken.copy_beside or not taken.copy_alone:
            raise Unheard("the copy loop was never heard")
        self.base_ms = base_s(taken.copy_beside) * 1000
        self._hiccups_s = hiccups_s(taken.copy_beside)

    def delays_ms(self, name: str, phase: Phase) -> list[float]:
        """Absolute. Raises `Unheard`."""
        spoken = [one for run in self._taken.runs[name] for one in self._calm(run, phase)]
        found = _ms(spoken)
        if len(found) < FEWEST:
            raise Unheard(f"{name}, {phase.name}: {len(found)} of {len(spoken)} chirps were heard")
        for run in self._taken.runs[name]:
            lost, seen = run.lost[phase.name]
            if seen == 0 or lost not in phase.lost:
                raise Unheard(f"{name}, {phase.name}: {lost} of {seen} packets were lost, not {phase.lost}")
        return found

    def spoken(self, name: str, phase: Phase) -> int:
        return sum(len(self._calm(run, phase)) for run in self._taken.runs[name])

    def _calm(self, run: Run, phase: Phase) -> list[Heard]:
        return [one for one in _within(run, phase) if calm(one.at_s, self._hiccups_s)]

    def left_out(self) -> tuple[int, int]:
        """Of how many chirps of ours, how many."""
        spoken = [(run, phase) for run in self._taken.runs[OURS] for phase in PHASES]
        total = sum(len(_within(run, phase)) for run, phase in spoken)
        return total - sum(len(self._calm(run, phase)) for run, phase in spoken), total

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
        out, total = self.left_out()
        return (
            f"{calls} calls of ours, one of each peer, two contenders at a time; the copy loop beside them, "
            f"{self.base_ms:.1f} ms (median of {len(self._taken.copy_beside)} starts), is taken off; alone it took "
            f"{base_s(self._taken.copy_alone) * 1000:.1f} ms; {out} of {total} chirps left out for hiccups of the rig"
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
    """Periods of digital silence per call, without what the injector had itself and the rig's hiccups."""
    disturbed_s = hiccups_s(taken.copy_beside)

    def of(run: Run, phase: Phase) -> int:
        return sum(calm(at_s, (*disturbed_s, *run.mouth_silent)) for at_s in run.silent[phase.name])

    def per_call(name: str, phase: Phase) -> float:
        return sum(of(run, phase) for run in taken.runs[name]) / len(taken.runs[name])

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
    alone, beside = taken.copy_alone, taken.copy_beside
    probes = [taken_s * 1000 for taken_s in taken.probe_s]
    told = f"{len(alone)} starts alone, {len(beside)} beside; each lies by chance within 10 ms"
    wire = f"{len(probes)} packets that are no voice, from socket to socket through the impaired wire; "
    return [
        row("the copy loop beside two calls minus alone: median", figures.base_ms - base_s(alone) * 1000, "ms", nobody,
            at_most=COPY_SHIFT_MS, reason=told),
        row("the impaired wire's own delay: median", median(probes), "ms", nobody, at_most=WIRE_MS,
            reason=f"{wire}p95 {percentile(probes, 95):.2f}, p99 {percentile(probes, 99):.2f} ms"),
    ]  # fmt: skip


def complaints(taken: Taken) -> list[str]:
    """Why these figures are not to be believed, beside the machine's load."""
    figures = Figures(taken)
    probes = [taken_s * 1000 for taken_s in taken.probe_s]
    found = []
    out, total = figures.left_out()
    if out > MAX_DISTURBED * total:
        found.append(f"the rig had hiccups around {out} of {total} chirps of ours")
    shift_ms = figures.base_ms - base_s(taken.copy_alone) * 1000
    if abs(shift_ms) > COPY_SHIFT_MS:
        found.append(f"two calls at a time disturb the copy loop: by {shift_ms:+.1f} ms")
    if not probes or median(probes) > WIRE_MS:
        found.append("the impaired wire lagged")
    for phase in PHASES:
        spoken = [one for run in taken.runs[OURS] for one in _within(run, phase)]
        heard = _ms(spoken)
        if len(heard) < (MIN_FOUND_BAD if phase in (LOSSY, BAD) else MIN_FOUND) * len(spoken):
            found.append(f"{len(heard)} of {len(spoken)} chirps of ours were heard {phase.name}")
    holes = sum(len(run.mouth_silent) for runs in taken.runs.values() for run in runs)
    if holes > MAX_HOLES:
        found.append(f"the injector had {holes} holes of 10 ms")
    return found


def series(taken: Taken) -> dict[str, object]:
    """Seconds of a call; absolute milliseconds, None for a chirp that was not found again."""
    return {
        "phases": [{"name": phase.name, "lasts_s": phase.lasts_s, "judged_from_s": phase.from_s} for phase in PHASES],
        "copy_loop_ms": base_s(taken.copy_beside) * 1000,
        "latency": {name: _points(runs) for name, runs in taken.runs.items() if runs},
        "estimate": [[round(at_s - _began_s(run), 2), round(estimate_s * 1000, 1)]
                     for run in taken.runs[OURS][-1:] for at_s, estimate_s in run.estimates],
        "silent_periods": {
            name: [{phase: len(at_s) for phase, at_s in run.silent.items()} for run in runs]
            for name, runs in taken.runs.items()
        },
        "packets_lost_and_sent": {name: [dict(run.lost) for run in runs] for name, runs in taken.runs.items()},
    }  # fmt: skip


def _began_s(run: Run) -> float:
    return run.windows[0].from_s


def _points(runs: Sequence[Run]) -> dict[str, Any]:
    """Of all calls, by condition: each a list of (time_s of its call, latency_ms)."""
    points: dict[str, Any] = {phase.name: [] for phase in PHASES}
    for run in runs:
        for window in run.windows:
            points[window.phase] += [
                [round(one.at_s - _began_s(run), 3), None if one.delay_s is None else round(one.delay_s * 1000, 1)]
                for one in run.heard
                if window.from_s <= one.at_s < window.to_s
            ]
    return points
