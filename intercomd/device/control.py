"""The control socket: JSON lines on a unix stream socket for `intercomctl`, the panel page and tests.

Who may speak is decided by the socket's mode (0660, group `intercom` where it exists) and checked again by the peer's
credentials (SO_PEERCRED, unix(7)): root, the daemon's own user, or a member of the socket's group.
"""

import asyncio
import grp
import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

MAX_LINE_BYTES = 64 * 1024
LEVELS_PERIOD_S = 0.1
GROUP = "intercom"

Answer = dict[str, Any]


class Commands(Protocol):
    """What the socket can ask of the station."""

    def status(self) -> Answer: ...
    def command(self, name: str, arguments: Answer) -> Answer | Awaitable[Answer]:
        """`{"ok": true}` or `{"ok": false, "message", "exit"}`; to be awaited where the hub is asked, which is within
        3 s."""
        ...


class Control:
    """Serves until `close`. `changed()` wakes the watchers, `edge()` feeds those who follow edges."""

    def __init__(self, path: Path, commands: Commands) -> None:
        self._path = path
        self._commands = commands
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._wakers: set[asyncio.Event] = set()
        self._edge_queues: set[asyncio.Queue[Answer]] = set()
        self._gid: int | None = None

    async def start(self) -> None:
        """Raises OSError with the path in it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self._path.unlink()
        listener = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o117)
        try:
            listener.bind(str(self._path))
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"control socket {self._path}: {error.strerror}") from error
        finally:
            os.umask(mask)
        with suppress(KeyError, PermissionError):
            self._gid = grp.getgrnam(GROUP).gr_gid
            os.chown(self._path, -1, self._gid)
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None
            with suppress(FileNotFoundError):
                self._path.unlink()

    def changed(self) -> None:
        for waker in self._wakers:
            waker.set()

    def edge(self, line: str, value: bool, at_ns: int) -> None:
        for queue in self._edge_queues:
            if not queue.full():
                queue.put_nowait({"t_ns": at_ns, "line": line, "value": value})

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if self._may_speak(writer):
                await self._converse(reader, writer)
            else:
                await _write(writer, _refusal("you may not control this station: join the group `intercom`", 1))
        except (ConnectionError, TimeoutError, ValueError, asyncio.CancelledError):
            pass  # the client has gone, sent a line that is too long, or the daemon stops
        finally:
            self._clients.discard(task)
            writer.close()
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    def _may_speak(self, writer: asyncio.StreamWriter) -> bool:
        connection = writer.get_extra_info("socket")
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, uid, gid = struct.unpack("3i", raw)
        if uid in (0, os.getuid()) or (self._gid is not None and gid == self._gid):
            return True
        return self._gid is not None and _is_member(uid, self._gid)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = _request(line)
            match request.get("command"):
                case None:
                    await _write(writer, _refusal('a line must be a JSON object with "command"', 2))
                case "status":
                    await _write(writer, {"ok": True, "status": self._commands.status()})
                case "watch":
                    await self._stream(reader, self._watch(writer, levels=request.get("levels") is True))
                    return
                case "edges":
                    await self._stream(reader, self._edges(writer))
                    return
                case name:
                    answer = self._commands.command(str(name), request)
                    await _write(writer, await answer if isinstance(answer, Awaitable) else answer)

    async def _stream(self, reader: asyncio.StreamReader, streaming: Any) -> None:
        """Until the client closes its side (it says nothing more once it streams)."""
        task = asyncio.ensure_future(streaming)
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in (task, gone):
                future.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _watch(self, writer: asyncio.StreamWriter, *, levels: bool) -> None:
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            while True:
                waker.clear()
                await _write(writer, {"ok": True, "status": self._commands.status()})
                with suppress(TimeoutError):
                    async with asyncio.timeout(LEVELS_PERIOD_S if levels else None):
                        await waker.wait()
        finally:
            self._wakers.discard(waker)

    async def _edges(self, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[Answer] = asyncio.Queue(1000)
        self._edge_queues.add(queue)
        try:
            await _write(writer, {"ok": True})
            while True:
                await _write(writer, await queue.get())
        finally:
            self._edge_queues.discard(queue)


def _request(line: bytes) -> Answer:
    """The object on a line; empty for anything else."""
    try:
        request = json.loads(line)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


async def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
    async with asyncio.timeout(5):
        await writer.drain()


def _refusal(message: str, exit_status: int) -> Answer:
    return {"ok": False, "message": message, "exit": exit_status}


def _is_member(uid: int, gid: int) -> bool:
    with suppress(KeyError):
        user = pwd.getpwuid(uid)
        return gid in os.getgrouplist(user.pw_name, user.pw_gid)
    return False
