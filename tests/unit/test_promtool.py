"""Prometheus' own judgement of the alert rules: their syntax, and when they fire."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.test_metrics import RULES, watching

pytestmark = pytest.mark.platform("promtool")

SCENES = Path(__file__).parents[1] / "golden" / "alerts.yml"


def promtool(*argv: str, cwd: Path | None = None, given: bytes | None = None) -> None:
    done = subprocess.run(["promtool", *argv], cwd=cwd, input=given, capture_output=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", str(RULES))


def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "scenes.yml").write_text(SCENES.read_text())
    promtool("test", "rules", "scenes.yml", cwd=tmp_path)
    tried = set(re.findall(r"alertname=\"(\w+)\"", SCENES.read_text()))
    assert tried == set(re.findall(r"- alert: (\w+)", RULES.read_text()))


def test_the_exposition_is_well_formed() -> None:
    metrics = watching()
    metrics.answered("initiate_call", None, 0.1)
    promtool("check", "metrics", given=metrics.exposition())
