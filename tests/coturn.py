"""A real coturn with the shipped configuration, for tests: other ports, its secret, sometimes a certificate."""

import base64
import hmac
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parent.parent / "systemd" / "turnserver.conf"
SECRET = "north"
LIMIT_S = 15.0


def arguments(folder: Path, address: str, port: int, *more: str) -> list[str]:
    """The command line: the shipped file, and what is different here."""
    return [
        "turnserver", "-c", str(SHIPPED), f"--static-auth-secret={SECRET}", f"--listening-port={port}",
        f"--listening-ip={address}", f"--relay-ip={address}", "--verbose",
        f"--pidfile={folder / 'turn.pid'}", f"--userdb={folder / 'turn.db'}", *more,
    ]  # fmt: skip


def credentials(identity: str = "door", life_s: float = 600, secret: str = SECRET) -> tuple[str, str]:
    """User name and password as the hub makes them."""
    username = f"{round(time.time() + life_s)}:{identity}"
    return username, base64.b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()


@contextmanager
def running(
    folder: Path, address: str, port: int, *more: str, start: Callable[..., "subprocess.Popen[Any]"] = subprocess.Popen
) -> Iterator[Path]:
    """coturn on this machine, or wherever `start` starts it; gives its log."""
    log = folder / "turn.log"
    with log.open("wb") as output:
        process = start(arguments(folder, address, port, *more), stdout=output, stderr=output)
    try:
        _await_listener(log, process)
        yield log
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _await_listener(log: Path, process: "subprocess.Popen[Any]") -> None:
    end_s = time.monotonic() + LIMIT_S
    while "UDP listener opened" not in (said := log.read_text(errors="replace")):
        assert process.poll() is None, f"coturn ended: {said[-2000:]}"
        assert time.monotonic() < end_s, f"coturn did not start: {said[-2000:]}"
        time.sleep(0.05)
