"""What `intercomctl` asks of the hub through the station: another station's door, and not to be disturbed."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from intercomd.core.protocol import Code, OpenDoor, Reply, Request, SetDoNotDisturb
from intercomd.device.control import Answer
from intercomd.ports import Unreachable
from intercomd.texts import Language, table, text

LIMIT_S: Final = 2.8
"""`intercomctl` waits 3 s."""
FOR_EVER_S: Final = 10_000_000_000.0
"""The year 2286: until somebody switches it off."""
MAX_MINUTES: Final = 60 * 24 * 366
_FAILED, _TRY_AGAIN = 1, 75


class Asking:
    """`request` asks the hub or raises `Unreachable`; `now_s` is the station's time, which follows the hub's;
    `talk_with(station)` the id of the answered call with it."""

    names = ("dnd",)

    def __init__(
        self,
        request: Callable[[Request, float], Awaitable[Reply]],
        now_s: Callable[[], float],
        talk_with: Callable[[str], str | None],
        language: Language,
    ) -> None:
        self._request = request
        self._now_s = now_s
        self._talk_with = talk_with
        self._language: Language = language

    def command(self, name: str, arguments: dict[str, Any]) -> Awaitable[Answer] | None:
        """None for a command that is not the hub's to answer."""
        match name:
            case "door" if "station" in arguments:
                return self._open_door(arguments["station"])
            case "dnd":
                return self._do_not_disturb(arguments.get("on"), arguments.get("minutes"))
            case _:
                return None

    async def _open_door(self, station: object) -> Answer:
        if not isinstance(station, str) or not 0 < len(station) <= 128:
            return _no('a door elsewhere needs "station", its name')
        try:
            reply = await self._request(OpenDoor(station, self._talk_with(station)), LIMIT_S)
        except Unreachable as error:
            return _no(f"{text('door.unconfirmed', self._language)} ({error})", _TRY_AGAIN)
        return {"ok": True} if reply.ok else _no(*_door_words(reply, self._language))

    async def _do_not_disturb(self, on: object, minutes: object) -> Answer:
        if not isinstance(on, bool):
            return _no('do not disturb needs "on", true or false')
        if isinstance(minutes, bool) or not (minutes is None or isinstance(minutes, int | float)):
            return _no('"minutes" must be a number')
        if minutes is not None and not (on and 0 < minutes <= MAX_MINUTES):
            return _no(f'"minutes" goes with "on", more than 0 and at most {MAX_MINUTES}')
        until = None if not on else FOR_EVER_S if minutes is None else self._now_s() + minutes * 60
        try:
            reply = await self._request(SetDoNotDisturb(until), LIMIT_S)
        except Unreachable as error:
            return _no(str(error), _TRY_AGAIN)
        return {"ok": True} if reply.ok else _no(reply.message or "the hub did not take it")


def _door_words(reply: Reply, language: Language) -> tuple[str, int]:
    code = reply.code or Code.INTERNAL
    said = table(language).get(f"door.{code.value}") or reply.message or code.value
    return said, _TRY_AGAIN if code in (Code.EXPIRED, Code.RATE_LIMITED, Code.TRY_AGAIN) else _FAILED


def _no(message: str, exit_status: int = _FAILED) -> Answer:
    return {"ok": False, "message": message, "exit": exit_status}
