"""What a benchmark says: rows as INTERFACES.md defines them (`build/bench/NAME.json`), and a table for people.

A miss is a result and no failure. A run that measured something else than it claims (a busy machine, a generator that
lagged, a part that broke) is invalid: every row of it says so, and the command's exit status is 1.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

OUTPUT = Path(__file__).parents[2] / "build" / "bench"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `target` is in words with its sign ("≤ 50") or empty; `ok` is None where there is none to meet.
    `peer` is None only with a `reason`."""

    name: str
    ours: float | None
    peer: float | None
    peer_name: str | None
    unit: str
    target: str
    ok: bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Another program, measured in the same run; without a value the reason why there is none."""

    name: str | None
    value: float | None = None
    reason: str = ""


def row(
    name: str,
    ours: float,
    unit: str,
    peer: Peer,
    *,
    at_most: float | None = None,
    at_most_peer: bool = False,
    at_least: float | None = None,
    at_least_peer: bool = False,
    equal: float | None = None,
    reason: str = "",
) -> Row:
    """A figure and its verdict. `at_most_peer`, `at_least_peer`: the target is the peer's figure. Raises ValueError for
    a peer that is missing without a reason, and for figures that are none."""
    values = [value for value in (ours, peer.value, at_most, at_least, equal) if value is not None]
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{name}: {values} are not all numbers")
    if peer.value is None and not peer.reason:
        raise ValueError(f"{name}: a peer may be missing, but not without a reason")
    if at_most_peer:
        at_most = peer.value
    if at_least_peer:
        at_least = peer.value
    target, ok = _verdict(ours, at_most, at_least, equal)
    reasons = "; ".join(text for text in (reason, peer.reason) if text)
    return Row(name, _rounded(ours), _rounded(peer.value), peer.name, unit, target, ok, reasons)


def _verdict(
    ours: float, at_most: float | None, at_least: float | None, equal: float | None
) -> tuple[str, bool | None]:
    if at_most is not None:
        return f"≤ {at_most:.4g}", ours <= at_most
    if at_least is not None:
        return f"≥ {at_least:.4g}", ours >= at_least
    if equal is not None:
        return f"= {equal:.4g}", ours == equal
    return "", None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def invalid(rows: Sequence[Row], why: str) -> list[Row]:
    """The same figures, believed by nobody."""
    return [
        replace(row, ok=False, reason=f"INVALID: {why}" + (f"; {row.reason}" if row.reason else "")) for row in rows
    ]


def broken(name: str, why: str) -> Row:
    """Stands for a part that gave no figures."""
    return Row(name, None, None, None, "", "", False, f"INVALID: not measured: {why}")


def is_valid(rows: Sequence[Row]) -> bool:
    """A benchmark that measured nothing is none."""
    return bool(rows) and not any(row.reason.startswith("INVALID") for row in rows)


def to_json(rows: Sequence[Row]) -> str:
    """A list, a row a line."""
    return "[\n" + ",\n".join("  " + json.dumps(asdict(row), ensure_ascii=False) for row in rows) + "\n]\n"


def write(rows: Sequence[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(rows))


def table(rows: Sequence[Row]) -> str:
    """All rows under one another: figure, peer, ratio, target, verdict; the reasons as notes below."""
    cells = [("WHAT", "OURS", "PEER", "", "RATIO", "TARGET", ""), *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    notes: dict[str, list[str]] = {}
    for one in rows:
        if one.reason:
            notes.setdefault(one.reason, []).append(one.name)
    told = [f"{' · '.join(names)}: {reason}" for reason, names in notes.items()]
    return "\n".join([*lines, "", *told])


def _cells(row: Row) -> tuple[str, ...]:
    ours = "" if row.ours is None else f"{_short(row.ours)} {row.unit}".strip()
    peer = "" if row.peer is None else f"{_short(row.peer)} {row.unit}".strip()
    return (row.name, ours, peer, row.peer_name or "", _ratio(row), row.target, verdict(row))


def _ratio(row: Row) -> str:
    """Ours to the peer's."""
    if row.ours is None or row.peer is None or row.peer <= 0:
        return ""
    return f"{row.ours / row.peer:.2f}"


def verdict(row: Row) -> str:
    """invalid, hit or missed; empty without a target. A miss says by what factor."""
    if row.reason.startswith("INVALID"):
        return "INVALID"
    if row.ok is None:
        return ""
    if row.ok:
        return "hit"
    limit = float(row.target.split()[-1])
    return f"MISSED ({row.ours / limit:.2f} of it)" if limit and row.ours is not None else "MISSED"


def _short(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.4g}"
