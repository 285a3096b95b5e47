"""A booted Debian in a container: `with Machine([tree / "root"], folder) as machine: machine.run("systemctl", ...)`.

Every command is bounded, and the container ends with the process that started it, however that ends."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
BOOT_LIMIT_S = 60.0
OFF_LIMIT_S = 20.0
COMMAND_LIMIT_S = 60.0
_LOOK_S = 0.05
CLEAN = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
# Killed with the process that starts it, and with it whatever is in its space (prctl(2), PR_SET_PDEATHSIG).
_UNSHARED = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_BOOT = ("--register=no", "--keep-unit", "--boot", "--console=read-only", "--private-network", "--link-journal=no")
_LIMIT_OF_TRY_S = 20.0


class MachineError(Exception):
    """A machine or a command in it does not do what it must; the text has what was said."""


class Machine:
    """`lower`: the tree and layers over it, the uppermost first, none of which is written to; what is written goes to
    `folder / "upper"`, which is a layer for the next machine. `options` are nspawn's."""

    def __init__(self, lower: Sequence[Path], folder: Path, options: Sequence[str] = ()) -> None:
        self._lower, self._folder, self._options = tuple(lower), folder, tuple(options)
        self._process: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """The container's first process, as this machine counts them."""

    @property
    def layer(self) -> Path:
        return self._folder / "upper"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.off()

    # ---- power

    def start(self) -> float:
        """Boot until systemd says that all is up; the seconds it took. Again after `off`: what was written is there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        boot = ["systemd-nspawn", "--quiet", f"--directory={self._folder / 'merged'}", *_BOOT, *self._options]
        began_s = time.monotonic()
        with (self._folder / "console").open("ab") as console:
            self._process = subprocess.Popen(
                [*_space(self._lower, self._folder), *boot],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.leader = until(self._find_leader, "the container's first process", BOOT_LIMIT_S, self._alive)
            until(self._is_up, "the end of the boot", BOOT_LIMIT_S, self._alive)
        except BaseException:
            self.cut()
            raise
        return time.monotonic() - began_s

    def off(self) -> None:
        """Shut down in order, or by force if it takes too long. Idempotent."""
        if self._process is None:
            return
        try:
            os.kill(self.leader, signal.SIGRTMIN + 4)  # systemd(1): poweroff
            self._process.wait(OFF_LIMIT_S)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
        self.cut()

    def cut(self) -> None:
        """At once, with everything in it; idempotent. The kernel ends a process namespace with its first process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(OFF_LIMIT_S)

    def _alive(self) -> str:
        """What is wrong, or nothing."""
        assert self._process is not None
        if self._process.poll() is None:
            return ""
        return f"nspawn ended: {(self._folder / 'console').read_text(errors='replace')[-2000:]}"

    def _find_leader(self) -> int | None:
        assert self._process is not None
        return next((pid for pid in _descendants(self._process.pid) if _is_first_of_two_spaces(pid)), None)

    def _is_up(self) -> bool:
        """Degraded too: a station without a token fails, and shall."""
        return self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    # ---- what happens in it

    def command(self, *command: str, environ: Sequence[str] = ()) -> list[str]:
        """What to start here in order to have `command` run in there."""
        return ["nsenter", "-t", str(self.leader), "-a", "--", "env", "-i", *CLEAN, *environ, *command]

    def run(
        self,
        *command: str,
        environ: Sequence[str] = (),
        check: bool = True,
        limit_s: float = COMMAND_LIMIT_S,
        stdin: str = "",
    ) -> str:
        """What it wrote. Raises `MachineError` on another exit status than 0 unless `check` is off."""
        done = subprocess.run(
            self.command(*command, environ=environ),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if check else subprocess.DEVNULL,
            text=True,
            timeout=limit_s,
            check=False,
        )
        if check and done.returncode:
            raise MachineError(f"{shlex.join(command)}: exit {done.returncode}\n{done.stdout[-6000:]}")
        return done.stdout

    def sh(self, script: str, *arguments: str, check: bool = True, limit_s: float = COMMAND_LIMIT_S) -> str:
        return self.run("sh", "-euc", script, "sh", *arguments, check=check, limit_s=limit_s)

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        script = 'mkdir -p "$(dirname "$1")"; cat >"$1"; chmod "$2" "$1"'
        self.run("sh", "-euc", script, "sh", path, mode, stdin=text)

    def read(self, path: str) -> str:
        return self.run("cat", path)

    def exists(self, path: str) -> bool:
        return self.run("sh", "-c", 'test -e "$1" && echo yes', "sh", path, check=False) == "yes\n"

    def show(self, unit: str, *names: str) -> dict[str, str]:
        said = self.run("systemctl", "show", unit, f"--property={','.join(names)}")
        return dict(line.split("=", 1) for line in said.splitlines())

    def property(self, unit: str, name: str) -> str:
        return self.show(unit, name)[name]

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        said = self.run("journalctl", "--quiet", "--no-pager", "-o", "json", "--all", *matches, check=False)
        return [json.loads(line) for line in said.splitlines()]

    def pid(self, unit: str) -> int:
        """The unit's process, as the container counts."""
        return int(self.property(unit, "MainPID"))

    def wait(self, what: str, condition: Callable[[], Any], limit_s: float = 30.0) -> Any:
        """The condition's value once it has one."""
        return until(condition, what, limit_s, self._alive)

    def wait_active(self, unit: str, limit_s: float = 60.0) -> None:
        """Ready, by the unit's own word."""
        self.wait(f"{unit} active", lambda: self.property(unit, "ActiveState") == "active", limit_s)


def _space(lower: Sequence[Path], folder: Path) -> list[str]:
    """What starts a command in a space of its own, with `lower` as `folder / "merged"`, writable."""
    places = [":".join(map(str, lower)), *(str(folder / name) for name in ("upper", "work", "merged"))]
    return [*_UNSHARED, str(ROOT / "tests" / "nspawn" / "space.sh"), *places]


def lacking() -> str | None:
    """Why there can be no machine here, None if there can. Tries what it takes, where machines are kept: a container
    that may be root inside need not be able to mount, nor to make devices, nor lie on what an overlay can write to."""
    programs = ("systemd-nspawn", "mmdebstrap", "nsenter", "unshare", "setpriv", "mountpoint")
    if absent := [name for name in programs if shutil.which(name) is None]:
        return f"no program {', '.join(absent)} in PATH"
    if os.geteuid() != 0:
        return "not root"
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="try-", dir=ROOT / "build") as name:
        folder = Path(name)
        (folder / "lower").mkdir()
        command = [*_space((folder / "lower",), folder), "mknod", str(folder / "merged" / "null"), "c", "1", "3"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_OF_TRY_S, check=False)
    return f"no container: {done.stderr.strip() or f'exit {done.returncode}'}" if done.returncode else None


def until(condition: Callable[[], Any], what: str, limit_s: float, wrong: Callable[[], str] = lambda: "") -> Any:
    """Polls. Raises `MachineError` when it takes too long, or as soon as `wrong` says what is."""
    deadline_s = time.monotonic() + limit_s
    while not (value := condition()):
        said = wrong()
        if said or time.monotonic() > deadline_s:
            raise MachineError(said or f"{what}: not within {limit_s:.0f} s")
        time.sleep(_LOOK_S)
    return value


def _descendants(pid: int) -> Iterator[int]:
    for task in _numbers(Path(f"/proc/{pid}/task")):
        for child in _read(Path(f"/proc/{pid}/task/{task}/children")).split():
            yield int(child)
            yield from _descendants(int(child))


def _numbers(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _is_first_of_two_spaces(pid: int) -> bool:
    """systemd in the container's space within unshare's (proc(5): NSpid)."""
    fields = dict(line.split(":", 1) for line in _read(Path(f"/proc/{pid}/status")).splitlines() if ":" in line)
    spaces = fields.get("NSpid", "").split()
    return len(spaces) >= 3 and spaces[-1] == "1" and fields.get("Name", "").strip() == "systemd"
