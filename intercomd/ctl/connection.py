"""The control socket from the asking side: one JSON object a line, both ways. Every wait has a limit."""

import json
import socket
import time
from typing import Any, Self

LIMIT_S = 3.0
MAX_LINE_BYTES = 1024 * 1024
"""Far above any status: a daemon that sends more than this in one line is not ours."""


class Unreachable(Exception):
    """No daemon at the socket, or it went away. `denied`: it is there, but this user may not talk to it."""

    def __init__(self, reason: str, denied: bool = False) -> None:
        super().__init__(reason)
        self.denied = denied


class Silent(Exception):
    """Nothing was heard within the limit."""


class Garbled(Exception):
    """What was heard is not a JSON object in one line."""


class Connection:
    """One connection to the daemon. Raises `Unreachable` when there is none."""

    def __init__(self, path: str, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._heard = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(limit_s)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise _unreachable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        self._socket.close()

    def send(self, request: dict[str, Any]) -> None:
        """Raises `Unreachable`, or `Silent` when the daemon takes nothing."""
        try:
            self._socket.settimeout(self._limit_s)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except TimeoutError as error:
            raise Silent from error
        except OSError as error:
            raise _unreachable(error) from error

    def receive(self) -> dict[str, Any]:
        """The next object. Raises `Silent` (what was heard of a line is kept), `Unreachable` or `Garbled`."""
        deadline = time.monotonic() + self._limit_s
        while b"\n" not in self._heard:
            if len(self._heard) > MAX_LINE_BYTES:
                raise Garbled("a line without an end")
            self._heard += self._read(deadline - time.monotonic())
        line, _, self._heard = self._heard.partition(b"\n")
        return _object(line)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send and wait for the answer."""
        self.send(request)
        return self.receive()

    def _read(self, limit_s: float) -> bytes:
        if limit_s <= 0:
            raise Silent
        try:
            self._socket.settimeout(limit_s)
            chunk = self._socket.recv(65536)
        except TimeoutError as error:
            raise Silent from error
        except OSError as error:
            raise _unreachable(error) from error
        if not chunk:
            raise Unreachable("it closed the connection")
        return chunk


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise Garbled(str(error)) from error
    if not isinstance(found, dict):
        raise Garbled("not a JSON object")
    return found


def _unreachable(error: OSError) -> Unreachable:
    return Unreachable(error.strerror or str(error) or type(error).__name__, isinstance(error, PermissionError))
