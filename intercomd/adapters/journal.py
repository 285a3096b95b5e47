"""Lines for the technician: into journald with fields, or as JSON lines where there is none.

journald can stall for seconds while an SD card erases, and its socket then blocks (a full AF_UNIX datagram queue),
as a full pipe behind stderr does. So a thread writes; what does not fit into its queue is dropped and counted.
"""

import atexit
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Condition, Thread

from intercomd.errors import ErrorCode

Fields = dict[str, str]
Value = str | int | float

IDENTIFIER = "intercomd"
SOCKET = Path("/run/systemd/journal/socket")
QUEUED_LINES = 512
VALUE_CHARS = 1024
"""Enough for names and reasons; a value from the wire may not fill the journal of a small card."""
STACK_CHARS = 16_384
CLOSE_S = 1.0
STDERR = 2
_NAME = re.compile("[A-Z][A-Z0-9_]{0,63}")
"""journald drops other names, and those with a leading underscore are its own (systemd.journal-fields(7))."""


class Outlet:
    """A thread that writes lines in their order. `write` may block, and may raise OSError: the line is lost then."""

    def __init__(self, write: Callable[[Fields], None]) -> None:
        self._write = write
        self._lines: deque[Fields] = deque()
        self._changed = Condition()
        self._dropped = 0
        self._busy = False
        self._closed = False
        self._thread = Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def put(self, line: Fields) -> None:
        """Never blocks. Dropped when the queue is full or closed; the next line that gets through says how many
        were (DROPPED)."""
        with self._changed:
            if self._closed or len(self._lines) >= QUEUED_LINES:
                self._dropped += 1
                return
            if self._dropped:
                line = {**line, "DROPPED": str(self._dropped)}
                self._dropped = 0
            self._lines.append(line)
            self._changed.notify_all()

    def flush(self, limit_s: float = CLOSE_S) -> bool:
        """Wait until everything is written; False if it took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._busy, limit_s)

    def close(self) -> None:
        """Write what waits, for `CLOSE_S` at most. Idempotent."""
        atexit.unregister(self.close)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (line := self._next()) is not None:
            try:
                self._write(line)
            except OSError:
                with self._changed:
                    self._dropped += 1

    def _next(self) -> Fields | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines or self._closed)
            self._busy = bool(self._lines)
            return self._lines.popleft() if self._lines else None


class _Journal:
    """`ports.Journal` over an outlet. `common` fields (DEVICE_ID, ...) go into every line."""

    def __init__(self, common: Mapping[str, Value] | None, write: Callable[[Fields], None]) -> None:
        self._common = dict(common or {})
        self._outlet = Outlet(write)

    def report(self, code: ErrorCode, message: str = "", **fields: Value) -> None:
        """See `ports.Journal`; the line is written behind the caller's back, in order."""
        self._outlet.put(line_of(code, message, {**self._common, **fields}))

    def flush(self, limit_s: float = CLOSE_S) -> bool:
        """Wait until everything is written; False if that took too long."""
        return self._outlet.flush(limit_s)

    def close(self) -> None:
        """Write what waits, for `CLOSE_S` at most. Idempotent, and done at the interpreter's end too."""
        self._outlet.close()


class SystemdJournal(_Journal):
    """Into journald, with fields. Raises ImportError where systemd-python is missing."""

    def __init__(self, common: Mapping[str, Value] | None = None) -> None:
        from systemd.journal import sendv

        def write(line: Fields) -> None:
            sendv(*(f"{name}={value}" for name, value in line.items()))

        super().__init__(common, write)


class LineJournal(_Journal):
    """One JSON object per line with journald's field names, and the time that journald would add."""

    def __init__(self, common: Mapping[str, Value] | None = None, fd: int = STDERR) -> None:
        # Not through sys.stderr: the interpreter's end would wait for the lock of a thread that is stuck in it.
        super().__init__(common, lambda line: _write_all(fd, _encoded(line)))


def open_journal(common: Mapping[str, Value] | None = None) -> SystemdJournal | LineJournal:
    """journald when stderr goes there, as for a unit; else lines on stderr, as under `make demo` or by hand."""
    if not _stderr_is_journald():
        return LineJournal(common)
    try:
        return SystemdJournal(common)
    except ImportError:
        return LineJournal(common)


def line_of(code: ErrorCode, message: str, fields: Mapping[str, Value]) -> Fields:
    """All fields of a line, cleaned. Names are put into upper case; those that journald would refuse are left out."""
    kind = code.value.kind
    named = {name.upper(): value for name, value in fields.items()}
    line: dict[str, Value] = {"ERROR_TYPE": kind.value} if kind else {}
    line |= {name: value for name, value in named.items() if _NAME.fullmatch(name)}
    line |= {
        "MESSAGE": message or _sentence(code, str(line.get("REASON", ""))),
        "MESSAGE_ID": code.message_id.hex,
        "PRIORITY": code.value.priority.value,
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "ERROR_CODE": code.name,
    }
    return {name: _cleaned(name, value) for name, value in line.items()}


def _sentence(code: ErrorCode, reason: str) -> str:
    """With the reason, since `journalctl` shows the message and no field."""
    return f"{code.value.text} ({reason})" if reason else code.value.text


def _cleaned(name: str, value: Value) -> str:
    """Printable and short. Of a stack the end is kept, where the failure is."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if name == "STACK":
        return "\n".join(map(_printable, text[-STACK_CHARS:].split("\n")))
    return _printable(text[:VALUE_CHARS])


def _printable(text: str) -> str:
    """Without control characters, line breaks, bidirectional overrides and lone surrogates."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _encoded(line: Fields) -> bytes:
    stamp = {"__REALTIME_TIMESTAMP": str(time.time_ns() // 1000)}
    return (json.dumps(stamp | line, ensure_ascii=False) + "\n").encode()


def _write_all(fd: int, raw: bytes) -> None:
    while raw:
        raw = raw[os.write(fd, raw) :]


def _stderr_is_journald() -> bool:
    """systemd.exec(5), JOURNAL_STREAM: device and inode of the stream, since the variable is inherited by programs
    whose stderr goes elsewhere."""
    try:
        stderr = os.fstat(STDERR)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}" and SOCKET.exists()
