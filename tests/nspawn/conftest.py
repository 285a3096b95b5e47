"""Machines for the tests: `system` is a tree in which `make install` has been run, by itself, as a layer."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.capabilities import missing
from tests.nspawn.installing import Installed, household, installed
from tests.nspawn.machine import Machine
from tests.nspawn.tree import CACHE

Boot = Callable[..., Machine]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.platform("nspawn"))
            item.add_marker(pytest.mark.timeout(420))


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """On a file system that an overlay can write to; gone at the end."""
    lacking = missing("nspawn")
    if lacking:
        pytest.skip(f"nspawn: {lacking}")
    for other in CACHE.glob("run-*"):  # of a run that was killed
        if not Path("/proc", other.name.removeprefix("run-")).exists():
            shutil.rmtree(other, ignore_errors=True)
    folder = CACHE / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def system(workplace: Path) -> Installed:
    return installed(workplace)


@pytest.fixture
def boot(system: Installed, workplace: Path) -> Iterator[Boot]:
    """`boot(*nspawn_options)`: a machine of the test's own, as it was after the installation."""
    machines: list[Machine] = []

    def start(*options: str) -> Machine:
        folder = workplace / f"machine-{time.monotonic_ns()}"
        machine = Machine(system.lower, folder, (*system.options, *options))
        machines.append(machine)
        machine.start()
        return machine

    yield start
    for machine in machines:
        machine.cut()


@pytest.fixture(scope="session")
def house(system: Installed, workplace: Path) -> Iterator[Machine]:
    """Hub, door and flat, all registered; one machine for all tests that leave it so."""
    with household(system, workplace / "house") as machine:
        yield machine
