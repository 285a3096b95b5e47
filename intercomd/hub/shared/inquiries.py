"""A question to a device whose connection another process has: there and back by NOTIFY.

Nothing of it is stored, so nothing is carried out late: what does not arrive at once has never been said."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from intercomd.core.legs import Endpoint
from intercomd.hub.calling.calls import Asked
from intercomd.hub.clock import HubClock
from intercomd.hub.shared import statements
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.ids import IdentityId, InstanceId


class Question(msgspec.Struct, frozen=True, tag="question"):
    """`until` by the clock that all processes share."""

    number: str
    asker: str
    identity: str
    instance: str
    event: str
    payload: dict[str, Any]
    until: float


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    number: str
    words: Any


_decode = msgspec.json.Decoder(Question | Answer).decode


class Inquiries:
    """`ask` the process that has the device; `heard` answers what others ask, by what `asked` names at that time."""

    def __init__(self, database: Database, process: str, clock: HubClock, asked: Callable[[], Asked]) -> None:
        self._database = database
        self._process = process
        self._clock = clock
        self._asked = asked
        self._open: dict[str, asyncio.Future[object]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(
        self, process: str, device: Endpoint, event: str, payload: dict[str, Any], limit_s: float
    ) -> object:  # fmt: skip
        """The device's acknowledgement. Raises `TimeoutError`, too where the question could not be sent."""
        number, until = secrets.token_hex(8), self._clock.now_s() + limit_s
        question = Question(number, self._process, device.identity, device.instance, event, payload, until)
        self._open[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(limit_s):
                await self._send(process, question)
                return await self._open[number]
        except DatabaseError as error:
            raise TimeoutError(str(error)) from error
        finally:
            del self._open[number]

    def heard(self, words: str) -> None:
        """Something was said to this process."""
        said = _decode(words)
        if isinstance(said, Answer):
            waiting = self._open.get(said.number)
            if waiting is not None and not waiting.done():
                waiting.set_result(said.words)
        else:
            task = asyncio.get_running_loop().create_task(self._answer(said))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Answer nobody any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, question: Question) -> None:
        left_s = question.until - self._clock.now_s()
        if left_s <= 0.0:
            return
        device = Endpoint(IdentityId(question.identity), InstanceId(question.instance))
        try:
            words = await self._asked()(device, question.event, question.payload, left_s)
            await self._send(question.asker, Answer(question.number, words))
        except (TimeoutError, DatabaseError):
            return  # whoever asked has its own limit

    async def _send(self, process: str, said: Question | Answer) -> None:
        await self._database.announce(statements.own_channel(process), msgspec.json.encode(said).decode())
