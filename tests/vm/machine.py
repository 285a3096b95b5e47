"""A whole machine in QEMU without KVM: its power, commands in it, faults from outside.

    with Machine(folder, [root, state], kernel=tree / "vmlinuz", initrd=tree / "initrd.img") as machine:
        machine.await_up()
        print(machine.run("uname -r").text)
        machine.qmp("savevm")...

Time in it is counted in instructions (`-icount`): 1 ns each. However slow or busy the machine outside is, the one
inside is always the same, a single core of about a Pi's speed, and what it measures by its own clock holds. While it is
idle its clock follows the clock outside. (With `sleep=off` idle time would cost nothing, but then each wait for a disk
takes until the next timer.)

Disks are qcow2 with cache=writeback, on purpose: what the guest has not flushed may then be lost with the process, for
qcow2's own tables are held back in its memory until a flush. With cache=unsafe even flushed writes would be lost, with
cache=none hardly any.
"""

import base64
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

UP_LIMIT_S = 1500.0
QMP_LIMIT_S = 180.0
START_LIMIT_S = 30.0


class MachineError(Exception):
    """The machine or a command in it failed; the text says which one, and what it said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command in the machine gave; `seconds` by the clock inside."""

    status: int
    output: bytes
    error: str
    seconds: float
    now_s: float
    """When it was given, since the machine was started."""

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace").strip()


@dataclass(frozen=True, slots=True)
class Hardware:
    """What QEMU makes. `counted`: time by instructions, see above."""

    program: str = "qemu-system-x86_64"
    board: tuple[str, ...] = ("-M", "q35", "-cpu", "max")
    memory_mib: int = 1024
    counted: bool = True
    extra: tuple[str, ...] = ()


class Machine:
    """A machine that runs; `close` cuts its power."""

    def __init__(
        self,
        folder: Path,
        disks: Sequence[Path],
        kernel: Path,
        initrd: Path,
        append: str,
        hardware: Hardware = Hardware(),
        snapshot: str = "",
        clock: str = "utc",
    ) -> None:
        """`clock`: what its battery clock shows when the power comes, UTC (2026-01-31T12:00:00), or `utc` for now."""
        folder.mkdir(parents=True, exist_ok=True)
        self.console = folder / "console.txt"
        self._agent_path, self._qmp_path = folder / "agent", folder / "qmp"
        for path in (self._agent_path, self._qmp_path):
            path.unlink(missing_ok=True)
        # Its power goes with the test, however that ends.
        command = ["setpriv", "--pdeathsig", "KILL", hardware.program, *hardware.board, *self._fixed(hardware, clock)]
        command += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", append, *hardware.extra]
        for index, disk in enumerate(disks):
            command += ["-drive", f"file={disk},if=none,id=disk{index},cache=writeback,discard=unmap"]
            command += ["-device", f"virtio-blk-pci,drive=disk{index},id=block{index}"]
        if snapshot:
            command += ["-loadvm", snapshot]
        self.started_s = time.monotonic()
        self.events: list[dict[str, Any]] = []
        with (folder / "qemu.txt").open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._said = folder / "qemu.txt"
        self._agent: socket.socket | None = None
        self._agent_rest = b""
        self._qmp: socket.socket | None = None
        self._qmp_rest = b""

    def _fixed(self, hardware: Hardware, clock: str) -> list[str]:
        counted = ["-icount", "shift=0,sleep=on", "-smp", "1"] if hardware.counted else ["-smp", "2"]
        accelerated = "tcg,tb-size=512" if hardware.counted else "tcg,thread=multi,tb-size=512"
        return [
            "-accel", accelerated, *counted, "-m", str(hardware.memory_mib), "-nodefaults",
            "-no-user-config", "-display", "none", "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self._qmp_path},server=on,wait=off",
            "-chardev", f"socket,id=agent,path={self._agent_path},server=on,wait=off",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent",
            "-device", "virtio-rng-pci", "-rtc", f"base={clock}",
        ]  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def age_s(self) -> float:
        """Since its power was switched on, by the clock outside."""
        return time.monotonic() - self.started_s

    def close(self) -> None:
        """Cut the power. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(START_LIMIT_S)
        for wire in (self._agent, self._qmp):
            if wire is not None:
                wire.close()
        self._agent = self._qmp = None

    # ---- commands in it

    def await_up(self, limit_s: float = UP_LIMIT_S) -> float:
        """Until its agent says that it is there; what its own clock then shows, in seconds since it was started."""
        if self._agent is None:
            self._agent = self._connected(self._agent_path)
        while True:
            said = self._line(limit_s)
            if "up" in said:
                return float(said["uptime_s"])

    def attach(self) -> None:
        """To the agent of a machine that was started from a snapshot: it has said that it is up long ago."""
        self._agent = self._connected(self._agent_path)

    def run(self, command: str, *, limit_s: float = 60, given: bytes = b"", check: bool = True) -> Answer:
        """A shell command in it, to its end; `limit_s` by its clock. Raises `MachineError` unless `check` is False."""
        order = {"run": command, "limit_s": limit_s, "input": base64.b64encode(given).decode()}
        answer = _answer(self._ordered(order, 20 * limit_s + 60))
        if check and answer.status:
            raise MachineError(f"{command}: status {answer.status}: {answer.text[-800:]} {answer.error[-800:]}")
        return answer

    def ask(self, path: str, line: str) -> Answer:
        """A line to a unix socket in it, and the line that comes back; status 1 when none does."""
        return _answer(self._ordered({"ask": path, "line": line}, 300))

    def start(self, command: str) -> int:
        """A shell command in it that goes on by itself; its process."""
        return int(self._ordered({"run": command, "behind": True}, 120)["status"])

    def throw(self, command: str) -> None:
        """A command whose answer never comes."""
        assert self._agent is not None
        self._sent(self._agent, {"run": command, "behind": True})

    def _ordered(self, order: dict[str, Any], limit_s: float) -> dict[str, Any]:
        assert self._agent is not None, "await_up or attach comes first"
        self._sent(self._agent, order)
        return self._line(limit_s)

    def _line(self, limit_s: float) -> dict[str, Any]:
        assert self._agent is not None
        line, self._agent_rest = self._received(self._agent, self._agent_rest, limit_s)
        said: dict[str, Any] = json.loads(line)
        return said

    # ---- faults from outside

    def qmp(self, command: str, **arguments: Any) -> Any:
        """A command to QEMU (QMP). Raises `MachineError`."""
        if self._qmp is None:
            self._qmp = self._connected(self._qmp_path)
            self._qmp_answer({"execute": "qmp_capabilities"})
        return self._qmp_answer({"execute": command, "arguments": arguments})

    def monitor(self, line: str) -> None:
        """A command of QEMU's monitor, as `savevm NAME`. Raises `MachineError` with what it says: success is silent."""
        said = self.qmp("human-monitor-command", **{"command-line": line})
        if said.strip():
            raise MachineError(f"{line}: {said.strip()}")

    def await_event(self, name: str, limit_s: float) -> float:
        """Until QEMU tells this event; after how many seconds outside."""
        began = time.monotonic()
        self.qmp("query-status")
        assert self._qmp is not None
        while not any(event["event"] == name for event in self.events):
            line, self._qmp_rest = self._received(self._qmp, self._qmp_rest, limit_s - (time.monotonic() - began))
            self.events.append(json.loads(line))
        self.events = [event for event in self.events if event["event"] != name]
        return time.monotonic() - began

    def _qmp_answer(self, order: dict[str, Any]) -> Any:
        assert self._qmp is not None
        self._sent(self._qmp, order)
        while True:
            line, self._qmp_rest = self._received(self._qmp, self._qmp_rest, QMP_LIMIT_S)
            said = json.loads(line)
            if "event" in said:
                self.events.append(said)
            elif "error" in said:
                raise MachineError(f"{order['execute']}: {said['error']['desc']}")
            elif "return" in said:
                return said["return"]

    # ---- wires

    def _connected(self, path: Path) -> socket.socket:
        deadline_s = time.monotonic() + START_LIMIT_S
        wire = socket.socket(socket.AF_UNIX)
        while True:
            try:
                wire.connect(os.fspath(path))
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    wire.close()
                    raise MachineError(f"QEMU does not come up: {self._said.read_text()[-2000:]}") from error
                time.sleep(0.02)
            else:
                return wire

    def _received(self, wire: socket.socket, rest: bytes, limit_s: float) -> tuple[bytes, bytes]:
        deadline_s = time.monotonic() + limit_s
        while b"\n" not in rest:
            ready, _, _ = select.select([wire], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise MachineError(f"no answer within {limit_s:.0f} s; last on its console: {self._last_words()}")
            try:
                some = wire.recv(1 << 20)
            except ConnectionError:
                some = b""
            if not some:
                raise self._gone()
            rest += some
        line, _, rest = rest.partition(b"\n")
        return line, rest

    def _sent(self, wire: socket.socket, order: dict[str, Any]) -> None:
        try:
            wire.sendall(json.dumps(order).encode() + b"\n")
        except ConnectionError as error:
            raise self._gone() from error

    def _gone(self) -> MachineError:
        return MachineError(f"the machine has gone; QEMU said: {self._said.read_text()[-2000:]}")

    def _last_words(self) -> str:
        words = self.console.read_bytes()[-1500:].decode(errors="replace") if self.console.exists() else ""
        return words.strip() or "nothing"


def _answer(said: dict[str, Any]) -> Answer:
    output = base64.b64decode(said["output"])
    return Answer(said["status"], output, said["error"], said["seconds"], said["now_s"])
