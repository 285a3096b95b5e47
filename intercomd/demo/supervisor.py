"""Runs the household's daemons as systemd would: a dead one is started again after 200 ms, slower each time up to
10 s, unless it says by exit status 78 that its configuration is wrong. Children die with this process."""

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from intercomd.demo.journal import WARNING, Journal, JournalLine, parse_line

RESTART_S = 0.2
RESTART_STEPS = 6
RESTART_MAX_DELAY_S = 10.0
"""RestartSec, RestartSteps and RestartMaxDelaySec of systemd/intercomd.service."""
SETTLED_S = 10.0
"""A daemon that ran this long starts from the shortest delay again, so that a person may kill it as often as they
like. systemd itself never forgets."""
CONFIG_EXIT = 78
STOP_LIMIT_S = 4.0
DRAIN_LIMIT_S = 1.0
MAX_LINE_BYTES = 1 << 20


class ProcessState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """Dead; started again after the delay."""
    REFUSED = "refused"
    """It said that its configuration is wrong: not started again."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `environment` is the whole environment of the child."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProcessView:
    name: str
    state: ProcessState
    pid: int | None = None
    starts: int = 0
    """How often it was started, the first time included."""


def restart_delay_s(restarts: int) -> float:
    """The pause before the n-th restart, n ≥ 1, by systemd's own formula (service_restart_usec_next)."""
    if restarts <= 1:
        return RESTART_S
    if restarts > RESTART_STEPS:
        return RESTART_MAX_DELAY_S
    return RESTART_S * math.pow(RESTART_MAX_DELAY_S / RESTART_S, (restarts - 1) / RESTART_STEPS)


def dies_with_us(argv: Sequence[str]) -> list[str]:
    """The command, to be killed by the kernel when this process ends in any way (PR_SET_PDEATHSIG, prctl(2)).
    setpriv executes the program in its own place: the pid is the program's."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


class Supervisor:
    """Owns the children. All methods on the event loop; `close` is idempotent and leaves none behind."""

    def __init__(self, journal: Journal, settled_s: float = SETTLED_S) -> None:
        self._journal = journal
        self._settled_s = settled_s
        self._views: dict[str, ProcessView] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: list[Callable[[ProcessView], None]] = []

    def follow(self, listener: Callable[[ProcessView], None]) -> Callable[[], None]:
        """Hear every change of a process until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def view(self, name: str) -> ProcessView:
        return self._views[name]

    def start(self, program: Program) -> None:
        """Start it and keep it running."""
        assert program.name not in self._tasks, f"{program.name} runs already"
        self._views[program.name] = ProcessView(program.name, ProcessState.STARTING)
        self._tasks[program.name] = asyncio.create_task(self._keep_running(program), name=program.name)

    def kill(self, name: str) -> bool:
        """SIGKILL, now. False when it is not running."""
        process = self._processes.get(name)
        if process is None or process.returncode is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return True

    async def stop(self, name: str) -> None:
        """End one for good: SIGTERM, and SIGKILL after the limit."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=STOP_LIMIT_S + 2 * DRAIN_LIMIT_S)

    async def close(self) -> None:
        """End all, those started last first in line."""
        await asyncio.gather(*(self.stop(name) for name in reversed(tuple(self._tasks))))

    async def _keep_running(self, program: Program) -> None:
        restarts = 0
        while True:
            began = time.monotonic()
            status = await self._run_once(program)
            if status == CONFIG_EXIT:
                self._note(program.name, "its configuration is wrong; it is not started again")
                self._change(program.name, state=ProcessState.REFUSED, pid=None)
                return
            restarts = 1 if time.monotonic() - began > self._settled_s else restarts + 1
            delay_s = restart_delay_s(restarts)
            self._note(program.name, f"{_ended(status)}; its supervisor starts it again in {delay_s:.1f} s")
            self._change(program.name, state=ProcessState.WAITING, pid=None)
            await asyncio.sleep(delay_s)

    async def _run_once(self, program: Program) -> int:
        """One life of the child; returns its exit status. When cancelled, ends the child first."""
        process = await asyncio.create_subprocess_exec(
            *dies_with_us(program.argv),
            env=dict(program.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            start_new_session=True,  # the terminal's Ctrl-C is for the demo, which then stops its children in order
        )
        self._processes[program.name] = process
        starts = self._views[program.name].starts + 1
        self._change(program.name, state=ProcessState.RUNNING, pid=process.pid, starts=starts)
        collecting = asyncio.create_task(self._collect(program.name, process))
        try:
            return await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            self._change(program.name, state=ProcessState.STOPPED, pid=None)
            raise
        finally:
            await asyncio.wait([collecting], timeout=DRAIN_LIMIT_S)
            collecting.cancel()

    async def _collect(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while True:
            try:
                raw = await process.stderr.readline()
            except ValueError:  # a line longer than the limit: asyncio has dropped it
                continue
            if not raw:
                return
            if raw.strip():
                self._journal.write(parse_line(name, raw, time.time()))

    def _note(self, name: str, text: str) -> None:
        self._journal.write(JournalLine(time.time(), name, WARNING, f"The daemon {text}."))

    def _change(self, name: str, **changes: ProcessState | int | None) -> None:
        view = replace(self._views[name], **changes)  # type: ignore[arg-type]
        self._views[name] = view
        for listener in tuple(self._listeners):
            listener(view)


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, then SIGKILL; returns when the process is gone."""
    for order, limit_s in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, STOP_LIMIT_S)):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(order)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), limit_s)


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
