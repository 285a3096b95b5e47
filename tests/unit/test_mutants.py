"""The mutants' runner: what it counts as killed, and what it must not."""

from pathlib import Path

import pytest

from tests.mutants import LIST, Mutant, judged, planted, read, run

RULE = Mutant("adds", "intercomd/sums.py", "a + b", "a - b", ("tests",))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with one rule and a test of it."""
    root = tmp_path / "root"
    (root / "intercomd").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "intercomd" / "__init__.py").write_text("")
    (root / "intercomd" / "sums.py").write_text("def add(a, b):\n    return a + b\n\nNAME = 'sums'\n")
    (root / "tests" / "test_sums.py").write_text(
        "def test_add():\n    from intercomd.sums import add\n    assert add(2, 2) == 4\n"
    )
    (root / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\npythonpath = ["."]\nasyncio_default_fixture_loop_scope = "function"\n'
    )
    return root


def _told(tree: Path, capsys: pytest.CaptureFixture[str], *mutants: Mutant) -> tuple[int, str]:
    return run(mutants, tree), capsys.readouterr().out


def test_killed_survived_and_broken_mutants_are_told_apart(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (tree / "intercomd" / "sums.py").read_text()
    status, out = _told(
        tree,
        capsys,
        RULE,
        Mutant("named", RULE.file, "'sums'", "'products'", RULE.tests),
        Mutant("gone", RULE.file, "a * b", "a / b", RULE.tests),
        Mutant("breaks the import", RULE.file, "def add", "def plus", RULE.tests),
    )
    assert status == 1
    assert [line.split()[0] for line in out.splitlines()] == ["killed", "SURVIVED", "SURVIVED", "SURVIVED", "killed"]
    assert "its old text is gone from intercomd/sums.py" in out
    assert "only by an import error" in out
    assert out.endswith("killed 1 / 4\n")
    assert (tree / "intercomd" / "sums.py").read_text() == before, "the tree itself is never touched"


def test_all_killed_is_success(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = _told(tree, capsys, RULE)
    assert out.endswith("killed 1 / 1\n")
    assert status == 0


def test_no_mutants_is_a_failure(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _told(tree, capsys)[0] == 1


def test_tests_that_fail_anyway_prove_nothing(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "tests" / "test_bad.py").write_text("def test_bad():\n    assert False\n")
    status, out = _told(tree, capsys, RULE)
    assert status == 1
    assert "without any mutant pytest ends with 1" in out


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("a", "b", "stands 4 times"), ("x", "y", "is gone"), ("= 1", "= 1", "are the same"), ("= 1", "= (", "no Python")],
)
def test_what_cannot_be_planted(old: str, new: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        planted(Mutant("rule", "a.py", old, new, ("tests",)), "a = 1\naaa = 2\n")


@pytest.mark.parametrize("status", [2, 3, 4, 5, -9])
def test_only_failed_tests_kill(tmp_path: Path, status: int) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase><failure message="assert 1 == 2"/></testcase></testsuite></testsuites>'
    )
    assert judged(1, report).killed
    assert not judged(status, report).killed


def test_an_error_in_a_fixture_does_not_kill(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite><testcase><error message="boom"/></testcase></testsuite></testsuites>')
    assert not judged(1, report).killed


def test_the_list_can_be_read_and_planted() -> None:
    mutants = read(LIST)
    assert mutants
    for mutant in mutants:
        planted(mutant, (LIST.parent.parent / mutant.file).read_text())
