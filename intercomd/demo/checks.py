"""Results as INTERFACES.md defines them: checks decide, figures inform; a line as each comes, a table and JSON at the
end."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TextIO

Value = str | float | int | bool | None
MARKS = {("check", True): "ok    ", ("check", False): "FAILED", ("figure", True): "figure", ("figure", False): "figure"}


@dataclass(frozen=True, slots=True)
class Row:
    """`target` is in words, with its sign: "≥ 0.6". A figure's `ok` says whether its target was met; it decides
    nothing."""

    name: str
    kind: Literal["check", "figure"]
    ok: bool
    value: Value = None
    unit: str = ""
    target: str = ""


class Findings:
    """Collects rows, and tells each at once with the time since the beginning."""

    def __init__(self, output: TextIO = sys.stdout) -> None:
        self._output = output
        self._began_s = time.monotonic()
        self.rows: list[Row] = []

    @property
    def ok(self) -> bool:
        """Every check passed, and there was at least one: a run that tried nothing has failed."""
        checks = [row for row in self.rows if row.kind == "check"]
        return bool(checks) and all(row.ok for row in checks)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_s:6.1f} s          {text}", file=self._output, flush=True)

    def check(self, name: str, ok: bool, value: Value = None, unit: str = "", target: str = "") -> bool:
        self._add(Row(name, "check", bool(ok), value, unit, target))
        return bool(ok)

    def figure(self, name: str, value: float, unit: str, at_most: float | None = None) -> None:
        target = "" if at_most is None else f"≤ {at_most:g}"
        self._add(Row(name, "figure", at_most is None or value <= at_most, round(value, 3), unit, target))

    def json(self) -> str:
        """The object of INTERFACES.md, a row a line."""
        rows = ",\n".join("  " + json.dumps(asdict(row), ensure_ascii=False) for row in self.rows)
        return f'{{"ok": {json.dumps(self.ok)}, "checks": [\n{rows}\n]}}'

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.json() + "\n")

    def table(self) -> str:
        """All rows under one another, and the verdict."""
        cells = [("", "WHAT", "MEASURED", "TARGET"), *map(_cells, self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        failed = sum(row.kind == "check" and not row.ok for row in self.rows)
        checks = sum(row.kind == "check" for row in self.rows)
        verdict = f"{checks} checks, all passed" if self.ok else f"{failed} of {checks} checks failed"
        return "\n".join([*lines, "", verdict])

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        mark, what, measured, target = _cells(row)
        measured = f": {measured}" if measured else ""
        wanted = f"  (target {target})" if target else ""
        elapsed_s = time.monotonic() - self._began_s
        print(f"{elapsed_s:6.1f} s  {mark}  {what}{measured}{wanted}", file=self._output, flush=True)


def _cells(row: Row) -> tuple[str, str, str, str]:
    measured = "" if row.value is None else f"{row.value} {row.unit}".strip()
    target = f"{row.target} {row.unit}".strip() if row.target else ""
    return MARKS[row.kind, row.ok], row.name, measured, target
