"""Writes constraints.txt anew: the newest versions that pyproject.toml allows, for the card's Python.

    python -m hw.image.pins

As root. What it has written is to be tested (`make test-nspawn`, `make test-vm`, `make test-image`) before it is kept.
"""

import json
import tempfile
from pathlib import Path

from hw.image.progress import step
from hw.image.wheels import CONSTRAINTS, EXTRAS, workshop

HEADER_ENDS = "=="
"""The first line that holds it is the first pin; what is before it is kept."""


def main() -> None:
    with tempfile.TemporaryDirectory() as wheels, step("resolving") as told, workshop(Path(wheels)) as shop:
        source = shop.take_source()
        shop.run(told, "python3", "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
                 "--report", "/report.json", f"{source}[{EXTRAS}]", environ={"PYPI": "1"})  # fmt: skip
        report = json.loads((shop.root / "report.json").read_text())
    CONSTRAINTS.write_text(constraints(CONSTRAINTS.read_text(), report))


def constraints(before: str, report: dict[str, list[dict[str, dict[str, str]]]]) -> str:
    """The file's text from pip's installation report (PyPA: pip's inspect and report formats)."""
    header = []
    for line in before.splitlines():
        if HEADER_ENDS in line and not line.startswith("#"):
            break
        header.append(line)
    found = (entry["metadata"] for entry in report["install"])
    pins = {one["name"].lower().replace("_", "-"): one["version"] for one in found if one["name"] != "intercomd"}
    return "\n".join([*header, *(f"{name}=={version}" for name, version in sorted(pins.items()))]) + "\n"


if __name__ == "__main__":
    main()
