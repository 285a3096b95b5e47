"""Machines for the tests: `installed` is a tree in which `make install` has been run, by itself, as a layer."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.capabilities import missing
from tests.nspawn.household import furnish, move_in
from tests.nspawn.machine import ROOT, Machine
from tests.nspawn.tree import CACHE, tree

INSTALL = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/wheels", "PIP_CONSTRAINT=/checkout/hw/image/constraints.txt")


@dataclass(slots=True)
class Installed:
    """`said`: what the installer wrote; `lower`: the layers of a machine with everything installed."""

    said: str
    took_s: float
    lower: tuple[Path, ...]
    files_before: frozenset[str]
    options: tuple[str, ...] = field(default=())


Boot = Callable[..., Machine]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.platform("nspawn"))
            item.add_marker(pytest.mark.timeout(420))


def _files(machine: Machine) -> frozenset[str]:
    return frozenset(machine.sh("find / -xdev -not -type d -not -path '/run/*' -not -path '/tmp/*'").splitlines())


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """On a file system that an overlay can write to; gone at the end."""
    lacking = missing("nspawn")
    if lacking:
        pytest.skip(f"nspawn: {lacking}")
    folder = CACHE / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def checkout(workplace: Path) -> Path:
    """What git knows, and what it would: as it is now, whoever edits it meanwhile."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    target = workplace / "checkout"
    target.mkdir()
    present = "".join(f"{name}\n" for name in listed.splitlines() if (ROOT / name).exists())
    subprocess.run(["tar", "-c", "-T", "-", "-f", str(target / ".tar")], cwd=ROOT, input=present, text=True, check=True)
    subprocess.run(["tar", "-x", "-f", ".tar"], cwd=target, check=True)
    (target / ".tar").unlink()
    return target


@pytest.fixture(scope="session")
def installed(workplace: Path, checkout: Path) -> Installed:
    trees = tree()
    options = (f"--bind-ro={checkout}:/checkout", f"--bind-ro={trees}/wheels:/wheels", "--machine=intercom")
    machine = Machine([trees / "root"], workplace / "installed", options)
    with machine:
        before = _files(machine)
        began_s = time.monotonic()
        said = machine.run("make", "-C", "/checkout", "install", environ=INSTALL, limit_s=300)
        took_s = time.monotonic() - began_s
    return Installed(said, took_s, (machine.layer, trees / "root"), before, options)


@pytest.fixture
def boot(installed: Installed, workplace: Path) -> Iterator[Boot]:
    """`boot(*nspawn_options)`: a machine of the test's own, as it was after the installation."""
    machines: list[Machine] = []

    def start(*options: str) -> Machine:
        folder = workplace / f"machine-{time.monotonic_ns()}"
        machine = Machine(installed.lower, folder, (*installed.options, *options))
        machines.append(machine)
        machine.start()
        return machine

    yield start
    for machine in machines:
        machine.cut()


@pytest.fixture(scope="session")
def house(installed: Installed, workplace: Path) -> Iterator[Machine]:
    """Hub, door and flat, all registered; one machine for all tests that leave it so."""
    with Machine(installed.lower, workplace / "house", installed.options) as machine:
        furnish(machine)
        move_in(machine)
        yield machine
        machine.cut()
