"""The core's log: one JSON line per step, so that a fault from the field becomes a test (`intercomd replay`).

The first line holds the settings; each further line the wall clock, the event, and the effects that the core ordered.
A trace holds session descriptions and names of peers: it is written only where `[station] trace_file` asks for it, mode
0600.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import msgspec

from intercomd.core import events as event_module
from intercomd.core.effects import Effect, Send
from intercomd.core.events import Event, Received, Replied, Unanswered
from intercomd.core.protocol import NOTICES, REQUESTS, Reply
from intercomd.core.station import Settings, Station
from intercomd.core.vocabulary import decode, encode
from intercomd.errors import ErrorCode

MAX_TRACE_BYTES = 32 * 1024 * 1024
"""Then the trace ends: a forgotten key must not fill the state partition."""


class TraceError(ValueError):
    """A line that is no step; the text names the line."""


class Trace:
    """An open trace file; `close` is idempotent."""

    def __init__(self, path: Path, station: Station) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file: IO[str] = os.fdopen(descriptor, "w", encoding="utf-8")
        self._line({"settings": msgspec.to_builtins(station.settings), "card": station.card.value})

    def step(self, event: Event, effects: tuple[Effect, ...], now_s: float) -> None:
        if not self._file.closed and self._file.tell() < MAX_TRACE_BYTES:
            self._line({"now_s": now_s, "event": event_line(event), "effects": effect_lines(effects)})

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def event_line(event: Event) -> dict[str, Any]:
    """An event as JSON. Messages keep their wire form, with the event's name beside it."""
    match event:
        case Received(notice):
            return {"type": "Received", "name": notice.event, "notice": encode(notice)}
        case Replied(request, reply):
            return {"type": "Replied", "name": request.event, "request": encode(request), "reply": encode(reply)}
        case Unanswered(request):
            return {"type": "Unanswered", "name": request.event, "request": encode(request)}
        case _:
            return {"type": type(event).__name__, **msgspec.to_builtins(event)}


def read_event(line: dict[str, Any]) -> Event:
    """The inverse of `event_line`."""
    values = dict(line)
    kind = values.pop("type")
    match kind:
        case "Received":
            return Received(decode(NOTICES[values["name"]], values["notice"]))
        case "Replied":
            return Replied(decode(REQUESTS[values["name"]], values["request"]), decode(Reply, values["reply"]))
        case "Unanswered":
            return Unanswered(decode(REQUESTS[values["name"]], values["request"]))
        case _:
            read: Event = msgspec.convert(values, getattr(event_module, kind))
            return read


def effect_lines(effects: tuple[Effect, ...]) -> list[Any]:
    """Effects as JSON, good for comparing."""
    lines = []
    for effect in effects:
        values = {field.name: getattr(effect, field.name) for field in fields(effect)}
        line = {name: value.name if isinstance(value, ErrorCode) else value for name, value in values.items()}
        if isinstance(effect, Send):
            line["name"] = effect.request.event
        lines.append({"type": type(effect).__name__, **line})
    return msgspec.json.decode(msgspec.json.encode(lines))  # type: ignore[no-any-return]


def read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered lines. Raises `TraceError`."""
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                yield number, json.loads(text)
            except ValueError as error:
                raise TraceError(f"{path}, line {number}: not JSON: {error}") from error


def read_settings(line: dict[str, Any]) -> Station:
    """The station as it was before the first event."""
    return Station(msgspec.convert(line["settings"], Settings))
