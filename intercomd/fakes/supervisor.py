"""A supervisor in memory."""


class FakeSupervisor:
    """`ports.Supervisor` that keeps what it is told, in sd_notify's words."""

    def __init__(self, watchdog_s: float | None = None) -> None:
        self.messages: list[str] = []
        self._watchdog_s = watchdog_s

    def ready(self) -> None:
        self.messages.append("READY=1")

    def status(self, text: str) -> None:
        self.messages.append(f"STATUS={text}")

    def alive(self) -> None:
        self.messages.append("WATCHDOG=1")

    def stopping(self) -> None:
        self.messages.append("STOPPING=1")

    @property
    def watchdog_s(self) -> float | None:
        return self._watchdog_s
