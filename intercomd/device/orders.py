"""What `intercomctl` and the panel page may order of the station itself; what the hub answers is `asking`'s."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from intercomd.core.events import AnswerRequested, DialRequested, Event, HangupPressed, SpeakerPressed, VolumeChosen
from intercomd.core.snapshot import MAX_VOLUME
from intercomd.core.station import Phase, Station
from intercomd.device.asking import Asking
from intercomd.device.control import Answer
from intercomd.ids import IdentityId, fresh_call_id
from intercomd.texts import Language, text

KEPT_LIMIT_S: Final = 2.5
"""`intercomctl` waits 3 s."""

Order = Callable[[dict[str, Any]], str | None]
"""From the order's arguments to why it is refused."""


class Orders:
    """`station()` is the present state, `post` takes events; `kept()` tells whether all that was posted lies on flash;
    `others` are the orders that concern no call."""

    def __init__(
        self,
        station: Callable[[], Station],
        post: Callable[[Event], None],
        kept: Callable[[], Awaitable[bool]],
        asking: Asking,
        others: Mapping[str, Order],
        language: Language,
    ) -> None:
        self._station = station
        self._post = post
        self._kept = kept
        self._asking = asking
        self._language: Language = language
        self._orders: dict[str, Order] = {
            "call": self._call,
            "answer": self._answer,
            "hangup": self._hangup,
            "speaker": self._speaker,
            "volume": self._volume,
            **others,
        }

    def command(self, name: str, arguments: dict[str, Any]) -> Answer | Awaitable[Answer]:
        """`control.Commands`'."""
        asked = self._asking.command(name, arguments)
        if asked is not None:
            return asked
        order = self._orders.get(name)
        if order is None:
            known = ", ".join(("status", "watch", "edges", *self._orders, *self._asking.names))
            return {"ok": False, "message": f"unknown command; there are {known}", "exit": 2}
        refusal = order(arguments)
        if refusal is None and name == "volume":
            return self._done_when_kept()
        return {"ok": True} if refusal is None else {"ok": False, "message": refusal, "exit": 1}

    async def _done_when_kept(self) -> Answer:
        """What is called done is not taken back by a power cut."""
        with suppress(TimeoutError):
            async with asyncio.timeout(KEPT_LIMIT_S):
                if await self._kept():
                    return {"ok": True}
        return {"ok": False, "message": text("store.unkept", self._language), "exit": 75}

    def _call(self, arguments: dict[str, Any]) -> str | None:
        peer = arguments.get("peer")
        if not isinstance(peer, str) or not 0 < len(peer) <= 128:
            return 'a call needs "peer", the name of a station or a group'
        if self._station().call is not None:
            return "this station is in a call"
        self._post(DialRequested(IdentityId(peer), fresh_call_id()))
        return None

    def _answer(self, _arguments: dict[str, Any]) -> str | None:
        call = self._station().call
        if call is None or not (call.phase is Phase.RINGING_IN or call.auto):
            return "nothing rings here"
        self._post(AnswerRequested())
        return None

    def _hangup(self, _arguments: dict[str, Any]) -> str | None:
        station = self._station()
        if station.call is None and station.failure is None:
            return "there is no call"
        self._post(HangupPressed())
        return None

    def _speaker(self, _arguments: dict[str, Any]) -> str | None:
        self._post(SpeakerPressed())
        return None

    def _volume(self, arguments: dict[str, Any]) -> str | None:
        percent, kind = arguments.get("percent"), arguments.get("kind")
        if type(percent) is not int or not 0 <= percent <= MAX_VOLUME:
            return f'a volume needs "percent", 0 (off) to {MAX_VOLUME}'
        match kind:
            case None | "voice" | "ring" | "prompts":
                self._post(VolumeChosen(percent, kind))
                return None
            case _:
                return 'the "kind" of a volume is voice, ring or prompts; without it, all of them'
