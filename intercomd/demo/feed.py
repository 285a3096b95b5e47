"""What the panel page is shown: each station's status, pins, process and sound card, and the journal, as messages for
any number of browsers. A browser that comes later is told the present state first."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from intercomd.demo.control import Control, ControlError
from intercomd.demo.journal import Journal, JournalLine
from intercomd.demo.lines import Lines
from intercomd.demo.supervisor import ProcessState, ProcessView, Supervisor

RETRY_S = 0.1
SHOWN_JOURNAL_LINES = 300

Message = dict[str, Any]
Listener = Callable[[Message], None]


class Shown(Protocol):
    """A station as the page draws it. `model` is one of the page's drawings: door, handset, tile."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def control(self) -> Path: ...


class CardsError(Exception):
    """A card could not be plugged or unplugged; the text says why."""


class Cards(Protocol):
    """The stations' sound cards, where the demo can take them away."""

    def plugged(self, station: str) -> bool: ...

    async def plug(self, station: str, plugged: bool) -> None:
        """Raises `CardsError`."""
        ...


class Feed:
    """Watches all stations. All methods on the event loop; `close` is idempotent."""

    def __init__(
        self, stations: Iterable[Shown], journal: Journal, supervisor: Supervisor, cards: Cards | None
    ) -> None:
        self._stations = tuple(stations)
        self._journal = journal
        self._supervisor = supervisor
        self._cards = cards
        self._lines = {station.name: Lines() for station in self._stations}
        self._statuses: dict[str, Mapping[str, Any]] = {}
        self._listeners: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._unfollow: list[Callable[[], None]] = []

    def start(self) -> None:
        self._unfollow = [self._journal.follow(self._journal_line), self._supervisor.follow(self._process)]
        for station in self._stations:
            self._tasks.append(asyncio.create_task(self._follow(station, self._edges)))
            self._tasks.append(asyncio.create_task(self._follow(station, self._watch)))

    async def close(self) -> None:
        for unfollow in self._unfollow:
            unfollow()
        self._unfollow = []
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RETRY_S)
        self._tasks = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` all there is, then every change until the returned function is called."""
        for message in self._present():
            listener(message)
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def card_changed(self, station: str, plugged: bool) -> None:
        self._tell({"type": "card", "station": station, "plugged": plugged})

    def _tell(self, message: Message) -> None:
        for listener in tuple(self._listeners):
            listener(message)

    def _present(self) -> Iterator[Message]:
        shown = [{"name": each.name, "model": each.model, "peer": each.peer} for each in self._stations]
        yield {"type": "household", "stations": shown, "cards": self._cards is not None}
        for station in self._stations:
            name = station.name
            yield _process_message(self._supervisor.view(name))
            if name in self._statuses:
                yield {"type": "status", "station": name, "status": self._statuses[name]}
            for line, value in self._lines[name].levels().items():
                yield {"type": "edge", "station": name, "line": line, "value": value}
            if self._cards is not None:
                yield {"type": "card", "station": name, "plugged": self._cards.plugged(name)}
        entries = [_entry(line) for line in tuple(self._journal.lines())[-SHOWN_JOURNAL_LINES:]]
        yield {"type": "journal", "entries": entries}

    async def _follow(self, station: Shown, stream: Callable[[Shown, Control], Any]) -> None:
        """Keep one stream of one station open, for ever: its daemon comes and goes."""
        while True:
            with contextlib.suppress(ControlError):
                async with Control(station.control) as control:
                    await stream(station, control)
            await asyncio.sleep(RETRY_S)

    async def _edges(self, station: Shown, control: Control) -> None:
        async for edge in control.stream({"command": "edges"}):
            if "line" in edge:
                self._edge(station.name, str(edge["line"]), bool(edge["value"]))

    async def _watch(self, station: Shown, control: Control) -> None:
        async for reply in control.stream({"command": "watch", "levels": True}):
            if not reply.get("ok"):
                raise ControlError(str(reply.get("message")))
            status = reply["status"]
            self._statuses[station.name] = status
            self._tell({"type": "status", "station": station.name, "status": status})
            panel = status["panel"]
            levels = {**panel["leds"], **panel["outputs"], **panel["buttons"]}
            for line, value in self._lines[station.name].status(levels):
                self._tell({"type": "edge", "station": station.name, "line": line, "value": value})

    def _edge(self, station: str, line: str, value: bool) -> None:
        if self._lines[station].edge(line, value):
            self._tell({"type": "edge", "station": station, "line": line, "value": value})

    def _process(self, view: ProcessView) -> None:
        if view.name not in self._lines:
            return  # the hub is not drawn
        if view.state is not ProcessState.RUNNING:
            self._lines[view.name].forget()
            self._statuses.pop(view.name, None)
        self._tell(_process_message(view))

    def _journal_line(self, line: JournalLine) -> None:
        self._tell({"type": "journal", "entries": [_entry(line)]})


def _process_message(view: ProcessView) -> Message:
    return {"type": "process", "station": view.name, "state": str(view.state), "pid": view.pid}


def _entry(line: JournalLine) -> Message:
    return {
        "at": line.at_s,
        "source": line.source,
        "priority": line.priority,
        "message": line.message,
        "advice": line.advice,
        "fields": dict(line.fields),
    }
