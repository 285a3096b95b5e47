"""What the appliance's benchmark takes over from other runs."""

import json
from pathlib import Path

import pytest

from tests.bench.appliance.bench import figures
from tests.bench.report import is_valid

CHECKS = [
    {"name": "boot to ready", "kind": "figure", "ok": True, "value": 31.5, "unit": "s", "target": ""},
    {"name": "the button rings", "kind": "check", "ok": True, "value": None, "unit": "", "target": ""},
    {"name": "broken", "kind": "figure", "ok": False, "value": None, "unit": "s", "target": ""},
]


def test_figures_of_a_run_are_taken_over_and_its_checks_are_not(tmp_path: Path) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "results.json").write_text(json.dumps({"ok": True, "checks": CHECKS}))
    (found,) = figures("vm", tmp_path)
    assert (found.name, found.ours, found.unit, found.ok) == ("vm: boot to ready", 31.5, "s", None)
    assert "make test-vm" in found.reason


def test_without_a_run_there_are_none(tmp_path: Path) -> None:
    assert figures("image", tmp_path) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_results_that_are_none_are_not_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "results.json").write_text(text)
    assert not is_valid(figures("vm", tmp_path))
