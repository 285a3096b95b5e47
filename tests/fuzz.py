"""Arbitrary messages to a hub's dispatcher, from devices that are signed in and mean no good: a million by default.

    python -m tests.fuzz [COUNT [SEED]]          (`make fuzz`)

The hub is a whole one, with its database; only the sockets are left out, and the clock of its rate limits runs a second
a message, or nothing but refusals for haste would be tried. Two others talk all the while. Every message has to be
answered in the protocol's words, none may be a fault of the hub's, nobody but its participants may change a call, and
nothing may grow.
"""

import asyncio
import gc
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from intercomd.core.legs import Endpoint
from intercomd.core.protocol import REQUESTS, Code, RejoinCall
from intercomd.fakes.signalling import SilentJournal
from intercomd.hub.server import HubServer
from intercomd.ids import IdentityId, InstanceId
from tests.e2e.hub_clients import ANSWER, OFFER, enrol, settings

COUNT: Final = 1_000_000
SEED: Final = 20
STRANGERS: Final = ("attic", "cellar", "garage", "garden")
VICTIMS: Final = ("door", "flat")
THEIR_CALL: Final = "the-talk-of-others"
LOOK_EVERY: Final = 500
MAX_OPEN_CALLS: Final = 1 + 2 * len(STRANGERS)
MAX_GROWN_MB: Final = 40.0
_CODES: Final = {code.value for code in Code}
_WORDS: Final = ("", "x", "\x00", "\u202etxt", "é" * 40, "a" * 129, "../..", "' OR 1=1 --", "null", "*", "__proto__")


class Broken(AssertionError):
    """A message was answered wrongly, or did something that it must not; the text has the message."""


class Malice:
    """What strangers say. The same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._own_calls = [f"call-{number}" for number in range(40)]
        self._makers: dict[str, Callable[[], Any]] = {
            "callId": self._call_id, "recipientId": self._identity, "stationId": self._identity,
            "peerId": self._identity, "sdp": self._description, "candidate": self._candidate, "epoch": self._number,
            "until": self._number, "t": self._number, "calls": self._list, "records": self._list,
            "metrics": self._anything, "reason": self._word, "conversationId": self._word,
        }  # fmt: skip
        self._fields = {name: [field.encode_name for field in msgspec.structs.fields(kind)]
                        for name, kind in REQUESTS.items()}  # fmt: skip

    def message(self) -> Any:
        """As it comes out of JSON."""
        if self._dice.random() < 0.03:
            return self._anything()
        event = self._dice.choice(list(REQUESTS)) if self._dice.random() < 0.97 else self._word()
        if self._dice.random() < 0.04:
            return [event, *(self._anything() for _ in range(self._dice.randrange(4)))]
        payload = {}
        for name in self._fields.get(event, ("callId",)):
            if self._dice.random() < 0.97:
                made = self._makers.get(name, self._anything)
                payload[name] = made() if self._dice.random() < 0.95 else self._anything()
        if self._dice.random() < 0.05:
            payload[self._word()] = self._anything()
        return [event, payload]

    def _call_id(self) -> str:
        return THEIR_CALL if self._dice.random() < 0.2 else self._dice.choice(self._own_calls)

    def _identity(self) -> str:
        return self._dice.choice((*STRANGERS, *VICTIMS, "nobody"))

    def _description(self) -> Any:
        return self._dice.choice((OFFER, ANSWER, {"type": "rollback"}, {"type": "offer", "sdp": "v" * 33_000}))

    def _candidate(self) -> Any:
        good = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
        return self._dice.choice((good, None, {**good, "sdpMLineIndex": -(2**70)}))

    def _number(self) -> Any:
        return self._dice.choice((0, 1, 2, 3, -1, 2**63, 1e308, 0.5, time.time()))

    def _word(self) -> str:
        return self._dice.choice(_WORDS)

    def _list(self) -> list[Any]:
        """Of calls or records, some of them well-formed."""
        record = {
            "callId": self._call_id(), "peerId": self._identity(), "role": "caller", "endReason": "completed",
            "startedAt": self._number(), "endedAt": self._number(), "phase": "connected", "epoch": self._number(),
        }  # fmt: skip
        return [self._dice.choice((record, record, self._anything())) for _ in range(self._dice.randrange(4))]

    def _anything(self, depth: int = 0) -> Any:
        kind = self._dice.randrange(8 if depth < 3 else 6)
        if kind < 6:
            return (None, True, self._number(), self._word(), "y" * self._dice.randrange(3000), -0.0)[kind]
        if kind == 6:
            return [self._anything(depth + 1) for _ in range(self._dice.randrange(4))]
        return {self._word(): self._anything(depth + 1) for _ in range(self._dice.randrange(4))}


async def fuzz(
    count: int, seed: int, directory: Path, told: Callable[[str], None] = lambda _line: None
) -> Counter[str]:
    """How often which answer was given. Raises `Broken`."""
    config = settings(directory)
    tokens = await enrol(config, *STRANGERS, *VICTIMS)
    answers: Counter[str] = Counter()
    async with HubServer(config, SilentJournal()) as hub:
        signalling = hub._signalling
        seconds = itertools.count()
        signalling._monotonic = lambda: float(next(seconds))
        for device in (*_devices(VICTIMS, 1), *_devices(STRANGERS, 2)):
            auth = {"token": tokens[device.partition("/")[0]], "instance": device, "protocol": 1}
            await signalling.connected(signalling.connecting(device, "127.0.0.1", auth))
            await signalling.received(device, ["resync", {}])
        strangers = _devices(STRANGERS, 2)
        await _talk(signalling)
        malice, dice = Malice(seed), random.Random(seed)
        before_mb = 0.0
        for number in range(1, count + 1):
            who, message = dice.choice(strangers), malice.message()
            reply = await signalling.received(who, message)
            _judge(reply, message)
            answers[str(reply.get("code") or "ok")] += 1
            if number % LOOK_EVERY == 0:
                await _unharmed(hub)
            if number == count // 4:
                before_mb = _resident_mb()
            if number % max(1, count // 10) == 0:
                told(f"{number} of {count}: {dict(answers.most_common(6))}")
        grown_mb = _resident_mb() - before_mb
        if grown_mb > MAX_GROWN_MB:
            raise Broken(f"the hub has grown by {grown_mb:.0f} MB since a quarter of the messages")
    return answers


def _devices(identities: Sequence[str], each: int) -> list[str]:
    """Their instances, which are their sockets' names here too."""
    return [f"{identity}/{number}" for identity in identities for number in range(each)]


async def _talk(signalling: Any) -> None:
    door, flat = _devices(VICTIMS, 1)
    for who, event, payload in (
        (door, "initiate_call", {"callId": THEIR_CALL, "recipientId": VICTIMS[1]}),
        (flat, "accept_call", {"callId": THEIR_CALL}),
        (door, "webrtc_offer", {"callId": THEIR_CALL, "epoch": 1, "sdp": OFFER}),
        (flat, "webrtc_answer", {"callId": THEIR_CALL, "epoch": 1, "sdp": ANSWER}),
    ):
        reply = await signalling.received(who, [event, payload])
        if not reply["ok"]:
            raise Broken(f"{event}: {reply}")


def _judge(reply: Any, message: Any) -> None:
    is_reply = isinstance(reply, dict) and isinstance(reply.get("ok"), bool)
    if not is_reply or (not reply["ok"] and reply.get("code") not in _CODES):
        raise Broken(f"{reply!r} is no answer to {str(message)[:500]}")
    if reply.get("code") == Code.INTERNAL.value:
        raise Broken(f"the hub failed at {str(message)[:500]}")


async def _unharmed(hub: HubServer) -> None:
    registry = hub._registry
    reply = await registry.request(Endpoint(IdentityId("door"), InstanceId("door/0")), RejoinCall(call_id=THEIR_CALL))
    call = reply.call
    if call is None or (call.phase, call.epoch, call.callee_id) != ("connected", 1, "flat"):
        raise Broken(f"strangers have changed the call of others: {call}")
    if registry.open_calls > MAX_OPEN_CALLS:
        raise Broken(f"{registry.open_calls} calls are open, with {2 * len(STRANGERS)} devices of strangers")


def _resident_mb() -> float:
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident / 1e6


def main(count: int = COUNT, seed: int = SEED) -> None:
    with tempfile.TemporaryDirectory(prefix="intercomd-fuzz-") as directory:
        began_s = time.monotonic()
        answers = asyncio.run(fuzz(count, seed, Path(directory), lambda line: print(line, flush=True)))
        took_s = time.monotonic() - began_s
    print(f"{count} messages in {took_s:.0f} s, all answered, nobody harmed: {dict(answers.most_common())}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
