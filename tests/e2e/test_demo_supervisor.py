"""The demo's supervisor with real processes: it does what the unit files do, and leaves no orphan however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from intercomd.demo.journal import Journal
from intercomd.demo.supervisor import (
    RESTART_MAX_DELAY_S,
    ProcessState,
    ProcessView,
    Program,
    Supervisor,
    restart_delay_s,
)

LIMIT_S = 10.0


def program(name: str, code: str) -> Program:
    return Program(name, [sys.executable, "-S", "-c", code], dict(os.environ))


SLEEPER = program("sleeper", "import time; time.sleep(600)")


@pytest_asyncio.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(Journal())
    yield supervisor
    await supervisor.close()


async def until(supervisor: Supervisor, name: str, so: Callable[[ProcessView], bool]) -> ProcessView:
    async with asyncio.timeout(LIMIT_S):
        while not so(supervisor.view(name)):
            await asyncio.sleep(0.01)
    return supervisor.view(name)


def test_the_pause_grows_as_in_the_unit_file() -> None:
    delays = [restart_delay_s(number) for number in range(1, 9)]
    assert delays[0] == 0.2
    assert delays == sorted(delays)
    assert delays[6:] == [RESTART_MAX_DELAY_S, RESTART_MAX_DELAY_S]


async def test_what_is_killed_comes_back_after_200_ms(supervisor: Supervisor) -> None:
    supervisor.start(SLEEPER)
    first = await until(supervisor, "sleeper", lambda view: view.state is ProcessState.RUNNING)
    killed_s = time.monotonic()
    assert supervisor.kill("sleeper")
    second = await until(supervisor, "sleeper", lambda view: view.starts == 2)
    assert time.monotonic() - killed_s >= 0.2
    assert second.pid != first.pid
    assert second.state is ProcessState.RUNNING


async def test_a_wrong_configuration_is_not_started_again(supervisor: Supervisor) -> None:
    supervisor.start(program("wrong", "raise SystemExit(78)"))
    view = await until(supervisor, "wrong", lambda view: view.state is ProcessState.REFUSED)
    assert view.starts == 1
    assert not supervisor.kill("wrong")


async def test_what_it_writes_is_in_the_journal_also_its_last_word() -> None:
    journal = Journal()
    supervisor = Supervisor(journal)
    code = 'import sys; print("{\\"MESSAGE\\": \\"hello\\"}", file=sys.stderr); print("x" * 3_000_000, file=sys.stderr)'
    supervisor.start(program("talker", code + '; print("bye", file=sys.stderr); raise SystemExit(78)'))
    await until(supervisor, "talker", lambda view: view.state is ProcessState.REFUSED)
    await supervisor.close()
    assert [line.message for line in journal.lines()][:1] == ["hello"]
    assert "bye" in [line.message for line in journal.lines()]


async def test_closing_ends_also_one_that_ignores_sigterm() -> None:
    supervisor = Supervisor(Journal())
    stubborn = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('deaf', file=sys.stderr, flush=True)"
    supervisor.start(program("stubborn", stubborn + "; time.sleep(600)"))
    view = await until(supervisor, "stubborn", lambda view: view.pid is not None)
    assert view.pid is not None
    process = psutil.Process(view.pid)
    began_s = time.monotonic()
    await supervisor.close()
    await supervisor.close()
    assert not process.is_running()
    assert time.monotonic() - began_s < LIMIT_S
    assert supervisor.view("stubborn").state is ProcessState.STOPPED


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Shorter than pytest's own: sockets go in there."""
    with tempfile.TemporaryDirectory(prefix="demo-", dir="/tmp", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.mark.platform("pulseaudio", "alsa-pulse")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("order", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_demo_however_it_ends(order: signal.Signals, temporary: Path) -> None:
    """Ctrl-C puts everything in order; after kill −9 stations, hub and sound server must not play on."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "intercomd", "demo"]
    demo = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    assert demo.stdout is not None
    try:
        assert any("http://127.0.0.1:" in line for line in iter(demo.stdout.readline, ""))
        started = psutil.Process(demo.pid).children(recursive=True)
        assert len(started) >= 5
        demo.send_signal(order)
        last_words, _ = demo.communicate(timeout=2 * LIMIT_S)
    finally:
        demo.kill()
        demo.wait(LIMIT_S)
        demo.stdout.close()
    _, alive = psutil.wait_procs(started, timeout=LIMIT_S)
    assert not alive, [process.cmdline() for process in alive]
    if order is not signal.SIGKILL:
        assert demo.returncode == 0
        assert "Traceback" not in last_words
        assert list(temporary.iterdir()) == []
