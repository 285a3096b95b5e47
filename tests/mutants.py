"""`make mutants`: plants each mistake of `mutants.toml` alone in a copy of the tree and runs the tests that must fail.

The measure of a suite is what it kills. A mutant counts as killed only if a test really ran and failed for a reason of
its own: pytest's exit status 1 with a failure in its report that is no import error. A mutant whose old text is gone
from its file fails, so that the list keeps up with the code; so does a list without mutants. Before any mutant, the
named tests must pass in the copy without one.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).parent / "mutants.toml"
PROCESSES = 2
LIMIT_S = 180.0
"""For the tests of one mutant: a mutant that only hangs its tests is not killed by them."""
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".lgd-*", "build", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info"
)
NO_KILL = (
    "ImportError",
    "ModuleNotFoundError",
    "SyntaxError",
    "IndentationError",
    "NameError",
    "AttributeError: module",
)
"""Failures that tell of a broken mutant, not of a test that guards the rule."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old` stands exactly once in `file`; with `new` in its place, one of `tests` (pytest's arguments) must fail."""

    rule: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    killed: bool
    reason: str
    seconds: float = 0.0


def read(file: Path) -> tuple[Mutant, ...]:
    """Raises ValueError for a list that is not one."""
    with file.open("rb") as source:
        entries = tomllib.load(source).get("mutant", [])
    try:
        return tuple(Mutant(tests=tuple(entry.pop("tests")), **entry) for entry in entries)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file}: every [[mutant]] has rule, file, old, new and tests: {error}") from error


def planted(mutant: Mutant, source: str) -> str:
    """The file's text with the mistake in it. Raises ValueError if it cannot be planted."""
    found = source.count(mutant.old)
    if found != 1:
        raise ValueError(
            f"its old text stands {found} times in {mutant.file}"
            if found
            else f"its old text is gone from {mutant.file}"
        )
    if mutant.old == mutant.new or not mutant.tests:
        raise ValueError("old and new are the same" if mutant.tests else "it names no tests")
    changed = source.replace(mutant.old, mutant.new)
    if mutant.file.endswith(".py"):
        try:
            compile(changed, mutant.file, "exec")
        except SyntaxError as error:
            raise ValueError(f"the mutant is no Python: {error}") from error
    return changed


def judged(exit_status: int, report: Path) -> Verdict:
    """What pytest's exit status and its report say. 1: tests ran and failed; 2 to 5: nothing was really tested."""
    if exit_status == 0:
        return Verdict(False, "every test passed")
    if exit_status != 1 or not report.exists():
        return Verdict(False, f"pytest ended with {exit_status}: no test failed, something else is wrong")
    failures = list(ElementTree.parse(report).iter("failure"))
    for failure in failures:
        message = failure.get("message", "")
        if not message.startswith(NO_KILL):
            return Verdict(True, message.splitlines()[0] if message else "failed")
    return Verdict(False, "failed only by an import error" if failures else "a fixture failed, no test")


class Copy:
    """A copy of the tree in which one mutant at a time is planted."""

    def __init__(self, directory: Path, root: Path = ROOT) -> None:
        self.tree = directory / "tree"
        self.said = directory / "said"
        self._report = directory / "report.xml"
        shutil.copytree(root, self.tree, ignore=NOT_COPIED, symlinks=True)

    def judge(self, mutant: Mutant) -> Verdict:
        """Plant, test, take out again."""
        file = self.tree / mutant.file
        try:
            source = file.read_text()
            changed = planted(mutant, source)
        except (OSError, ValueError) as error:
            return Verdict(False, str(error))
        started_s = time.monotonic()
        file.write_text(changed)
        try:
            verdict = judged(self.run(mutant.tests), self._report)
        except subprocess.TimeoutExpired:
            verdict = Verdict(False, f"its tests hung for {LIMIT_S:g} s")
        finally:
            file.write_text(source)
        return Verdict(verdict.killed, verdict.reason, time.monotonic() - started_s)

    def run(self, tests: Sequence[str]) -> int:
        """pytest's exit status. Raises TimeoutExpired."""
        self._report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-W", "error", f"--junitxml={self._report}", *tests]
        # No bytecode: a mutant of the same length within the same second would find its original's.
        environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(self.tree)}
        with self.said.open("w") as output:
            process = subprocess.Popen(
                command, cwd=self.tree, env=environ, stdout=output, stderr=output, start_new_session=True
            )
        try:
            return process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def imports_itself(self) -> bool:
        """Whether the tests run this copy and not the installed tree: else every mutant would survive, or none."""
        script = "import intercomd; print(intercomd.__file__)"
        environ = os.environ | {"PYTHONPATH": str(self.tree)}
        shown = subprocess.check_output(
            [sys.executable, "-c", script], text=True, cwd=self.tree, env=environ, timeout=30
        )
        return Path(shown.strip()).is_relative_to(self.tree)


def _copies(directory: Path, root: Path) -> Iterator[Copy]:
    for number in range(PROCESSES):
        (directory / str(number)).mkdir()
        yield Copy(directory / str(number), root)


def _sound(copy: Copy, mutants: Sequence[Mutant]) -> str | None:
    """Why the runner itself cannot be trusted, or None."""
    if not mutants:
        return "no mutants: a check that tries nothing proves nothing"
    if not copy.imports_itself():
        return "the copy's tests would import another intercomd"
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    status = copy.run(tests)
    if status == 0:
        return None
    return f"{copy.said.read_text()}\nwithout any mutant pytest ends with {status}: {' '.join(tests)}"


def run(mutants: Sequence[Mutant], root: Path = ROOT) -> int:
    """Judge all; prints a line each and `killed N / M` at the end. Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory, ThreadPoolExecutor(PROCESSES) as pool:
        copies: Queue[Copy] = Queue()
        for copy in _copies(Path(directory), root):
            copies.put(copy)
        trouble = _sound(copies.queue[0], mutants)
        if trouble:
            print(trouble)
            return 1

        def judge(mutant: Mutant) -> Verdict:
            copy = copies.get()
            try:
                return copy.judge(mutant)
            finally:
                copies.put(copy)

        killed = 0
        for mutant, verdict in zip(mutants, pool.map(judge, mutants), strict=True):
            killed += verdict.killed
            word = "killed  " if verdict.killed else "SURVIVED"
            print(f"{word} {verdict.seconds:5.1f} s  {mutant.file}: {mutant.rule}: {verdict.reason[:100]}", flush=True)
    print(f"killed {killed} / {len(mutants)}")
    return 0 if killed == len(mutants) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run those of the list whose file or rule contains the given word; without one, all."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only mutants with this in their file or rule")
    parser.add_argument("--list", type=Path, default=LIST, help="default: %(default)s")
    options = parser.parse_args(argv)
    mutants = [mutant for mutant in read(options.list) if options.word in f"{mutant.file} {mutant.rule}"]
    return run(mutants)


if __name__ == "__main__":
    sys.exit(main())
