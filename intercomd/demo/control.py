"""A client of the stations' control sockets for the demo: JSON lines over a unix stream, every wait bounded."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MAX_LINE_BYTES = 1 << 20
"""A status with every text is about 2 KiB; a line beyond this is not from a station."""
ANSWER_LIMIT_S = 3.0

Message = Mapping[str, Any]


class ControlError(Exception):
    """The station does not answer, or it refused; the text says which station's socket and why."""


class Control:
    """One connection. Requests wait for their turn, so that each reply meets its request. Use as a context manager."""

    def __init__(self, path: Path, limit_s: float = ANSWER_LIMIT_S) -> None:
        self._path = path
        self._limit_s = limit_s
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._limit_s):
                self._reader, self._writer = await asyncio.open_unix_connection(str(self._path), limit=MAX_LINE_BYTES)
        except (OSError, TimeoutError) as error:
            raise ControlError(f"{self._path}: no daemon answers ({_reason(error)})") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def ask(self, command: Message) -> dict[str, Any]:
        """Send one command, return its reply. Raises `ControlError` if there is none or it is not ok."""
        async with self._turn:
            await self._send(command)
            reply = await self._receive(self._limit_s)
        if not reply.get("ok"):
            raise ControlError(f"{self._path}: {reply.get('message', 'refused without a reason')}")
        return reply

    async def stream(self, command: Message) -> AsyncIterator[dict[str, Any]]:
        """Send a command whose replies go on (`watch`, `edges`) and yield them until the daemon goes away."""
        await self._send(command)
        while True:
            try:
                yield await self._receive(None)
            except ControlError:
                return

    async def _send(self, command: Message) -> None:
        if self._writer is None:
            raise ControlError(f"{self._path}: the connection is closed")
        try:
            self._writer.write(json.dumps(dict(command)).encode() + b"\n")
            async with asyncio.timeout(self._limit_s):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise ControlError(f"{self._path}: the daemon takes nothing ({_reason(error)})") from error

    async def _receive(self, limit_s: float | None) -> dict[str, Any]:
        try:
            async with asyncio.timeout(limit_s):
                line = await self._reader.readline()
        except (OSError, TimeoutError, ValueError) as error:
            raise ControlError(f"{self._path}: no answer ({_reason(error)})") from error
        if not line.endswith(b"\n"):
            raise ControlError(f"{self._path}: the daemon closed the connection")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise ControlError(f"{self._path}: not a JSON line: {error}") from error
        if not isinstance(reply, dict):
            raise ControlError(f"{self._path}: expected a JSON object")
        return reply


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


async def ask(path: Path, command: Message, limit_s: float = ANSWER_LIMIT_S) -> dict[str, Any]:
    """One command over a connection of its own. Raises `ControlError`."""
    async with Control(path, limit_s) as control:
        return await control.ask(command)
