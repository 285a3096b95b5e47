"""One suite for the fake and for sd_notify through a real datagram socket; then the environment's part."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from intercomd.adapters.systemd import STATUS_CHARS, SystemdSupervisor, credential
from intercomd.fakes.supervisor import FakeSupervisor
from intercomd.ports import Supervisor

Heard = Callable[[], list[str]]


@pytest.fixture
def notify_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What systemd listens on: a datagram socket that NOTIFY_SOCKET names."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield listening


def datagrams(listening: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(listening.recv(4096).decode())
        except BlockingIOError:
            return found


@pytest.fixture(params=["fake", "systemd"])
def pair(request: pytest.FixtureRequest) -> tuple[Supervisor, Heard]:
    if request.param == "fake":
        fake = FakeSupervisor()
        return fake, lambda: fake.messages
    listening = request.getfixturevalue("notify_socket")
    return SystemdSupervisor(), lambda: datagrams(listening)


def test_messages_in_their_order(pair: tuple[Supervisor, Heard]) -> None:
    supervisor, heard = pair
    supervisor.status("Connecting to the hub")
    supervisor.ready()
    supervisor.alive()
    supervisor.status("待机")
    supervisor.stopping()
    assert heard() == ["STATUS=Connecting to the hub", "READY=1", "WATCHDOG=1", "STATUS=待机", "STOPPING=1"]


def test_no_watchdog_unless_one_waits(pair: tuple[Supervisor, Heard]) -> None:
    supervisor, _ = pair
    assert supervisor.watchdog_s is None


def test_a_status_text_cannot_smuggle_a_variable(notify_socket: socket.socket) -> None:
    SystemdSupervisor().status("x\nMAINPID=1\n" + "y" * 1000)
    (message,) = datagrams(notify_socket)
    assert message.startswith("STATUS=x MAINPID=1 y")
    assert len(message) == len("STATUS=") + STATUS_CHARS


@pytest.mark.parametrize(
    ("limit_us", "pid", "expected"),
    [
        ("10000000", "own", 5.0),
        ("10000000", "", 5.0),
        ("10000000", "1", None),
        ("0", "own", None),
        ("soon", "own", None),
    ],
)
def test_watchdog_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, limit_us: str, pid: str, expected: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert SystemdSupervisor().watchdog_s == expected


def test_without_systemd_all_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    supervisor = SystemdSupervisor()
    supervisor.ready()
    supervisor.alive()
    supervisor.status("Ready")
    supervisor.stopping()
    assert supervisor.watchdog_s is None


def test_a_socket_that_has_gone_raises_nothing(notify_socket: socket.socket) -> None:
    supervisor = SystemdSupervisor()
    notify_socket.close()
    Path(os.environ["NOTIFY_SOCKET"]).unlink()
    supervisor.alive()


def test_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "hub-token").write_text("secret")
    (tmp_path / "outside").write_text("not ours")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert credential("hub-token") == tmp_path / "credentials" / "hub-token"
    assert credential("turn") is None
    assert credential("../outside") is None
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert credential("hub-token") is None
