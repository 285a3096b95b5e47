"""`.ci/setup` in a tree of its own, with Debian's and pip's programs replaced by ones that only note their calls."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

PROJECT = """
[build-system]
requires = ["setuptools"]
[project]
name = "intercomd"
dependencies = []
[tool.ruff]
line-length = 120
"""

PYTHON = f"""#!/bin/sh
case "$*" in
    *"-m pip"*) echo "pip $*" >>"$CALLS" ;;
    *"-m venv"*) echo "venv $*" >>"$CALLS" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


class Tree:
    """A checkout with a fresh `.venv`, and programs in a directory that comes first in PATH."""

    def __init__(self, directory: Path) -> None:
        self.root, self._bin, self._calls = directory / "tree", directory / "bin", directory / "calls"
        (self.root / ".ci").mkdir(parents=True)
        (self.root / ".venv" / "bin").mkdir(parents=True)
        (self.root / "tests" / "node").mkdir(parents=True)
        (self.root / "tests" / "node" / "package-lock.json").write_text("{}")
        self._bin.mkdir()
        shutil.copy(ROOT / ".ci" / "setup", self.root / ".ci" / "setup")
        (self.root / "pyproject.toml").write_text(PROJECT)
        self.program("python3", PYTHON)
        shutil.copy(self._bin / "python3", self.root / ".venv" / "bin" / "python")
        self.program("apt-get", '#!/bin/sh\necho "apt-get $*" >>"$CALLS"\n')
        self.program("npm", '#!/bin/sh\necho "npm $*" >>"$CALLS"\nmkdir -p "$3/node_modules"\n')
        self.packages_missing()
        self.user("root")

    def program(self, name: str, text: str) -> None:
        (self._bin / name).write_text(text)
        (self._bin / name).chmod(0o755)

    def packages_missing(self, *names: str) -> None:
        absent = " ".join(f"{name}) ;;" for name in names)
        says = f'case "$name" in {absent} *) echo "$name installed" ;; esac'
        self.program("dpkg-query", f"#!/bin/sh\nshift 3\nfor name; do {says}; done\n")

    def user(self, name: str, sudo: str = "") -> None:
        self.program("id", f"#!/bin/sh\necho {0 if name == 'root' else 1000}\n")
        self.program("sudo", sudo or '#!/bin/sh\necho "sudo $*" >>"$CALLS"\n[ "$1" != -n ] || shift\n"$@"\n')

    def setup(self, level: str = "run") -> tuple[int, str, list[str]]:
        """Exit status, what it said, which programs it called."""
        self._calls.write_text("")
        environ = {"PATH": f"{self._bin}:/usr/bin:/bin", "CALLS": str(self._calls)}
        found = subprocess.run(
            [self.root / ".ci" / "setup", level],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return found.returncode, found.stderr, self._calls.read_text().splitlines()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_second_run_calls_nothing(tree: Tree) -> None:
    status, _, calls = tree.setup()
    assert status == 0
    assert [call.split()[0] for call in calls] == ["pip", "pip"], "install, then check"
    assert "--editable .[device,voice,hub]" in calls[0]
    assert tree.setup() == (0, "", [])


def test_what_serves_the_tests_serves_the_demo(tree: Tree) -> None:
    node, python = tree.setup("test")[2][:2]
    assert node == "npm ci --prefix tests/node"
    assert "--editable .[device,voice,hub,dev]" in python
    assert tree.setup("run")[2] == []
    assert tree.setup("test")[2] == []


def test_what_serves_the_benchmarks_serves_the_others(tree: Tree) -> None:
    tree.packages_missing("espeak-ng")
    calls = tree.setup("bench")[2]
    assert any("install" in call and "espeak-ng" in call for call in calls)
    assert any("--editable .[device,voice,hub,dev,bench]" in call for call in calls)
    assert [tree.setup(level)[2] for level in ("run", "test")] == [[], []]


def test_only_a_change_of_what_is_installed_makes_it_stale(tree: Tree) -> None:
    tree.setup()
    project = tree.root / "pyproject.toml"
    project.write_text(PROJECT.replace("120", "100"))
    assert tree.setup()[2] == []
    project.write_text(PROJECT.replace("dependencies = []", 'dependencies = ["msgspec"]'))
    assert len(tree.setup()[2]) == 2
    assert tree.setup()[2] == []


def test_a_fill_that_failed_is_done_again(tree: Tree) -> None:
    tree.program("python3", PYTHON.replace('>>"$CALLS"', '>>"$CALLS"; exit 1', 1))
    shutil.copy(tree.root.parent / "bin" / "python3", tree.root / ".venv" / "bin" / "python")
    assert tree.setup()[0] == 1
    assert tree.setup()[2] != []


def test_only_missing_packages_are_installed(tree: Tree) -> None:
    tree.packages_missing("shellcheck", "pulseaudio-utils", "pkg-config")
    status, said, calls = tree.setup("test")
    assert status == 0
    update, install = [call for call in calls if call.startswith("apt-get")]
    assert update.endswith("update -q")
    assert install.split("recommends ")[1].split() == ["pulseaudio-utils", "shellcheck"], (
        "pkgconf stands for pkg-config"
    )
    assert "installing pulseaudio-utils shellcheck" in said


def test_the_demo_needs_no_browser_of_its_own(tree: Tree) -> None:
    tree.packages_missing("chromium", "chromium-browser", "google-chrome-stable")
    assert [call for call in tree.setup("run")[2] if call.startswith("apt-get")] == []
    assert any("chromium" in call for call in tree.setup("test")[2])


def test_others_than_root_use_sudo(tree: Tree) -> None:
    tree.packages_missing("libopus0")
    tree.user("somebody")
    calls = tree.setup()[2]
    assert any(call.startswith("sudo env") and "install" in call and "libopus0" in call for call in calls)


def test_without_sudo_one_sentence_says_what_is_missing(tree: Tree) -> None:
    tree.packages_missing("libopus0", "gcc")
    tree.user("somebody", sudo="#!/bin/sh\nexit 1\n")
    status, said, calls = tree.setup()
    assert (status, calls) == (1, [])
    assert said.count("\n") == 1
    assert "missing and there is no sudo to install them: gcc libopus0" in said


def test_wrong_usage(tree: Tree) -> None:
    assert tree.setup("fly")[0] == 2
