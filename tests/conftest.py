"""What holds for every test: nothing may be left behind (tasks, threads, file descriptors), a test that needs a
capability of the machine says so, and a warning is an error unless `warnings.txt` names it."""

import asyncio
import gc
import os
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.allowed import AllowedWarning, allowed_warnings, known_missing
from tests.capabilities import PROBES, missing
from tests.postgres import Cluster, cluster

SETTLE_S = float(os.environ.get("SETTLE_S", "2.0"))
"""How long what a test has closed may take to be gone: threads end, the kernel and the collector catch up."""
STEP_S = 0.01
STRICT = os.environ.get("STRICT") == "1"


# ---------------------------------------------------------------------------------------------- nothing left behind


def _descriptors() -> dict[int, str]:
    """Open file descriptors and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the one that listdir itself had open
    return found


def _settled(remaining: Callable[[], list[str]]) -> list[str]:
    """What still remains after the allowance; polls, so that a clean test costs nothing."""
    left = remaining()
    deadline = time.monotonic() + SETTLE_S
    while left and time.monotonic() < deadline:
        gc.collect()
        time.sleep(STEP_S)
        left = remaining()
    return left


_pending_tasks: list[str] = []


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fails a test after which threads, file descriptors or tasks remain. It is the first fixture of each test and so
    the last to end: what other fixtures close is closed by then."""
    threads, descriptors = set(threading.enumerate()), _descriptors()
    _pending_tasks.clear()

    def remaining() -> list[str]:
        return [
            *(f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads),
            *(f"fd {fd} {what}" for fd, what in _descriptors().items() if descriptors.get(fd) != what),
        ]

    yield
    left = _settled(remaining) + _pending_tasks
    if left:
        pytest.fail(f"left behind: {'; '.join(left)}", pytrace=False)


@pytest.fixture(autouse=True, scope="session")
def _tasks_are_counted() -> Iterator[None]:
    """asyncio's runner silently cancels what a test left running; here it is written down before that. The hook is
    private, so it is checked for: a Python without it must not pass by counting nothing."""
    runners = asyncio.runners
    assert hasattr(runners, "_cancel_all_tasks"), "asyncio.runners has changed: count pending tasks elsewhere"
    cancel: Callable[[asyncio.AbstractEventLoop], None] = runners._cancel_all_tasks

    def note_and_cancel(loop: asyncio.AbstractEventLoop) -> None:
        deadline = time.monotonic() + SETTLE_S
        while asyncio.all_tasks(loop) and time.monotonic() < deadline:
            loop.run_until_complete(asyncio.sleep(STEP_S))
        _pending_tasks.extend(f"task {task.get_coro()!r}" for task in asyncio.all_tasks(loop))
        cancel(loop)

    patch = pytest.MonkeyPatch()
    patch.setattr(runners, "_cancel_all_tasks", note_and_cancel)
    yield
    patch.undo()


# ---------------------------------------------------------------------------------------- capabilities of the machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A misspelt capability would never be missing: it is an error of the suite."""
    for item in items:
        for mark in item.iter_markers("platform"):
            unknown = [name for name in mark.args if name not in PROBES]
            if unknown or not mark.args:
                raise pytest.UsageError(
                    f"{item.nodeid}: unknown capability {unknown}; tests/capabilities.py has {list(PROBES)}"
                )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot do, with the reason."""
    for mark in item.iter_markers("platform"):
        for name in mark.args:
            reason = missing(name)
            if reason:
                pytest.skip(f"{name}: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under STRICT=1 a skip is a failure, whatever caused it, except for the capabilities that the CI machine is known
    not to have."""
    report = yield
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        needed = [name for mark in item.iter_markers("platform") for name in mark.args]
        excused = [name for name in needed if missing(name) and name in known_missing()]
        if not excused:
            report.outcome = "failed"
            report.longrepr = f"STRICT=1 allows no skip: {report.longrepr}"
    return report


# ---------------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One for all tests that are marked with `platform("postgres")`; each takes a database of its own."""
    with cluster() as running:
        yield running


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """A fresh database."""
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.make_database(name)
    postgres.drop_database(name)


# ------------------------------------------------------------------------------------------------------------ warnings


def _let_through(entries: tuple[AllowedWarning, ...]) -> None:
    for entry in entries:
        warnings.filterwarnings("ignore", message=entry.pattern, category=entry.category)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Within the filters that pytest has set for this test: `-W error` on the command line outranks any ini line, and
    only a filter added after it is looked at before it."""
    _let_through(allowed_warnings())
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The same while modules are imported."""
    _let_through(allowed_warnings())
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The ids of the tests that failed go to the file FAILED_LIST, one a line: `.ci/run` runs a few of them again."""
    place = os.environ.get("FAILED_LIST")
    if place is not None:
        reports = [report for kind in ("failed", "error") for report in terminalreporter.getreports(kind)]
        Path(place).write_text("".join(f"{name}\n" for name in dict.fromkeys(report.nodeid for report in reports)))


def pytest_report_header() -> str:
    """STRICT and the machine's missing capabilities, named once."""
    absent = [name for name in PROBES if missing(name)]
    root = Path(__file__).parent.parent
    return f"intercomd: {root}, STRICT={int(STRICT)}, missing here: {', '.join(absent) or 'nothing'}"
