"""Pictures of what `make bench-audio` measured, drawn from its series alone.

    python -m tests.bench.audio.plots [build/bench/audio-series.json]

Okabe and Ito's colours, which people who see few colours can tell apart; each contender has its own shape of line as
well. 1000 pixels wide.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.audio.conditions import PHASES
from tests.bench.report import OUTPUT

Series = Mapping[str, Any]
Points = Sequence[Sequence[float | None]]

BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
_LOOKS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ours": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "stock aiortc": {"color": RED, "linestyle": "--", "marker": "s"},
    "stock aiortc, both ends": {"color": ORANGE, "linestyle": ":", "marker": "D"},
    "Chromium": {"color": GREEN, "linestyle": "-.", "marker": "^"},
    "speexdsp": {"color": RED, "linestyle": "--", "marker": "s"},
    "no processing": {"color": BLACK, "linestyle": ":", "marker": ""},
    "target": {"color": BLACK, "linestyle": (0, (1, 1)), "marker": "", "linewidth": 1.2},
}
_SIZE: Final = (10.0, 5.2)
"""Inches, of 100 pixels each."""
_MB: Final = 1e6
_FROM_CALL: Final = 100
_BARS: Final = (BLUE, RED, ORANGE, PINK, GREEN)
_HATCHES: Final = ("", "//", "..", "xx", "\\\\")
STYLE: Final[Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "figure.dpi": 100,
    "savefig.dpi": 100,
}


def draw(series: Series, stem: str, directory: Path = OUTPUT) -> list[Path]:
    """A PNG for each picture whose series is there; their paths."""
    paths = []
    with mpl.rc_context(STYLE):
        for name, (needed, picture) in PICTURES.items():
            if needed not in series:
                continue
            figure = plt.figure(figsize=_SIZE, layout="constrained")
            picture(figure, series)
            paths.append(directory / f"{stem}-{name}.png")
            figure.savefig(paths[-1])
            plt.close(figure)
    return paths


def _line(axes: Axes, points: Points, name: str, *, marked: bool = False, label: str | None = None) -> None:
    look = dict(_LOOKS[name])
    if not marked:
        look["marker"] = ""
    known = [[float("nan") if value is None else value for value in point] for point in points]
    axes.plot([point[0] for point in known], [point[1] for point in known], label=label or name, **look)


# ---------------------------------------------------------------------------------------------------------- speech


def speech(figure: Figure, series: Series) -> None:
    """PESQ and STOI against loss, random and bursty."""
    scales = (("pesq", "PESQ, wide band"), ("stoi", "STOI"))
    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, kind in enumerate(("random", "bursty")):
        for line, (figure_name, label) in enumerate(scales):
            axes = grid[line][column]
            for name, points in _speech_curves(series, kind, figure_name).items():
                _line(axes, points, name, marked=True)
            axes.set_xticks((0, 1, 3, 5, 10, 20))
            if column == 0:
                axes.set_ylabel(label)
            if line == 0:
                axes.set_title(f"{kind} loss" + (", bursts of 3 packets on average" if kind == "bursty" else ""))
            else:
                axes.set_xlabel("packets lost, %")
                axes.set_ylim(0, 1.02)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle("Speech after packet loss: four voices, means")


def _speech_curves(series: Series, kind: str, figure: str) -> Mapping[str, Points]:
    """By contender: where Chromium listened, everybody heard the same packets."""
    own = series["speech"][kind]
    curves = {"stock aiortc, both ends": list(zip(own["lost_percent"], own["stock"][figure], strict=True))}
    if browser := series.get("browser"):
        chosen = [
            index
            for index, (lost, of) in enumerate(zip(browser["lost"], browser["kind"], strict=True))
            if of == kind or not lost
        ]
        for name, key in (("ours", "ours"), ("Chromium", "Chromium"), ("stock aiortc", "stock")):
            curves[name] = [(100 * browser["lost"][index], browser[key][figure][index]) for index in chosen]
    else:
        curves["ours"] = list(zip(own["lost_percent"], own["ours"][figure], strict=True))
    return {name: curves[name] for name in _LOOKS if name in curves}


# ----------------------------------------------------------------------------------------------------------- delay


def traces(figure: Figure, series: Series) -> None:
    """Delay over time on three simulated networks."""
    shown = ("one packet lost", "1 % lost", "10 % lost, 50 ms of jitter")
    grid = figure.subplots(1, len(shown), sharey=True)
    for axes, trace in zip(grid, shown, strict=True):
        for name, key in (("ours", "ours"), ("stock aiortc", "stock")):
            points = series["jitter"]["lag_ms"][trace][key]
            _line(axes, [point for point in points if trace != shown[0] or point[0] < 10], name)
        axes.set_title(trace)
        axes.set_xlabel("seconds")
    grid[0].set_ylim(bottom=0)  # only now: it keeps the top where it is
    grid[0].set_ylabel("mouth to playout, ms (codec and card: + 36)")
    grid[-1].legend(loc="center right")
    figure.suptitle("Delay on simulated networks")


def mouth_to_ear(figure: Figure, series: Series) -> None:
    """Live, per condition and contender; the copy loop taken off."""
    measured = series["latency"]
    axes = figure.subplots()
    names = list(measured["latency"])
    phases = [phase["name"] for phase in measured["phases"]]
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        heights = [_median_ms(_settled(measured["latency"][name].get(phase, []), phase)) for phase in phases]
        beyond = [float("nan") if height is None else height - measured["copy_loop_ms"] for height in heights]
        at = [index + (place - (len(names) - 1) / 2) * width for index in range(len(phases))]
        bars = axes.bar(
            at, beyond, width * 0.92, label=name, color=_BARS[place], hatch=_HATCHES[place], edgecolor="white"
        )
        axes.bar_label(bars, [f"{value:.0f}" if value == value else "–" for value in beyond], fontsize=8, padding=1)
    start = _median_ms(measured["latency"][names[0]][phases[0]]) or 0.0
    for index, phase in enumerate(phases):
        target = 45.0 if index == 0 else 150.0 if "jitter" in phase else start - measured["copy_loop_ms"] + 20
        axes.plot([index - 0.42, index + 0.42], [target, target], color=BLACK, linewidth=1.5,
                  label="target for ours" if index == 0 else None)  # fmt: skip
    axes.set_xticks(range(len(phases)), [phase.replace(", ", ",\n").replace("after ", "after\n") for phase in phases])
    axes.set_ylabel("mouth to ear − bare copy loop, ms")
    axes.grid(visible=False, axis="x")
    figure.legend(ncols=6, loc="outside lower center", fontsize=9.5)
    axes.set_title("Mouth to ear in live calls: medians, the copy loop taken off")


def _settled(points: Points, name: str) -> Points:
    """Those that count: a condition's last seconds, as in the rows."""
    from_s = next((phase.from_s for phase in PHASES if phase.name == name), 0.0)
    return [point for point in points if point[0] - points[0][0] >= from_s]


def _median_ms(points: Points) -> float | None:
    known = [point[1] for point in points if point[1] is not None]
    return median(known) if known else None


def stalls(figure: Figure, series: Series) -> None:
    """What is left of half a second in which the event loop did not run."""
    measured = series["stall"]
    grid = figure.subplots(1, 2, sharey=True)
    for axes, end in zip(grid, ("receiving", "sending"), strict=True):
        for name, key in (("ours", "ours"), ("stock aiortc", "stock")):
            _line(axes, measured["lag_ms"][end][key], name)
        axes.axvspan(measured["stall_at_s"], measured["stall_at_s"] + measured["stall_s"], color="0.85")
        axes.set_title(f"{end} end")
        axes.set_xlabel("seconds (grey: the loop stands)")
    grid[0].set_ylim(bottom=0)  # only now: it keeps the top where it is
    grid[0].set_ylabel("mouth to playout, ms (codec and card: + 36)")
    grid[1].legend()
    figure.suptitle("The event loop stalls for 0.5 s")


# ------------------------------------------------------------------------------------------------------------ echo


def echo(figure: Figure, series: Series) -> None:
    """What is left of an echo, and by how much it is weaker in each room."""
    measured = series["echo"]
    grid = figure.subplot_mosaic([["single", "rooms"], ["jump", "rooms"]], width_ratios=(1.15, 1))
    for kind, title in (
        ("single", "single talk"),
        ("jump", f"the echo comes 50 ms later from {measured['jump_s']:.0f} s on"),
    ):
        axes, residual = grid[kind], measured["residual_dbfs"].get(kind, {})
        for name, key in (("no processing", "none"), ("speexdsp", "speexdsp"), ("ours", "echo")):
            if key in residual:
                _line(axes, residual[key], name)
        axes.set_ylabel("echo, dBFS")
        axes.set_ylim(-95, -15)
        axes.set_title(f"{title}; {measured['shown']}, one voice", fontsize=11)
    grid["single"].tick_params(labelbottom=False)
    grid["jump"].axvline(measured["jump_s"], color=BLACK, linewidth=0.8)
    grid["jump"].set_xlabel("seconds")
    handles, labels = grid["single"].get_legend_handles_labels()
    grid["jump"].legend(handles, labels, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.3), fontsize=10)
    _erle(grid["rooms"], measured["erle_db"])
    figure.suptitle("What the far end hears of itself: echo cancellation alone, synthetic rooms")


def _erle(axes: Axes, rooms: Mapping[str, Mapping[str, Sequence[float]]]) -> None:
    for place, (name, key) in enumerate((("ours", "echo"), ("speexdsp", "speexdsp"))):
        look = _LOOKS[name]
        for index, found in enumerate(rooms.values()):
            values = found.get(key, [])
            height = [index + 0.16 - 0.32 * place] * len(values)
            axes.plot(values, height, linestyle="", marker=look["marker"], color=look["color"], alpha=0.8,
                      label=name if index == 0 else None)  # fmt: skip
    for at, label, style in ((38, "target, linear", "--"), (30, "target, clipping", ":")):
        axes.axvline(at, color=BLACK, linewidth=1, linestyle=style, label=label)
    axes.set_yticks(range(len(rooms)), list(rooms), fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("ERLE after 5 s, dB")
    axes.set_xlim(left=0)
    axes.set_title("each room, a mark for each voice", fontsize=11)
    axes.legend(fontsize=10, ncols=2, loc="upper center", bbox_to_anchor=(0.35, -0.12))


# ------------------------------------------------------------------------------------------------------------ rest


def drift(figure: Figure, series: Series) -> None:
    """An hour with two clocks."""
    grid = figure.subplots(1, 2)
    looks = (
        ("ours", "ours +200 ppm", {}), ("ours", "ours -200 ppm", {"color": SKY}),
        ("stock aiortc", "stock +200 ppm", {}), ("stock aiortc", "stock -200 ppm", {"color": ORANGE, "linestyle": ":"}),
    )  # fmt: skip
    for name, key, other in looks:
        if key not in series["drift"]:
            continue
        look = {**_LOOKS[name], "marker": "", **other, "label": key.replace("stock", "stock aiortc").replace("-", "−")}
        for axes, figure_name in zip(grid, ("delay_ms", "correction_ppm"), strict=True):
            points = series["drift"][key][figure_name]
            if points:
                axes.plot([at_s / 60 for at_s, _ in points], [value for _, value in points], **look)
    grid[0].set_ylabel("mouth to playout, ms")
    grid[0].set_ylim(bottom=0)
    grid[1].set_ylabel("correction by resampling, ppm")
    for axes in grid:
        axes.set_xlabel("minutes")
    grid[0].legend()
    figure.suptitle("An hour between sound cards whose clocks differ by 200 ppm (simulated clock)")


def growth(figure: Figure, series: Series) -> None:
    """Memory over a thousand calls."""
    measured = series["growth"]
    axes = figure.subplots()
    looks = zip(measured["after"].items(), (BLUE, GREEN, RED), ("-", "-.", "--"), strict=False)
    for (name, found), color, style in looks:
        calls = [(index + 1) * measured["calls_between"] for index in range(len(found))]
        percent = [(one["rss_bytes"] / _level(found, measured["calls_between"]) - 1) * 100 for one in found]
        label = f"{name}, {found[-1]['rss_bytes'] / _MB:.0f} MB"
        axes.plot(calls, percent, color=color, linestyle=style, label=label)
    axes.axhline(1.0, color=BLACK, linestyle=":", linewidth=1.2, label="target for ours: < 1 %")
    axes.axvline(_FROM_CALL, color=BLACK, linewidth=0.8)
    axes.set_xlabel("calls")
    axes.set_ylabel(f"resident memory against call {_FROM_CALL}, %")
    axes.set_title("Memory over a thousand calls")
    axes.legend()


def _level(found: Sequence[Mapping[str, float]], calls_between: int) -> float:
    return found[min(len(found), _FROM_CALL // calls_between) - 1]["rss_bytes"]


PICTURES: Final[Mapping[str, tuple[str, Callable[[Figure, Series], None]]]] = {
    "speech": ("speech", speech),
    "traces": ("jitter", traces),
    "mouth-to-ear": ("latency", mouth_to_ear),
    "stall": ("stall", stalls),
    "echo": ("echo", echo),
    "drift": ("drift", drift),
    "growth": ("growth", growth),
}
"""With the part that must have been measured."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audio.plots")
    parser.add_argument("path", nargs="?", type=Path, default=OUTPUT / "audio-series.json")
    path = parser.parse_args(argv).path
    for plot in draw(json.loads(path.read_text()), path.stem.removesuffix("-series"), path.parent):
        print(plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
