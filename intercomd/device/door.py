"""The station's door opener: switched on here, or by the hub's command, and never twice by one command."""

import time
from collections.abc import Callable
from typing import Protocol

from intercomd.core import door as core
from intercomd.core.door import DoorState, Remote
from intercomd.core.protocol import Code, DoorCommand, DoorReply
from intercomd.errors import ErrorCode
from intercomd.ports import PinsError


class Report(Protocol):
    """`Journal.report`."""

    def __call__(self, code: ErrorCode, message: str = "", **fields: str | int | float) -> None: ...


class Door:
    """On the event loop. `switch` puts the opener on for `open_s` (it goes off by itself) or raises `PinsError`; `talk`
    gives the id of the answered call that this station is in, None without."""

    def __init__(
        self,
        switch: Callable[[], None],
        report: Report,
        talk: Callable[[], str | None],
        *,
        remote: Remote,
        has_opener: bool,
        open_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._switch = switch
        self._report = report
        self._talk = talk
        self._open_s = open_s
        self._monotonic = monotonic
        self._state = DoorState(remote, has_opener)

    def hub_time(self, hub_s: float) -> None:
        """The hub has told its time, just now."""
        self._state = core.hub_time_heard(self._state, hub_s, self._monotonic())

    def connection_changed(self) -> None:
        self._state = core.connection_changed(self._state)

    def open(self) -> str | None:
        """By somebody at this station. What it is that keeps it shut, or None."""
        stuck = self._opened("asked for at this station", {})
        return None if stuck is None else stuck.message

    def command(self, command: DoorCommand) -> DoorReply:
        """By the hub. The answer says whether the relay has switched."""
        talk = self._talk()
        fields: dict[str, str | int | float] = {"command_id": command.command_id, **({"call_id": talk} if talk else {})}
        refusal = core.judge(self._state, command, self._monotonic(), talking=talk is not None)
        if refusal is not None:
            if not refusal.ok:
                self._report(ErrorCode.DOOR_REFUSED, "", reason=refusal.message, **fields)
            return refusal
        reply = self._opened("the hub's command", fields) or DoorReply(ok=True, switched=True)
        self._state = core.tried(self._state, command, reply)
        return reply

    def _opened(self, by: str, fields: dict[str, str | int | float]) -> DoorReply | None:
        """None when it is on."""
        try:
            self._switch()
        except PinsError as error:
            self._report(ErrorCode.DOOR_STUCK, "", reason=str(error), **fields)
            return DoorReply(ok=False, code=Code.DOOR_STUCK, message=str(error)[:512])
        self._report(ErrorCode.DOOR_OPENED, "", reason=f"for {self._open_s:g} s, {by}", **fields)
        return None
