"""One suite for the fake, for JSON lines of a process and for a real systemd-journald: what goes in by `report` comes
out as fields. Then how lines leave a process: never blocking it, in order, none of them silently lost."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from intercomd.adapters import journal
from intercomd.adapters.journal import QUEUED_LINES, STACK_CHARS, VALUE_CHARS, LineJournal, Outlet, open_journal
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal

ROOT = Path(__file__).parents[2]
Report = tuple[str, str, dict[str, Any]]
Fields = dict[str, str]

WRITER = """
import json, sys
from intercomd.adapters.journal import LineJournal, SystemdJournal
from intercomd.errors import ErrorCode

made = {"lines": LineJournal, "journald": SystemdJournal}[sys.argv[1]](json.loads(sys.argv[2]))
for code, message, fields in json.loads(sys.argv[3]):
    made.report(ErrorCode[code], message, **fields)
made.close()
"""

PRIVATE_JOURNALD = """
set -eu
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald >/run/out 2>&1 &
for _ in $(seq 200); do [ -S /run/systemd/journal/socket ] && break; sleep 0.05; done
"$@" </dev/null
journalctl --sync >/dev/null 2>&1 || true
for _ in $(seq 100); do
  journalctl -o json --all --no-pager SYSLOG_IDENTIFIER=intercomd >/run/lines 2>/dev/null || true
  [ "$(wc -l </run/lines)" -ge "$LINES_EXPECTED" ] && break
  sleep 0.05
done
cat /run/lines
"""


def through_fake(common: dict[str, Any], reports: Sequence[Report]) -> list[Fields]:
    made = FakeJournal(common)
    for code, message, fields in reports:
        made.report(ErrorCode[code], message, **fields)
    assert [code.name for code in made.codes] == [code for code, _, _ in reports]
    return made.lines


def command(kind: str, common: dict[str, Any], reports: Sequence[Report]) -> list[str]:
    return [sys.executable, "-c", WRITER, kind, json.dumps(common), json.dumps(reports)]


def run(arguments: list[str], **extra: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **extra}
    done = subprocess.run(arguments, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done


def through_lines(common: dict[str, Any], reports: Sequence[Report]) -> list[Fields]:
    return [json.loads(line) for line in run(command("lines", common, reports)).stderr.splitlines()]


def through_journald(common: dict[str, Any], reports: Sequence[Report]) -> list[Fields]:
    unshare = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "bash", "-c", PRIVATE_JOURNALD, "x"]
    done = run([*unshare, *command("journald", common, reports)], LINES_EXPECTED=str(len(reports)))
    return [json.loads(line) for line in done.stdout.splitlines()]


Through = Callable[[dict[str, Any], Sequence[Report]], list[Fields]]
WAYS = [
    pytest.param(through_fake, id="fake"),
    pytest.param(through_lines, id="lines"),
    pytest.param(through_journald, id="journald", marks=pytest.mark.platform("private-journald")),
]


@pytest.fixture(params=WAYS)
def through(request: pytest.FixtureRequest) -> Through:
    way: Through = request.param
    return way


def test_fields_of_a_fault(through: Through) -> None:
    fields = {"CALL_ID": "c1", "PEER": "flat", "EPOCH": 3, "REASON": "没有应答", "LOSS": 0.0625, "DROPPED_NAME-": "x"}
    (line,) = through({"DEVICE_ID": "door", "USER_ID": "u"}, [("RING_TIMEOUT", "", fields)])
    expected = {
        "MESSAGE": f"{ErrorCode.RING_TIMEOUT.value.text} (没有应答)",
        "MESSAGE_ID": ErrorCode.RING_TIMEOUT.message_id.hex,
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "intercomd",
        "ERROR_CODE": "RING_TIMEOUT",
        "ERROR_TYPE": "TimeoutError",
        "DEVICE_ID": "door",
        "USER_ID": "u",
        "CALL_ID": "c1",
        "PEER": "flat",
        "EPOCH": "3",
        "REASON": "没有应答",
        "LOSS": "0.0625",
    }
    assert {name: line.get(name) for name in expected} == expected
    assert "DROPPED_NAME-" not in line


def test_a_milestone_has_no_error_type_and_may_have_its_own_message(through: Through) -> None:
    (line,) = through({}, [("CALL_CONNECTED", "Audio flows both ways with flat.", {})])
    assert line["MESSAGE"] == "Audio flows both ways with flat."
    assert "ERROR_TYPE" not in line


def test_text_from_outside_is_short_and_printable(through: Through) -> None:
    hostile = "a\nPRIORITY=0\r\x1b[2J\x00\u202eb" + "x" * 5000
    (line,) = through({}, [("BAD_MESSAGE", "two\nlines", {"REASON": hostile})])
    assert line["REASON"].startswith("a PRIORITY=0  [2J  b")
    assert line["REASON"].isprintable()
    assert len(line["REASON"]) == VALUE_CHARS
    assert line["MESSAGE"] == "two lines"
    assert line["PRIORITY"] == "4"


def test_fields_that_a_caller_may_not_set(through: Through) -> None:
    fields = {"MESSAGE_ID": "0", "priority": 0, "SYSLOG_IDENTIFIER": "kernel", "_PID": 1, "phase": "ringing"}
    (line,) = through({}, [("CALL_ENDED", "", fields)])
    assert line["MESSAGE_ID"] == ErrorCode.CALL_ENDED.message_id.hex
    assert (line["PRIORITY"], line["SYSLOG_IDENTIFIER"], line["PHASE"]) == ("5", "intercomd", "ringing")
    assert line.get("_PID") != "1"


def test_a_stack_keeps_its_lines_and_its_end(through: Through) -> None:
    stack = "Traceback\n" + "  File x\n" * 3000 + "ValueError: the end"
    (line,) = through({}, [("INTERNAL", "", {"STACK": stack})])
    assert line["STACK"].endswith("File x\nValueError: the end")
    assert len(line["STACK"]) == STACK_CHARS


def test_order_is_kept(through: Through) -> None:
    reports: list[Report] = [("XRUN", "", {"COUNT": i}) for i in range(100)]
    assert [line["COUNT"] for line in through({}, reports)] == [str(i) for i in range(100)]


# ----------------------------------------------------------------------------------------------- out of the process


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """(read end, write end) of a pipe that nobody reads and that is full."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_while_flushing(made: LineJournal, reading: int) -> list[bytes]:
    """All that comes out of the pipe until the journal has written everything, as lines."""
    raw, deadline = b"", time.monotonic() + 5.0
    os.set_blocking(reading, False)
    done = False
    while not done and time.monotonic() < deadline:
        done = made.flush(0.01)
        try:
            raw += os.read(reading, 1 << 20)
        except BlockingIOError:
            continue
    return raw.lstrip(b"x").splitlines()


def test_a_reader_that_stands_still_blocks_nobody(full_pipe: tuple[int, int]) -> None:
    reading, writing = full_pipe
    made = LineJournal(fd=writing)
    began = time.monotonic()
    for count in range(3 * QUEUED_LINES):
        made.report(ErrorCode.XRUN, COUNT=count)
    assert time.monotonic() - began < 1.0
    assert not made.flush(0.05)
    kept = [json.loads(line) for line in read_while_flushing(made, reading)]
    made.report(ErrorCode.CALL_ENDED)
    (last,) = [json.loads(line) for line in read_while_flushing(made, reading)]
    made.close()
    dropped = sum(int(line.get("DROPPED", 0)) for line in (*kept, last))
    assert len(kept) + dropped == 3 * QUEUED_LINES
    counts = [int(line["COUNT"]) for line in kept]
    assert counts[:QUEUED_LINES] == list(range(QUEUED_LINES)), "the oldest are kept"
    assert counts == sorted(counts)


def test_close_waits_a_limited_time(full_pipe: tuple[int, int]) -> None:
    reading, writing = full_pipe
    made = LineJournal(fd=writing)
    made.report(ErrorCode.CALL_ENDED)
    began = time.monotonic()
    made.close()
    made.close()
    assert 0.5 < time.monotonic() - began < 3.0
    os.read(reading, 1 << 20)


def test_a_line_that_cannot_be_written_is_counted() -> None:
    written: list[dict[str, str]] = []

    def write(line: dict[str, str]) -> None:
        if line["MESSAGE"] == "lost":
            raise OSError("no space")
        written.append(line)

    outlet = Outlet(write)
    outlet.put({"MESSAGE": "lost"})
    assert outlet.flush(5.0)
    outlet.put({"MESSAGE": "kept"})
    outlet.close()
    outlet.put({"MESSAGE": "late"})
    assert written == [{"MESSAGE": "kept", "DROPPED": "1"}]


def test_lines_from_many_threads_are_whole() -> None:
    reading, writing = os.pipe()
    made = LineJournal(fd=writing)
    threads = [threading.Thread(target=lambda: [made.report(ErrorCode.XRUN) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5.0)
    lines = read_while_flushing(made, reading)
    made.close()
    os.close(writing)
    os.close(reading)
    assert [json.loads(line)["ERROR_CODE"] for line in lines] == ["XRUN"] * 200


def test_the_last_line_before_the_end_of_a_process_is_written() -> None:
    script = (
        "from intercomd.adapters.journal import open_journal\n"
        "from intercomd.errors import ErrorCode\n"
        "open_journal({'DEVICE_ID': 'door'}).report(ErrorCode.INTERNAL, REASON='bye')\n"
        "raise SystemExit(1)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, timeout=60, check=False)
    assert json.loads(done.stderr)["REASON"] == "bye"


def test_journald_is_chosen_only_for_its_own_stream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable alone is not enough: a child with another stderr inherits it (the demo's stations)."""
    monkeypatch.setattr(journal, "SOCKET", tmp_path)
    stderr = os.fstat(2)
    for stream, kind in {
        f"{stderr.st_dev}:{stderr.st_ino}": "SystemdJournal",
        f"{stderr.st_dev}:{stderr.st_ino + 1}": "LineJournal",
        "nonsense": "LineJournal",
    }.items():
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        made = open_journal()
        made.close()
        assert type(made).__name__ == kind
