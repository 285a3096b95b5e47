"""systemd's side of a service: sd_notify(3) through systemd-python, and credentials. No-ops without systemd."""

import os
from collections.abc import Callable
from pathlib import Path

STATUS_CHARS = 200


class SystemdSupervisor:
    """`ports.Supervisor` by NOTIFY_SOCKET. A message that cannot be sent is not the station's trouble: systemd
    notices a watchdog that goes unfed by itself."""

    def __init__(self) -> None:
        self._notify = _notify() if os.environ.get("NOTIFY_SOCKET") else None
        self._watchdog_s = _watchdog_s()

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`. Without control characters: each line of a message is a variable."""
        printable = "".join(char if char.isprintable() else " " for char in text[:STATUS_CHARS])
        self._send(f"STATUS={printable}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    @property
    def watchdog_s(self) -> float | None:
        """Half of WatchdogSec, as sd_watchdog_enabled(3) recommends; None where no watchdog waits for us."""
        return self._watchdog_s

    def _send(self, message: str) -> None:
        if self._notify is None:
            return
        try:
            self._notify(message)
        except OSError:
            return


def credential(name: str) -> Path | None:
    """The file of a credential that the unit loads (systemd.exec(5), LoadCredential=), or None."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or Path(name).name != name:
        return None
    path = Path(folder) / name
    return path if path.is_file() else None


def _notify() -> Callable[[str], object]:
    """Raises ImportError where systemd-python is missing: without READY=1 systemd would kill the daemon anyway."""
    from systemd.daemon import notify

    send: Callable[[str], object] = notify
    return send


def _watchdog_s() -> float | None:
    """WATCHDOG_PID is checked, since children inherit the variables (sd_watchdog_enabled(3))."""
    limit_us, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or int(limit_us) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(limit_us) / 2e6
