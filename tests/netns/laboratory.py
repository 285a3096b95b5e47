"""Networks made of namespaces, for tests and benchmarks: hosts, NATs, cut links, lost packets. Linux, root, no netem.

    with Laboratory() as lab:
        internet = lab.segment("internet", "203.0.113.254/24")
        hub = lab.host("hub", internet, "203.0.113.10/24")
        home = lab.nat("home", internet, "203.0.113.1/24", inside="10.1.0.1/24", symmetric=True)
        door = lab.host("door", home.inside, "10.1.0.2/24")
        turn = hub.start(["turnserver", ...])
        hub.await_listener(3478, "udp")
        voice = door.start([sys.executable, "-m", ...], stdout=subprocess.PIPE, text=True)
        home.rebind()       # the NAT forgets its mappings
        door.block()        # a black hole; door.block("udp dport 3478") for one port; door.unblock()
        door.lose(0.2)      # each fifth packet, both ways
        door.link(up=False) # as a pulled cable: the address goes, too; link(up=True) brings both back
        door.readdress("10.1.0.7/24")

Leaving the block kills what was started in the namespaces and removes them. What a killed run has left behind is
removed by the next one. Every command has a time limit; a failing one raises `LaboratoryError` with its words.
"""

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

PREFIX = "iclab"
COMMAND_LIMIT_S = 20.0
LISTENER_LIMIT_S = 15.0
_KILL_LIMIT_S = 3.0
_NAMESPACES = Path("/run/netns")
_serials = itertools.count(1)


class LaboratoryError(Exception):
    """A command failed; the text says which one and how."""


def command(*argv: str, text: str | None = None, limit_s: float = COMMAND_LIMIT_S) -> str:
    """Its standard output. Raises `LaboratoryError`."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=limit_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaboratoryError(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        raise LaboratoryError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Space:
    """One network namespace. `name` is its name for `ip netns`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._started: list[subprocess.Popen[Any]] = []
        command("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def argv(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in here."""
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv: str, limit_s: float = COMMAND_LIMIT_S) -> str:
        """Run to its end in here; its standard output. Raises `LaboratoryError`."""
        return command(*self.argv(argv), limit_s=limit_s)

    def start(
        self, argv: Sequence[str], *, stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = subprocess.DEVNULL, stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None, cwd: Path | None = None, text: bool = False,
    ) -> subprocess.Popen[Any]:  # fmt: skip
        """Start in here, in a session of its own; killed with the laboratory at the latest."""
        process = subprocess.Popen(
            self.argv(argv), stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, text=text,
            start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def ip(self, *arguments: str) -> str:
        """`ip`, in here. Raises `LaboratoryError`."""
        return command("ip", "-n", self.name, *arguments)

    def nft(self, script: str) -> None:
        """Load an nftables script in here. Raises `LaboratoryError`."""
        command(*self.argv(["nft", "-f", "-"]), text=script)

    def await_listener(self, port: int, kind: Literal["udp", "tcp"], limit_s: float = LISTENER_LIMIT_S) -> None:
        """Until something has this port. Raises `LaboratoryError`."""
        end_s = time.monotonic() + limit_s
        while not self.run("ss", "-Hln", f"--{kind}", f"sport = :{port}").strip():
            if time.monotonic() > end_s:
                raise LaboratoryError(f"nothing listens on {kind} port {port} in {self.name} after {limit_s:g} s")
            time.sleep(0.05)

    def kill(self) -> None:
        """End what was started in here, and its children."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_KILL_LIMIT_S)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self._started.clear()


@dataclass(frozen=True, slots=True)
class Segment:
    """A wire that hosts are plugged into: a bridge `port` in a namespace, and the way out, if there is one."""

    space: Space
    port: str
    gateway: str | None = None


class Host(Space):
    """A machine with one interface, `eth0`."""

    def __init__(self, name: str, segment: Segment, address: str, number: int) -> None:
        super().__init__(name)
        self.segment = segment
        self.address = address
        self._plug = f"p{number}"
        _plug(self, "eth0", segment, self._plug)
        self._configure()

    def _configure(self) -> None:
        self.ip("address", "add", self.address, "dev", "eth0")
        self.ip("link", "set", "eth0", "up")
        if self.segment.gateway is not None:
            self.ip("route", "add", "default", "via", self.segment.gateway)

    def link(self, *, up: bool) -> None:
        """Pull the cable, or put it in again: the kernel drops address and routes, as NetworkManager would."""
        self.ip("address", "flush", "dev", "eth0")
        self.ip("link", "set", "eth0", "down")
        if up:
            self._configure()

    def readdress(self, address: str) -> None:
        """As after a roam: another address in the same network."""
        self.ip("address", "flush", "dev", "eth0")
        self.address = address
        self._configure()

    def block(self, match: str = "") -> None:
        """Drop what matches (an nftables expression; empty: everything but loopback), both ways, in silence."""
        self._trouble(f"{match} counter drop")

    def lose(self, ratio: float) -> None:
        """Drop this share of the packets at random, both ways."""
        self._trouble(f"numgen random mod 1000 < {round(ratio * 1000)} counter drop")

    def _trouble(self, rule: str) -> None:
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority -300; {side} != lo {rule}; }}\n"
            for hook, side in (("input", "iifname"), ("output", "oifname"))
        )
        self.nft(f"add table inet trouble\ndelete table inet trouble\ntable inet trouble {{\n{chains}}}\n")

    def unblock(self) -> None:
        """Neither `block` nor `lose` any more."""
        self.nft("add table inet trouble\ndelete table inet trouble\n")


class Nat(Space):
    """A router that translates addresses: only who was sent to is let in. `inside` is its segment."""

    def __init__(self, name: str, segment: Segment, address: str, inside: str, number: int, *, symmetric: bool) -> None:
        super().__init__(name)
        _plug(self, "wan", segment, f"p{number}")
        self.ip("address", "add", address, "dev", "wan")
        self.ip("link", "set", "wan", "up")
        _bridge(self, "lan")
        self.ip("address", "add", inside, "dev", "lan")
        self.inside = Segment(self, "lan", inside.partition("/")[0])
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        # With `fully-random` each destination gets another port: the NAT that only a relay gets through (RFC 4787
        # section 4.1, address and port dependent mapping). Without, Linux keeps the port where it can.
        masquerade = "masquerade fully-random" if symmetric else "masquerade"
        self.nft(f"""
            table ip nat {{
                chain out {{ type nat hook postrouting priority srcnat; oifname "wan" {masquerade}; }}
            }}
            table ip walls {{
                chain input {{ type filter hook input priority filter; iifname "wan" ct state new drop; }}
                chain forward {{
                    type filter hook forward priority filter; policy drop;
                    iifname "lan" accept
                    ct state established,related accept
                }}
            }}""")

    def rebind(self) -> None:
        """Forget all mappings, as a restarted router does: when the outer interface goes down, the kernel drops the
        connections that were masqueraded on it."""
        self.ip("link", "set", "wan", "down")
        self.ip("link", "set", "wan", "up")


@dataclass(slots=True)
class Laboratory:
    """Makes and removes all of it. A context manager."""

    _spaces: list[Space] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _name: str = field(default_factory=lambda: f"{PREFIX}-{os.getpid()}-{next(_serials)}")

    def __enter__(self) -> Self:
        sweep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def segment(self, name: str, router: str | None = None) -> Segment:
        """A wire. With a `router` (its address with prefix length) hosts have a default route, and what they send to
        other networks is lost in silence, as in the Internet; without one the kernel refuses to send it."""
        space = Space(self._named(name))
        self._spaces.append(space)
        _bridge(space, "wire")
        if router is not None:
            space.ip("address", "add", router, "dev", "wire")
        return Segment(space, "wire", router and router.partition("/")[0])

    def host(self, name: str, segment: Segment, address: str) -> Host:
        """A machine on the wire; `address` with its prefix length."""
        host = Host(self._named(name), segment, address, len(self._names))
        self._spaces.append(host)
        return host

    def space(self, name: str) -> Space:
        """A machine without any interface but `lo`."""
        space = Space(self._named(name))
        self._spaces.append(space)
        return space

    def nat(self, name: str, segment: Segment, address: str, *, inside: str, symmetric: bool) -> Nat:
        """A router between `segment` and a network of its own, in which it has the address `inside`."""
        nat = Nat(self._named(name), segment, address, inside, len(self._names), symmetric=symmetric)
        self._spaces.append(nat)
        return nat

    def _named(self, name: str) -> str:
        """Noted first: half a host, too, is removed."""
        self._names.append(f"{self._name}-{name}")
        return self._names[-1]

    def close(self) -> None:
        """Idempotent."""
        while self._spaces:
            self._spaces.pop().kill()
        while self._names:
            _remove(self._names.pop())


def _bridge(space: Space, name: str) -> None:
    space.ip("link", "add", name, "type", "bridge")
    space.ip("link", "set", name, "up")


def _plug(space: Space, name: str, segment: Segment, plug: str) -> None:
    space.ip("link", "add", name, "type", "veth", "peer", "name", plug, "netns", segment.space.name)
    segment.space.ip("link", "set", plug, "master", segment.port)
    segment.space.ip("link", "set", plug, "up")


def _remove(name: str) -> None:
    """And the processes in it: the laboratory's own, by their ids."""
    if not (_NAMESPACES / name).exists():
        return
    for number in command("ip", "netns", "pids", name).split():
        try:
            os.kill(int(number), signal.SIGKILL)
        except ProcessLookupError:
            continue
    command("ip", "netns", "delete", name)


def sweep() -> None:
    """Remove the namespaces of runs that were killed: those whose process is no more."""
    for path in sorted(_NAMESPACES.glob(f"{PREFIX}-*")) if _NAMESPACES.is_dir() else ():
        owner = path.name.split("-")[1]
        if not Path("/proc", owner).exists():
            _remove(path.name)


def lacking() -> str | None:
    """Why there can be no laboratory here, None if there can. Tries it: namespaces, veth, bridge, NAT."""
    absent = [name for name in ("ip", "nft", "ss", "sysctl") if shutil.which(name) is None]
    if absent:
        return f"no program {', '.join(absent)} in PATH"
    if os.geteuid() != 0:
        return "not root"
    try:
        with Laboratory() as lab:
            internet = lab.segment("a")
            home = lab.nat("b", internet, "203.0.113.1/24", inside="10.1.0.1/24", symmetric=True)
            lab.host("c", home.inside, "10.1.0.2/24").lose(0.1)
    except LaboratoryError as error:
        return f"no network namespaces with NAT: {error}"
    return None
