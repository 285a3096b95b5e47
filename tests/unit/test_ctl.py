"""intercomctl against a real socket: what it asks, what it prints, how it ends; and `watch` while the daemon goes away
and comes back."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from intercomd.ctl import main as ctl
from intercomd.ctl.connection import Connection
from intercomd.texts import text

STATUS: dict[str, Any] = {
    "phase": "connected",
    "text": {"en": "In a call", "zh": "通话中"},
    "call": {"callId": "c1", "peer": "flat", "peerName": "", "epoch": 1, "since": 100.0},
    "link": {"state": "registered", "age_s": 2.1},
    "audio": {
        "card": "ready",
        "capture": {"open": True, "level_dbfs": -33.6},
        "playout": {"open": False, "level_dbfs": -96.0},
        "route": "speaker",
        "xruns": 0,
        "processing": [],
    },
    "panel": {"leds": {"ready": True, "talking": True, "error": False}, "buttons": {"call": False}, "patterns": {}},
    "error": None,
    "quality": {"audioPacketsLost": 3, "jitter": 0.0042, "roundTripTime": 0.02},
    "store": {"state": "ok"},
    "name": "door",
    "version": "0.1.0",
}

Answer = Callable[[dict[str, Any]], bytes | None]
"""What the daemon writes for a request; None: it closes the connection."""


def _line(reply: object) -> bytes:
    return json.dumps(reply).encode() + b"\n"


class Daemon:
    """A control socket in a thread. Connections stay open until the daemon is closed."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.asked: list[dict[str, Any]] = []
        self._path, self._answer = path, answer
        self._connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                self.asked.append(json.loads(line))
                answer = self._answer(self.asked[-1])
                if answer is None:
                    return
                try:
                    connection.sendall(answer)
                except OSError:
                    return

    def tell(self, status: object) -> None:
        """To every watcher."""
        for connection in self._connections:
            connection.sendall(_line({"ok": True, "status": status}))

    def close(self) -> None:
        """Idempotent."""
        if self._listener.fileno() < 0:
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink(missing_ok=True)
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def daemon(path: Path) -> Iterator[Callable[[Answer], Daemon]]:
    started: list[Daemon] = []

    def start(answer: Answer) -> Daemon:
        started.append(Daemon(path, answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Runs intercomctl in English; returns exit status, stdout, stderr."""
    for name in ("LC_ALL", "LC_MESSAGES", "INTERCOMD_CONTROL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")

    def call(*argv: str) -> tuple[int, str, str]:
        status = ctl.main(["--socket", str(path), *argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def _status(request: dict[str, Any]) -> bytes:
    return _line({"ok": True, "status": STATUS})


# -------------------------------------------------------------------------------------------------- questions


def test_status_is_a_table_for_people(daemon, run, monkeypatch) -> None:
    monkeypatch.setattr("time.time", lambda: 162.0)
    asked = daemon(_status).asked
    status, out, _ = run("status")
    assert (status, asked) == (0, [{"command": "status"}])
    assert out.splitlines()[0] == "door · In a call"
    rows = dict(line.split("  ", 1) for line in out.splitlines()[1:])
    rows = {label: value.strip() for label, value in rows.items()}
    assert rows["call"] == "with flat for 1:02"
    assert rows["hub"] == "registered, heard 2 s ago"
    assert rows["microphone"] == "open, −34 dBFS"
    assert rows["loudspeaker"] == "closed"
    assert rows["quality"] == "lost 3, jitter 4 ms, round trip 20 ms"
    assert rows["lit"] == "Ready, Talking"
    assert "fault" not in rows


QUALITY = {
    "mos": 4.21, "mouthToEar": 0.0934, "playedFrames": 960_000, "concealedRatio": 0.0123, "recoveredFrames": 9600,
    "latePackets": 2, "leftOutPackets": 1, "bufferDelay": 0.042, "bufferTarget": 0.03, "erleDb": 31.5, "xruns": 0,
    "driftPpm": 12.4, "cpuRatio": 0.123,
}  # fmt: skip


def test_status_tells_how_good_the_call_is(daemon, run) -> None:
    daemon(lambda _: _line({"ok": True, "status": {**STATUS, "quality": QUALITY}}))
    _, out, _ = run("status")
    rows = {label: value.strip() for label, _, value in (line.partition("  ") for line in out.splitlines()[1:])}
    assert rows["score"] == "MOS 4.2 of 4.5, 93 ms from mouth to ear"
    assert rows["received"] == "concealed 1.2 %, rebuilt 200 ms, late 2, left out 1, buffer 42 ms (aims at 30 ms)"
    assert rows["engine"] == "echo weaker by 32 dB, drift +12 ppm, xruns 0, processor 12.3 %"


def test_figures_that_are_not_known_are_not_made_up(daemon, run) -> None:
    quality = {"playedFrames": 0, "xruns": 0, "erleDb": None}
    daemon(lambda _: _line({"ok": True, "status": {**STATUS, "quality": quality}}))
    _, out, _ = run("status")
    assert "score" not in out
    assert "concealed ?" in out
    assert "echo weaker by ?" in out


def test_status_names_the_servers_and_those_that_are_used(daemon, run) -> None:
    servers = [
        {"url": "stun:s.example", "state": "good", "chosen": True},
        {"url": "turn:t\x1b.example", "state": "refused", "chosen": False},
        "nonsense",
    ]
    daemon(lambda _: _line({"ok": True, "status": {**STATUS, "ice": {"servers": servers}}}))
    _, out, _ = run("status")
    (line,) = [line for line in out.splitlines() if line.startswith("STUN, TURN")]
    assert line.endswith("*stun:s.example good, turn:t�.example refuses the credentials")


def test_status_in_chinese_lines_up(daemon, run) -> None:
    daemon(_status)
    out = run("--lang", "zh", "status")[1]
    assert out.startswith("door · 通话中\n")
    assert "声音通路  免提" in out
    assert "通话      与 flat" in out, "two columns for each Chinese character"


def test_language_is_that_of_the_environment(daemon, run, monkeypatch) -> None:
    daemon(_status)
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert "通话中" in run("status")[1]


def test_a_fault_is_told_with_what_to_do(daemon, run) -> None:
    fault = {"kind": "NotFoundError", "code": "CARD_MISSING", "text": {"en": "No card.", "zh": "没有"}}
    daemon(lambda _: _line({"ok": True, "status": {**STATUS, "error": fault}}))
    out = run("status")[1]
    assert "No card." in out
    assert text("advice.CARD_MISSING", "en") in out


def test_status_in_json_is_the_status(daemon, run) -> None:
    daemon(_status)
    status, out, _ = run("status", "--json")
    assert (status, json.loads(out)) == (0, STATUS)


@pytest.mark.parametrize("status", [{}, {"phase": "idle", "call": 3, "panel": {"leds": []}, "link": {"age_s": "x"}}])
def test_a_status_of_another_version_is_shown_as_far_as_it_goes(daemon, run, status) -> None:
    daemon(lambda _: _line({"ok": True, "status": status}))
    assert run("status")[0] == 0


def test_names_from_the_wire_cannot_move_the_cursor(daemon, run) -> None:
    status = {**STATUS, "call": {"peer": "fl\x1b[2Jat\n", "since": 0}, "name": "\x07door"}
    daemon(lambda _: _line({"ok": True, "status": status}))
    out = run("status")[1]
    assert "\x1b" not in out
    assert "\x07" not in out


@pytest.mark.parametrize("command", ["answer", "hangup", "speaker"])
def test_commands_without_a_name(daemon, run, command) -> None:
    asked = daemon(lambda _: _line({"ok": True})).asked
    assert run(command) == (0, "done\n", "")
    assert asked == [{"command": command}]


def test_call_names_whom(daemon, run) -> None:
    asked = daemon(lambda _: _line({"ok": True})).asked
    assert run("call", "--json", "flat") == (0, '{"ok": true}\n', "")
    assert asked == [{"command": "call", "peer": "flat"}]


@pytest.mark.parametrize(
    ("argv", "request_"),
    [
        (["40"], {"command": "volume", "percent": 40}),
        (["ring", "0"], {"command": "volume", "kind": "ring", "percent": 0}),
    ],
)
def test_volume_names_which_and_how_loud(daemon, run, argv, request_) -> None:
    asked = daemon(lambda _: _line({"ok": True})).asked
    assert run("volume", *argv) == (0, "done\n", "")
    assert asked == [request_]


def test_volumes_and_the_holder_of_a_busy_card_are_shown(daemon, run) -> None:
    audio = {"card": "busy", "card_reason": "held by pulseaudio (pid 812)", "volumes": {"voice": 80, "ring": 0}}
    daemon(lambda _: _line({"ok": True, "status": {**STATUS, "audio": audio}}))
    shown = run("status", "--lang", "en")[1]
    assert "in use by another program (held by pulseaudio (pid 812))" in shown
    assert "voice 80, ringing 0" in shown


@pytest.mark.parametrize(
    "argv",
    [
        ["call"],
        ["answer", "flat"],
        ["fly"],
        [],
        ["status", "--lang", "fr"],
        ["volume"],
        ["volume", "101"],
        ["volume", "loud"],
        ["volume", "bell", "5"],
        ["volume", "ring", "5", "6"],
    ],
)
def test_wrong_usage(run, argv) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*argv)
    assert caught.value.code == 2


@pytest.mark.parametrize(("said", "status"), [(75, 75), (1, 1), (2, 2), (0, 1), ("x", 1), (None, 1)])
def test_a_refusal_is_told_with_its_exit_status(daemon, run, said, status) -> None:
    daemon(lambda _: _line({"ok": False, "message": "no call to answer", "exit": said}))
    assert run("answer") == (status, "", "no call to answer\n")
    assert json.loads(run("answer", "--json")[1]) == {"ok": False, "message": "no call to answer", "exit": status}


# ------------------------------------------------------------------------------------------------ no daemon


def test_no_daemon(run, path) -> None:
    status, out, err = run("status")
    assert (status, out) == (69, "")
    assert str(path) in err
    assert "systemctl status intercomd" in err
    assert json.loads(run("watch", "--json")[1])["exit"] == 69


def test_no_permission_says_which_group(run, monkeypatch) -> None:
    def denied(self: socket.socket, address: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", denied)
    status, _, err = run("status")
    assert status == 69
    assert "group `intercom`" in err


@pytest.mark.timeout(5)
def test_a_daemon_that_hangs(daemon, run, monkeypatch) -> None:
    daemon(lambda _: b"")
    monkeypatch.setattr(ctl, "Connection", partial(Connection, limit_s=0.05))
    status, _, err = run("status")
    assert status == 69
    assert "did not answer within 3 s" in err


def test_half_an_answer_is_none(daemon, run, monkeypatch) -> None:
    daemon(lambda _: b'{"ok":')
    monkeypatch.setattr(ctl, "Connection", partial(Connection, limit_s=0.05))
    assert run("status")[0] == 69


def test_a_daemon_that_hangs_up(daemon, run) -> None:
    daemon(lambda _: None)
    status, _, err = run("status")
    assert status == 69
    assert "closed the connection" in err


@pytest.mark.parametrize("answer", [b"hello\n", b"[]\n", b'{"ok":true}\n', b'{"ok":true,"status":3}\n', b"\xff\n"])
def test_what_is_not_a_status(daemon, run, answer) -> None:
    daemon(lambda _: answer)
    status, out, err = run("status")
    assert (status, out) == (1, "")
    assert "not a status" in err


def test_a_line_without_an_end(daemon, run) -> None:
    daemon(lambda _: b"x" * (2 * 1024 * 1024))
    assert run("status")[0] == 1


# ---------------------------------------------------------------------------------------------------- watch


@pytest.fixture
def watch(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "intercomd.ctl.main", "--socket", str(path), "--lang", "en", "watch", *argv]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
        )
        return started[-1]

    # A shell's background job, as which these tests may run, ignores SIGINT, and so would what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield start
    signal.signal(signal.SIGINT, before)
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def _next(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_watch_prints_changes_and_tells_of_the_daemon(daemon, watch) -> None:
    first = daemon(_status)
    process = watch()
    assert _next(process)[10:] == "In a call · flat · hub: registered · loudspeaker · Ready, Talking"
    assert first.asked == [{"command": "watch", "levels": False}]
    first.tell(STATUS)
    first.tell({**STATUS, "audio": {"card": "busy"}})
    assert "sound card: in use" in _next(process), "the same status twice is one line"
    first.close()
    assert "gone away" in _next(process)
    daemon(_status)
    assert "is back" in _next(process)
    assert "In a call" in _next(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert _next(process) == "", "no traceback at Ctrl-C"


def test_watch_in_json_is_a_line_each(daemon, watch) -> None:
    first = daemon(_status)
    process = watch("--json")
    assert json.loads(_next(process)) == STATUS
    first.close()
    assert json.loads(_next(process)) == {"daemon": "away"}


def test_watch_ends_quietly_with_its_reader(daemon, watch) -> None:
    first = daemon(_status)
    process = watch("--json")
    assert json.loads(_next(process)) == STATUS
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    first.tell({**STATUS, "name": "flat"})
    assert process.wait(60) == 0


# -------------------------------------------------------------------------------------------------- lightness


def test_only_the_standard_library_is_loaded() -> None:
    script = "import sys; import intercomd.ctl.main; print([m for m in sys.modules if m.partition('.')[0] not in "
    script += "sys.stdlib_module_names and not m.startswith(('intercomd', '__'))])"
    shown = subprocess.check_output(
        [sys.executable, "-S", "-c", script], text=True, timeout=60, cwd=Path(__file__).parents[2]
    )
    assert shown.strip() == "[]"
