"""The hub's dispatcher: whatever a client says is answered, and nothing that is wrong changes anything."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from intercomd.core.legs import Endpoint, Limits
from intercomd.core.protocol import REQUESTS, Code, Notice
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.calling.openings import Doors
from intercomd.hub.calling.presence import Presence, Socket
from intercomd.hub.calling.registry import Registry
from intercomd.hub.clock import HubClock
from intercomd.hub.people.directory import Directory, Identity, Role, digest
from intercomd.hub.signalling import DEAD_S, Signalling
from intercomd.hub.storage.database import Database
from intercomd.hub.transport import Refused
from intercomd.hub.turn import IceOffer
from intercomd.ids import IdentityId

GOOD: dict[str, dict[str, Any]] = {
    "resync": {"calls": [{"callId": "c", "epoch": 1, "phase": "connected"}]},
    "rejoin_call": {"callId": "c"},
    "heartbeat": {"t": 1.5},
    "initiate_call": {"callId": "c", "recipientId": "flat", "conversationId": "7"},
    "accept_call": {"callId": "c"},
    "reject_call": {"callId": "c", "reason": "busy"},
    "cancel_call": {"callId": "c"},
    "end_call": {"callId": "c", "reason": "network"},
    "webrtc_offer": {"callId": "c", "epoch": 1, "sdp": {"type": "offer", "sdp": "v=0"}},
    "webrtc_answer": {"callId": "c", "epoch": 1, "sdp": {"type": "answer", "sdp": "v=0"}},
    "webrtc_ice_candidate": {
        "callId": "c", "epoch": 1, "candidate": {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0},
    },
    "webrtc_restart": {"callId": "c", "epoch": 1},
    "prolong_call": {"callId": "c"},
    "set_do_not_disturb": {"until": 1_900_000_000.0},
    "open_door": {"stationId": "flat", "callId": "c"},
    "call_metrics": {"callId": "c", "metrics": {"jitter": 0.1, "audioPacketsLost": 3}},
    "upload_records": {
        "records": [{"callId": "c", "peerId": "flat", "role": "caller", "endReason": "completed", "startedAt": 1.0,
                     "endedAt": 2.0, "metrics": {"roundTripTime": 0.1}}],
    },
}  # fmt: skip
JUNK: list[Any] = [
    None, True, False, 0, -1, 7, 2**31, 2**63, 2**64, 10**40, -(10**40), 1.5, -0.0, 1e308, "", " ", "c", "x" * 129,
    "x" * 70_000, "\x00", "\u202e", "💥", [], [[]], [None] * 300, {}, {"callId": {}}, {"": ""}, "offer", "null", "NaN",
]  # fmt: skip


class Wires:
    """The transport's end, in memory."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any], Callable[[], None] | None]] = []
        self.dropped: list[str] = []

    async def emit(
        self, sid: str, event: str, payload: dict[str, Any], heard: Callable[[], None] | None = None
    ) -> None:
        self.sent.append((sid, event, payload, heard))

    def drop(self, sid: str) -> None:
        self.dropped.append(sid)


class Hub:
    """A dispatcher and its writer, on a clock that tests turn."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.journal = FakeJournal()
        self.wires = Wires()
        self.presence = Presence()
        self.database = Database(f"sqlite+aiosqlite:///{folder / 'hub.db'}")
        self.registry = Registry(
            self.database, self.presence, self._deliver, self.journal, clock=HubClock(), limits=Limits()
        )
        door = Identity(IdentityId("door"), Role.STATION, digest("token"))
        self.registry.directory = Directory({door.id: door}, {}, {digest("token"): door})
        self.signalling = Signalling(
            self.registry,
            self.presence,
            self.database,
            self.journal,
            clock=HubClock(),
            ice=IceOffer(),
            monotonic=lambda: self.now_s,
        )
        self.signalling.wire = self.wires
        self.signalling.quieten = self._quieten
        self.signalling.doors = Doors(
            self.database,
            self.presence,
            self.journal,
            HubClock(),
            directory=lambda: self.registry.directory,
            call=self.registry.find,
            tell=self.wires.emit,
            ask=self._ask,
            monotonic=lambda: self.now_s,
        )

    async def join(self, sid: str = "s", **auth: Any) -> None:
        told = {"token": "token", "instance": "i", "protocol": 1, **auth}
        await self.signalling.connected(self.signalling.connecting(sid, "192.0.2.1", told))

    async def say(self, *message: Any, sid: str = "s", pause_s: float = 1.0) -> dict[str, Any]:
        self.now_s += pause_s
        return await self.signalling.received(sid, list(message))

    async def open(self) -> None:
        await self.database.open()
        self._writer = asyncio.create_task(self.registry.run())
        await self.join()

    async def close(self) -> None:
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer
        await self.registry.drain(0.0)
        await self.database.close()

    async def _quieten(self, who: IdentityId, until: float | None) -> None:
        """Nobody asks afterwards."""

    async def _ask(self, socket: Socket, event: str, payload: dict[str, Any], limit_s: float) -> object:
        raise AssertionError(f"{event} to {socket}: nobody may open a door here")

    async def _deliver(self, to: Endpoint, notice: Notice) -> None:
        await self.signalling.deliver(to, notice)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    hub = Hub(tmp_path)
    await hub.open()
    yield hub
    await hub.close()


def spoilt(value: Any, chance: random.Random) -> Any:
    """The payload with one thing in it replaced, lost or added."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(sorted(value))
        other = {name: item for name, item in value.items() if name != key}
        return other if chance.random() < 0.2 else {**other, key: spoilt(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        return [*value[1:], spoilt(value[0], chance)]
    return chance.choice(JUNK)


@pytest.mark.parametrize("event", REQUESTS)
async def test_hundreds_of_spoilt_payloads_are_answered_and_change_nothing(hub: Hub, event: str) -> None:
    chance = random.Random(event)
    refused = 0
    for _ in range(300):
        payload = spoilt(GOOD[event], chance)
        reply = await hub.say(event, payload)
        json.dumps(reply)
        refused += reply.get("code") == "bad_request"
        if not reply["ok"]:
            assert reply["code"] in set(Code)
            assert len(reply["message"]) < 300
            assert "x" * 129 not in reply["message"]
    assert refused > 100
    assert hub.registry.open_calls == 0
    assert ErrorCode.INTERNAL not in hub.journal.codes, hub.journal.lines


@pytest.mark.parametrize("event", REQUESTS)
async def test_the_unspoilt_payload_is_understood(hub: Hub, event: str) -> None:
    """Or the test above would try nothing."""
    reply = await hub.say(event, GOOD[event])
    assert reply.get("code") == "not_allowed" if event == "open_door" else reply.get("code") in (None, "not_found")


@pytest.mark.parametrize("message", [None, 7, "resync", {}, [], [None], [7, {}], [["resync"], {}]])
async def test_what_is_no_event_is_answered(hub: Hub, message: Any) -> None:
    reply = await hub.signalling.received("s", message)
    assert reply["code"] == "bad_request"


async def test_who_is_not_connected_is_told_so(hub: Hub) -> None:
    assert (await hub.say("heartbeat", {"t": 1.0}, sid="nobody"))["code"] == "unauthorised"


async def test_a_fault_of_ours_is_answered_and_written_down(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(hub.registry, "returned", broken)
    hub.presence.at(next(iter(hub.presence)).endpoint)[0].resynced = False
    reply = await hub.say("rejoin_call", GOOD["rejoin_call"])
    assert (reply["ok"], reply["code"]) == (False, "internal")
    assert "planted" not in reply["message"]
    (line,) = [line for line in hub.journal.lines if line["ERROR_CODE"] == "INTERNAL"]
    assert "planted" in line["STACK"]


async def test_a_database_that_fails_is_answered_try_again(hub: Hub) -> None:
    await hub.database.close()
    assert (await hub.say("rejoin_call", GOOD["rejoin_call"]))["code"] == "try_again"
    assert (await hub.say("upload_records", GOOD["upload_records"]))["code"] == "try_again"
    assert (await hub.say("heartbeat", {"t": 1.0}))["ok"]


async def test_the_limit_is_by_identity_and_recovers(hub: Hub) -> None:
    replies = [await hub.say("heartbeat", {"t": 1.0}, pause_s=0.0) for _ in range(61)]
    assert [reply["ok"] for reply in replies] == [True] * 60 + [False]
    assert replies[-1]["code"] == "rate_limited"
    assert (await hub.say("heartbeat", {"t": 1.0}, pause_s=1.0))["ok"]


async def test_a_wish_for_quiet_is_written_a_few_times_a_minute(hub: Hub) -> None:
    """Each is read by every process: nobody's thumb needs more."""
    wish = GOOD["set_do_not_disturb"]
    replies = [await hub.say("set_do_not_disturb", wish, pause_s=0.1) for _ in range(8)]
    assert [reply.get("code") for reply in replies] == [None] * 6 + ["rate_limited"] * 2
    assert (await hub.say("set_do_not_disturb", wish, pause_s=5.0))["ok"]


async def test_who_goes_on_after_being_told_is_disconnected(hub: Hub) -> None:
    for _ in range(160):
        await hub.say("heartbeat", {"t": 1.0}, pause_s=0.0)
    assert hub.wires.dropped == []
    await hub.say("heartbeat", {"t": 1.0}, pause_s=0.0)
    assert hub.wires.dropped == ["s"]


async def test_a_wrong_token_never_stands_in_the_journal(hub: Hub) -> None:
    for number in range(40):
        with pytest.raises(Refused):
            await hub.join(f"n{number}", token="a secret that is wrong")
    assert "a secret" not in str(hub.journal.lines)
    refusals = hub.journal.codes.count(ErrorCode.CLIENT_REFUSED)
    assert 0 < refusals <= 100


async def test_guessing_does_not_keep_out_a_good_neighbour(hub: Hub) -> None:
    codes = []
    for number in range(30):
        with pytest.raises(Refused) as refused:
            await hub.join(f"n{number}", token=f"guess {number}")
        codes.append(refused.value.code)
    assert (codes[0], codes[-1]) == (Code.UNAUTHORISED, Code.RATE_LIMITED)
    await hub.join("good")


async def test_a_socket_that_answers_no_heartbeat_is_dropped_and_one_that_does_is_not(hub: Hub) -> None:
    await hub.join("mute")
    await hub.join("old", protocol=None)
    for _ in range(4):
        hub.now_s += DEAD_S / 3
        await hub.signalling.beat_once()
        for sid, event, _, heard in hub.wires.sent:
            assert event == "heartbeat"
            assert sid != "old"
            if sid == "s" and heard is not None:
                heard()
        hub.wires.sent.clear()
    assert hub.wires.dropped == ["mute"]


async def test_at_most_one_acknowledgement_is_waited_for(hub: Hub) -> None:
    """The library keeps a callback for every one that does not come."""
    for _ in range(3):
        await hub.signalling.beat_once()
    assert [heard is not None for _, _, _, heard in hub.wires.sent] == [True, False, False]


async def test_revoked_tokens_are_shown_out(hub: Hub) -> None:
    hub.signalling.revoke()
    assert hub.wires.dropped == []
    hub.registry.directory = Directory()
    hub.signalling.revoke()
    assert hub.wires.dropped == ["s"]
