"""What the appliance's benchmark takes over from other runs."""

import json
import os
from pathlib import Path

import pytest

from tests.bench.appliance.bench import WANTED, figures
from tests.bench.report import is_valid

CHECKS = [
    {"name": "boot to ready", "kind": "figure", "ok": True, "value": 31.5, "unit": "s", "target": ""},
    {"name": "the button rings", "kind": "check", "ok": True, "value": None, "unit": "", "target": ""},
    {"name": "broken", "kind": "figure", "ok": False, "value": None, "unit": "s", "target": ""},
]


def results(build: Path, checks: list[dict[str, object]], part: str = "vm") -> Path:
    file = build / part / "results.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"ok": True, "checks": checks}))
    return file


def test_figures_of_a_run_are_taken_over_and_its_checks_are_not(tmp_path: Path) -> None:
    results(tmp_path, CHECKS)
    (found,) = [one for one in figures("vm", tmp_path) if one.ours is not None]
    assert (found.name, found.ours, found.unit, found.ok) == ("vm: boot to ready", 31.5, "s", None)
    assert "make test-vm" in found.reason


def test_a_wanted_figure_that_is_a_check_is_taken_and_how_long_the_tests_took_is_not(tmp_path: Path) -> None:
    back = {"name": WANTED["vm"][1], "kind": "check", "ok": True, "value": 2.5, "unit": "s", "target": "≤ 5"}
    wall = {"name": "wall time of power", "kind": "figure", "ok": True, "value": 80, "unit": "s", "target": ""}
    results(tmp_path, [back, wall])
    assert [(one.name, one.ours) for one in figures("vm", tmp_path)][:1] == [(f"vm: {WANTED['vm'][1]}", 2.5)]
    assert not any("wall time" in one.name for one in figures("vm", tmp_path))


@pytest.mark.parametrize("has_run", [False, True])
@pytest.mark.parametrize("part", WANTED)
def test_what_a_run_does_not_have_is_told_and_not_passed_over(tmp_path: Path, part: str, has_run: bool) -> None:
    if has_run:
        results(tmp_path, CHECKS, part)
    absent = [one for one in figures(part, tmp_path) if one.ours is None]
    assert len(absent) == len(WANTED[part])
    assert all(f"make test-{part}" in one.reason for one in absent)
    # The container's figures are none the worse.
    assert is_valid(absent)


def test_the_age_of_the_oldest_scene_and_what_changed_since_is_told(tmp_path: Path) -> None:
    results(tmp_path, CHECKS)
    assert "0.0 hours before" in figures("vm", tmp_path)[0].reason
    scene = tmp_path / "vm" / "scenes" / "power.json"
    scene.parent.mkdir()
    scene.write_text("{}")
    os.utime(scene, (0, 0))
    reason = figures("vm", tmp_path, commits=lambda since_s: 7 if since_s == 0 else 0)[0].reason
    assert "STALE: 7 commits since" in reason
    assert "0.0 hours" not in reason


def test_a_run_with_failed_checks_says_so(tmp_path: Path) -> None:
    results(tmp_path, [*CHECKS, {"name": "x", "kind": "check", "ok": False, "value": None, "unit": "", "target": ""}])
    assert "1 of its checks FAILED" in figures("vm", tmp_path)[0].reason


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_results_that_are_none_are_not_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "results.json").write_text(text)
    assert not is_valid(figures("vm", tmp_path))
