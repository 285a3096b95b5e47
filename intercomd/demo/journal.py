"""The household's journal: what every daemon writes on stderr, one JSON object a line, kept in memory and handed on."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from intercomd.errors import ErrorCode

KEPT_LINES = 2000
MAX_MESSAGE_CHARS = 2000
INFO = 6
WARNING = 4

Listener = Callable[["JournalLine"], None]


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One entry. `at_s` is Unix time, the daemon's own where it gives one; `priority` is syslog's; `fields` are the
    others by their journal names."""

    at_s: float
    source: str
    priority: int
    message: str
    advice: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def parse_line(source: str, raw: bytes, at_s: float) -> JournalLine:
    """A daemon's stderr line. What is not a JSON object with a MESSAGE is kept as plain text: what a
    library prints, say."""
    text = raw.decode(errors="replace").rstrip("\r\n")
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or "MESSAGE" not in entry:
        return JournalLine(at_s, source, INFO, text[:MAX_MESSAGE_CHARS])
    fields = {str(key): _shown(value) for key, value in entry.items()}
    priority = fields.pop("PRIORITY", "")
    stamp = fields.pop("__REALTIME_TIMESTAMP", "")
    return JournalLine(
        int(stamp) / 1e6 if stamp.isdecimal() else at_s,
        source,
        int(priority) if priority.isdecimal() else INFO,
        fields.pop("MESSAGE")[:MAX_MESSAGE_CHARS],
        _advice(fields.get("ERROR_CODE", "")),
        fields,
    )


def _advice(code: str) -> str:
    """What the catalog says to do, as `journalctl -x` would show it."""
    return ErrorCode[code].value.advice if code in ErrorCode.__members__ else ""


class Journal:
    """The newest lines of all daemons, and listeners that get each line as it comes (on the event loop)."""

    def __init__(self) -> None:
        self._lines: deque[JournalLine] = deque(maxlen=KEPT_LINES)
        self._listeners: list[Listener] = []

    def write(self, line: JournalLine) -> None:
        self._lines.append(line)
        for listener in tuple(self._listeners):
            listener(line)

    def lines(self) -> Iterable[JournalLine]:
        """All that is kept, oldest first."""
        return tuple(self._lines)

    def follow(self, listener: Listener) -> Callable[[], None]:
        """Hear every new line until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:MAX_MESSAGE_CHARS]
