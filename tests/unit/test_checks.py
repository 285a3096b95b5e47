"""What decides the scripted run: checks and nothing else, and never the lack of them."""

import io
import json

from intercomd.demo.checks import Findings


def findings() -> Findings:
    return Findings(io.StringIO())


def test_a_run_that_checked_nothing_has_failed() -> None:
    empty = findings()
    empty.figure("start", 0.5, "s", at_most=2)
    assert not empty.ok
    assert json.loads(empty.json())["ok"] is False


def test_one_failed_check_fails_the_run() -> None:
    mixed = findings()
    mixed.check("rings", True)
    assert mixed.ok
    mixed.check("answers", False)
    mixed.check("talks", True)
    assert not mixed.ok


def test_a_missed_figure_decides_nothing_and_is_told() -> None:
    missed = findings()
    missed.check("rings", True)
    missed.figure("press → ring", 80.0, "ms", at_most=50)
    assert missed.ok
    row = json.loads(missed.json())["checks"][1]
    assert (row["kind"], row["ok"], row["target"]) == ("figure", False, "≤ 50")


def test_the_json_has_the_fields_of_the_interface() -> None:
    one = findings()
    one.check("hears", True, 0.93, "correlation", "≥ 0.6")
    assert json.loads(one.json()) == {
        "ok": True,
        "checks": [
            {
                "name": "hears",
                "kind": "check",
                "ok": True,
                "value": 0.93,
                "unit": "correlation",
                "target": "≥ 0.6",
            }
        ],
    }


def test_the_table_says_how_many_failed() -> None:
    two = findings()
    two.check("rings", True)
    two.check("answers", False, "not within 15 s")
    table = two.table()
    assert "FAILED  answers" in table
    assert table.endswith("1 of 2 checks failed")
