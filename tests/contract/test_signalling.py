"""The contract of signalling, on the fake and on Socket.IO over loopback; then the faults only sockets can have."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import engineio
import pytest

from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.config.mistakes import ConfigError, Mistake
from intercomd.core.link import Limits
from intercomd.core.protocol import (
    MAX_SDP_CHARS,
    CallEnded,
    CallInitiated,
    CallState,
    Code,
    EndCall,
    EndReason,
    HubPhase,
    InitiateCall,
    Notice,
    Reply,
    Resync,
    Sdp,
    WebrtcOffer,
    encode,
)
from intercomd.errors import ErrorCode
from intercomd.fakes.signalling import FakeHubLink, FakeSignalling, SilentJournal
from intercomd.ids import InstanceId
from intercomd.link.supervised import SupervisedSignalling
from intercomd.link.trust import NOTHING_KNOWN, Known
from intercomd.ports import Unreachable
from tests.contract.loopback_hub import ACCEPT, OPEN, STALL, WAIT, LoopbackHub, black_hole, free_port, raw_hub

Json = Any

QUICK = Limits(
    attempt_s=5.0,
    first_retry_s=0.02,
    longest_retry_s=0.05,
    refused_retry_s=0.05,
    heartbeat_s=0.2,
    ack_s=0.5,
    silence_s=1.0,
)
"""For a machine with two busy cores: an acknowledgement may take half a second."""


async def until(true: Callable[[], bool], limit_s: float = 10.0) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, "not within the limit"
        await asyncio.sleep(0.005)


class Hub(Protocol):
    """A hub of either kind, under one set of verbs."""

    signalling: SupervisedSignalling
    journal: SilentJournal

    @property
    def knobs(self) -> FakeHubLink | LoopbackHub: ...
    async def notify(self, notice: Notice) -> None: ...
    async def send(self, event: str, *arguments: Json) -> None: ...
    async def call(self, event: str, *arguments: Json) -> Json: ...
    async def drop(self) -> None: ...
    async def leave(self) -> None: ...
    async def come_back(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.knobs = FakeHubLink()
        self.journal = SilentJournal()
        self.signalling: SupervisedSignalling = FakeSignalling(self.knobs, self.journal, QUICK)

    async def notify(self, notice: Notice) -> None:
        self.knobs.notify(notice)

    async def send(self, event: str, *arguments: Json) -> None:
        self.knobs.send(event, *arguments)

    async def call(self, event: str, *arguments: Json) -> Json:
        return self.knobs.send(event, *arguments)[0]

    async def drop(self) -> None:
        self.knobs.drop()

    async def leave(self) -> None:
        self.knobs.away = True
        self.knobs.drop()

    async def come_back(self) -> None:
        self.knobs.away = False


class OverSockets:
    def __init__(self, hub: LoopbackHub, limits: Limits = QUICK) -> None:
        self.knobs = hub
        self.journal = SilentJournal()
        self.tokens = 0
        self.signalling: SupervisedSignalling = SocketIoSignalling(
            f"http://127.0.0.1:{hub.port}",
            self._token,
            InstanceId("instance-1"),
            ("door",),
            self.journal,
            limits=limits,
        )
        self.notify = hub.notify
        self.send = hub.send
        self.call = hub.call
        self.drop = hub.drop
        self.leave = hub.stop

    async def come_back(self) -> None:
        await self.knobs.start()

    def _token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"


@pytest.fixture(params=["fake", "socketio"])
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    if request.param == "fake":
        yield InMemory()
        return
    server = await LoopbackHub().start()
    yield OverSockets(server)
    await server.stop()


@pytest.fixture
async def sockets() -> AsyncIterator[OverSockets]:
    server = await LoopbackHub().start()
    yield OverSockets(server)
    await server.stop()


class Station:
    """What the owner of the link hears."""

    def __init__(self) -> None:
        self.links: list[bool] = []
        self.notices: list[Notice] = []


@asynccontextmanager
async def running(signalling: SupervisedSignalling, *, wait: bool = True) -> AsyncIterator[Station]:
    station = Station()
    task = asyncio.create_task(signalling.run(station.links.append, station.notices.append))
    try:
        if wait:
            await until(lambda: station.links == [True])
        yield station
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _client_of(hub: OverSockets) -> Any:
    """The library's client of the connection that stands."""
    (connection,) = hub.signalling._connections.values()
    return connection._client  # type: ignore[attr-defined]


def ended(seq: int) -> CallEnded:
    return CallEnded("c", seq, reason=EndReason.COMPLETED)


def reported(hub: Hub, code: ErrorCode) -> list[dict[str, str | int | float]]:
    return [fields for found, fields in hub.journal.lines if found is code]


# ------------------------------------------------------------------------------------------- both keep the contract


async def test_the_link_comes_up_by_itself(hub: Hub) -> None:
    assert hub.signalling.status.state == "down"
    assert hub.signalling.status.age_s is None
    async with running(hub.signalling):
        status = hub.signalling.status
        assert (status.state, status.failed_attempts, status.reason) == ("up", 0, "")
        assert status.age_s is not None
        assert status.age_s < 5
    assert hub.signalling.status.state == "down"


async def test_a_request_is_acknowledged_with_the_hubs_reply(hub: Hub) -> None:
    call = CallState("c", "door", "flat", HubPhase.RINGING, 0, 1, 1000.0)
    hub.knobs.answer = lambda _: Reply(ok=True, call=call)
    async with running(hub.signalling):
        assert await hub.signalling.request(InitiateCall("c", "flat")) == Reply(ok=True, call=call)
    assert hub.knobs.requests == [InitiateCall("c", "flat")]


async def test_a_refused_request_is_a_reply_and_not_an_error(hub: Hub) -> None:
    no = Reply(ok=False, code=Code.BUSY, message="in another call")
    hub.knobs.answer = lambda _: no
    async with running(hub.signalling):
        assert await hub.signalling.request(InitiateCall("c", "flat")) == no


async def test_requests_arrive_in_the_order_in_which_they_were_made(hub: Hub) -> None:
    async with running(hub.signalling):
        await asyncio.gather(*(hub.signalling.request(EndCall(f"c{number}")) for number in range(100)))
    assert hub.knobs.requests == [EndCall(f"c{number}") for number in range(100)]


async def test_without_a_link_a_request_fails_at_once_and_is_not_sent_later(hub: Hub) -> None:
    with pytest.raises(Unreachable, match="no link"):
        await hub.signalling.request(EndCall("c"))
    async with running(hub.signalling):
        await hub.signalling.request(Resync())
    assert hub.knobs.requests == [Resync()]


async def test_a_hub_that_never_answers_is_unreachable_at_the_deadline(hub: Hub) -> None:
    async with running(hub.signalling):
        hub.knobs.hung = True
        started_s = time.monotonic()
        with pytest.raises(Unreachable, match=r"end_call within 0\.1 s"):
            await hub.signalling.request(EndCall("c"), deadline_s=0.1)
        assert 0.09 < time.monotonic() - started_s < 2


async def test_a_broken_link_ends_the_wait_for_an_acknowledgement_at_once(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        hub.knobs.hung = True
        asking = asyncio.create_task(hub.signalling.request(EndCall("c"), deadline_s=30.0))
        await until(lambda: hub.knobs.requests == [EndCall("c")])
        hub.knobs.hung = False
        await hub.drop()
        with pytest.raises(Unreachable, match="broke"):
            await asyncio.wait_for(asking, 5.0)
        await until(lambda: station.links == [True, False, True])


async def test_a_disconnect_by_the_hub_is_announced_reported_and_overcome(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        await until(lambda: hub.knobs.heartbeats >= 2)
        for times in (1, 2):
            await hub.drop()
            await until(lambda times=times: station.links == [True] + [False, True] * times)
            before = hub.knobs.heartbeats
            await until(lambda before=before: hub.knobs.heartbeats >= before + 2)
        assert reported(hub, ErrorCode.HUB_LOST) == [{"reason": "the hub closed the connection"}] * 2
        await hub.signalling.request(Resync())


async def test_a_hub_that_dies_and_comes_back_is_found_again(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        await hub.leave()
        await until(lambda: len(reported(hub, ErrorCode.HUB_GIVING_NO_ANSWER)) == 1)
        assert station.links == [True, False]
        assert hub.signalling.status.failed_attempts >= 5
        assert "refused" in hub.signalling.status.reason.lower()
        before = hub.signalling.status.failed_attempts
        await until(lambda: hub.signalling.status.failed_attempts >= before + 5)
        assert len(hub.journal.lines) == 2, "repeats are silent"
        await hub.come_back()
        await until(lambda: station.links == [True, False, True])
        assert hub.signalling.status.failed_attempts == 0
        await hub.signalling.request(Resync())


async def test_a_hung_hub_is_left_and_found_again_when_it_answers(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        await until(lambda: hub.knobs.heartbeats >= 1)
        hub.knobs.hung = True
        await until(lambda: station.links == [True, False])
        (lost,) = reported(hub, ErrorCode.HUB_LOST)
        assert "hub" in str(lost["reason"])
        hub.knobs.hung = False
        await until(lambda: station.links == [True, False, True])


async def test_a_refused_station_says_so_once_and_comes_in_when_it_is_let_in(hub: Hub) -> None:
    hub.knobs.refusal = "unauthorised"
    async with running(hub.signalling, wait=False) as station:
        await until(lambda: hub.knobs.attempts >= 3)
        assert hub.signalling.status.state == "refused"
        assert "token" in hub.signalling.status.reason
        assert [code for code, _ in hub.journal.lines] == [ErrorCode.HUB_REFUSED]
        assert station.links == []
        hub.knobs.refusal = None
        hub.signalling.kick()
        await until(lambda: station.links == [True])
        assert hub.signalling.status.state == "up"


async def test_notices_come_typed_and_in_their_order(hub: Hub) -> None:
    sent = [CallInitiated("c", 0), *(ended(seq) for seq in range(1, 300))]
    async with running(hub.signalling) as station:
        for notice in sent:
            await hub.notify(notice)
        await until(lambda: len(station.notices) == len(sent))
    assert station.notices == sent


async def test_malformed_notices_are_dropped_and_reported_and_the_next_one_is_heard(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        await hub.send("call_ended", {"callId": 7, "seq": 1, "reason": "completed"})
        await hub.send("call_ended", "text")
        await hub.send("call_ended")
        await hub.send("webrtc_offer", encode(ended(1)))
        await hub.send("door_of_tomorrow", {})
        await hub.notify(ended(2))
        await until(lambda: bool(station.notices))
        assert station.notices == [ended(2)]
        lines = reported(hub, ErrorCode.BAD_MESSAGE)
        assert [line["event"] for line in lines] == ["call_ended"] * 3 + ["webrtc_offer", "door_of_tomorrow"]
        assert all(line["reason"] for line in lines)
        assert "callId" in str(lines[0]["reason"])


async def test_a_flood_of_malformed_notices_does_not_flood_the_journal(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        for number in range(50):
            await hub.send("call_ended", {"callId": "c", "seq": -1})
            await hub.send(f"unknown-{number}", {})
        await hub.notify(ended(2))
        await until(lambda: bool(station.notices))
        assert len(hub.journal.lines) <= 16


@pytest.mark.parametrize("answer", [{}, {"ok": "yes"}, [], "ok", {"ok": True, "calls": [{"callId": "c"}]}])
async def test_an_acknowledgement_of_the_wrong_shape_is_no_answer(hub: Hub, answer: Json) -> None:
    hub.knobs.answer = lambda _: answer
    async with running(hub.signalling):
        with pytest.raises(Unreachable, match="not understood"):
            await hub.signalling.request(Resync())
        (line,) = reported(hub, ErrorCode.BAD_MESSAGE)
        assert line["event"] == "resync"


async def test_the_hubs_heartbeat_is_answered(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        assert await hub.call("heartbeat", {"t": 1.0}) == {"ok": True}
        assert station.notices == []


async def test_a_kick_while_up_changes_nothing_when_the_hub_is_there(hub: Hub) -> None:
    async with running(hub.signalling) as station:
        before = hub.knobs.heartbeats
        hub.signalling.kick()
        await until(lambda: hub.knobs.heartbeats > before)
        await hub.signalling.request(Resync())
        assert station.links == [True]


async def test_a_kick_before_the_link_runs_is_nothing(hub: Hub) -> None:
    hub.signalling.kick()
    assert hub.signalling.status.state == "down"


@pytest.mark.parametrize("which", ["link", "notice"])
async def test_what_a_callback_raises_ends_the_link_and_is_not_swallowed(hub: Hub, which: str) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    def fine(_: object) -> None:
        pass

    run = hub.signalling.run(broken, fine) if which == "link" else hub.signalling.run(fine, broken)
    task = asyncio.create_task(run)
    if which == "notice":
        await until(lambda: hub.signalling.status.state == "up")
        await hub.notify(ended(1))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(task, 5.0)
    assert hub.signalling.status.state == "down"


async def test_after_a_cancellation_nothing_is_left_and_it_can_run_again(hub: Hub) -> None:
    before = asyncio.all_tasks()
    for _ in range(3):
        async with running(hub.signalling) as station:
            hub.knobs.hung = True
            asking = asyncio.create_task(hub.signalling.request(EndCall("c"), deadline_s=30.0))
            await asyncio.sleep(0)
        with pytest.raises(Unreachable):
            await asking
        hub.knobs.hung = False
        assert station.links == [True], "the owner who cancels is told nothing more"
        with pytest.raises(Unreachable, match="no link"):
            await hub.signalling.request(EndCall("c"))
    await hub.leave()
    await until(lambda: asyncio.all_tasks() <= before)
    assert engineio.base_client.connected_clients == []
    await hub.come_back()


async def test_a_cancellation_in_the_middle_of_an_attempt_leaves_nothing(hub: Hub) -> None:
    before = asyncio.all_tasks()
    hub.knobs.hung = True
    async with running(hub.signalling, wait=False):
        await until(lambda: hub.knobs.attempts >= 1)
        assert hub.signalling.status.state == "connecting"
    hub.knobs.hung = False
    await hub.leave()
    await until(lambda: asyncio.all_tasks() <= before)
    assert engineio.base_client.connected_clients == []
    await hub.come_back()


# ------------------------------------------------------------------------------------------------ only sockets


async def test_the_hub_learns_who_connects_and_the_token_is_read_at_every_attempt(sockets: OverSockets) -> None:
    async with running(sockets.signalling) as station:
        await sockets.drop()
        await until(lambda: station.links == [True, False, True])
    common = {"instance": "instance-1", "protocol": 1, "capabilities": ["door"]}
    assert sockets.knobs.auth == [{"token": f"token-{number}", **common} for number in (1, 2)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "/etc/token"), "/etc/token: No such file or directory"),
        (ConfigError("configuration", (Mistake("station.token_file", "is empty", "a token"),)), "token_file"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid start byte"),
    ],
)
async def test_a_token_that_cannot_be_read_is_a_failed_attempt_and_is_named(
    sockets: OverSockets, error: Exception, words: str
) -> None:
    def token() -> str:
        raise error

    url = f"http://127.0.0.1:{sockets.knobs.port}"
    signalling = SocketIoSignalling(url, token, InstanceId("i"), (), sockets.journal, limits=QUICK)
    async with running(signalling, wait=False):
        await until(lambda: signalling.status.failed_attempts >= 2)
        assert words in signalling.status.reason


async def test_a_mistake_of_ours_in_an_attempt_ends_the_link_and_is_not_swallowed(sockets: OverSockets) -> None:
    def token() -> str:
        raise ZeroDivisionError

    url = f"http://127.0.0.1:{sockets.knobs.port}"
    signalling = SocketIoSignalling(url, token, InstanceId("i"), (), sockets.journal, limits=QUICK)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(signalling.run(lambda _: None, lambda _: None), 5.0)


async def test_a_hub_that_takes_a_second_and_a_half_to_accept_is_reached_at_the_first_attempt(
    sockets: OverSockets,
) -> None:
    """python-socketio's own reconnect never gets there."""
    sockets.knobs.slow_s = 1.5
    async with running(sockets.signalling) as station:
        assert sockets.knobs.attempts == 1
        await sockets.drop()
        await until(lambda: station.links == [True, False, True])
        assert sockets.knobs.attempts == 2


async def test_a_black_hole_costs_one_deadline_and_the_hub_behind_it_is_found() -> None:
    """python-socketio's own reconnect task would have died of it."""
    limits = Limits(attempt_s=0.3, first_retry_s=0.02, longest_retry_s=0.02)
    hub = OverSockets(LoopbackHub(free_port()), limits)
    async with running(hub.signalling, wait=False) as station:
        async with black_hole(hub.knobs.port) as victims:
            await until(lambda: len(victims) >= 3)
            assert hub.signalling.status.reason == "the hub did not accept within 0.3 s"
        await hub.come_back()
        await until(lambda: station.links == [True])
    await hub.knobs.stop()


@pytest.mark.parametrize("script", [[], [OPEN], [OPEN, WAIT]])
async def test_a_hub_that_falls_silent_in_the_handshake_costs_one_deadline(script: list[str]) -> None:
    limits = Limits(attempt_s=0.3, first_retry_s=0.02, longest_retry_s=0.02)
    hub = OverSockets(LoopbackHub(free_port()), limits)
    async with running(hub.signalling, wait=False) as station:
        async with raw_hub(hub.knobs.port, script):
            await until(lambda: hub.signalling.status.failed_attempts >= 2)
            assert hub.signalling.status.reason == "the hub did not accept within 0.3 s"
        await hub.come_back()
        await until(lambda: station.links == [True])
    await hub.knobs.stop()


@pytest.mark.parametrize(
    "first",
    ["", "x", "0", "0{}", "0[]", '0{"sid":1}', "4", "6", OPEN.replace("5000", '"long"'), b"\x00\x01"],
)
async def test_garbage_in_the_handshake_is_a_failed_attempt(first: str | bytes) -> None:
    hub = OverSockets(LoopbackHub(free_port()))
    async with raw_hub(hub.knobs.port, [first]), running(hub.signalling, wait=False) as station:
        await until(lambda: hub.signalling.status.failed_attempts >= 2)
        assert hub.signalling.status.reason.startswith("the handshake was not understood")
        assert station.links == []


async def test_an_address_that_is_no_hub_is_named() -> None:
    hub = OverSockets(LoopbackHub(free_port()))
    async with raw_hub(hub.knobs.port, [], status=502), running(hub.signalling, wait=False):
        await until(lambda: hub.signalling.status.failed_attempts >= 1)
        assert hub.signalling.status.reason == "HTTP status 502 instead of a WebSocket: is this address the hub's?"


GARBAGE: list[str | bytes] = [
    "4",
    "4null",
    "4[]",
    "4{}",
    '4"text"',
    "49",
    "42",
    "42{}",
    "42[]",
    "42[7]",
    "42[{}]",
    '42["connect"]',
    '42["disconnect","client disconnect"]',
    '42["__disconnect_final"]',
    "42[",
    "42" + "[" * 60_000,
    '42999999999999999999999999999999999["x"]',
    "430[]",
    "4399[]",
    "431{}",
    "43[]",
    '451-["call_ended",{"_placeholder":true,"num":0}]',
    b"\x00\xff",
    '42/other,["call_ended",{}]',
    "40/other,",
    "40[]",
    "7",
    "9",
    "z",
]


@pytest.mark.parametrize("frame", GARBAGE, ids=lambda frame: repr(frame)[:24])
async def test_garbage_on_a_standing_link_does_no_harm(frame: str | bytes) -> None:
    """It is dropped or breaks the connection, which is then made anew; notices and requests go on working."""
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    hub = OverSockets(LoopbackHub(free_port()))
    script = [OPEN, WAIT, ACCEPT, frame, '42["call_initiated",{"callId":"c","seq":5}]']
    async with raw_hub(hub.knobs.port, script), running(hub.signalling, wait=False) as station:
        await until(lambda: bool(station.notices) or station.links.count(True) >= 2)
        assert all(notice == CallInitiated("c", 5) for notice in station.notices)
        if station.notices:
            assert await hub.signalling.request(Resync()) == Reply(ok=True)
    assert problems == []


async def test_an_acknowledgement_zero_does_not_take_the_librarys_counter_away() -> None:
    hub = OverSockets(LoopbackHub(free_port()))
    script = [OPEN, WAIT, ACCEPT, WAIT, "430[]", '42["call_initiated",{"callId":"c","seq":5}]']
    async with raw_hub(hub.knobs.port, script), running(hub.signalling) as station:
        with pytest.raises(Unreachable):
            await hub.signalling.request(Resync(), deadline_s=0.05)
        await until(lambda: bool(station.notices))
        assert await hub.signalling.request(Resync()) == Reply(ok=True)


async def test_an_oversized_message_breaks_the_link_and_fills_no_memory() -> None:
    hub = OverSockets(LoopbackHub(free_port()))
    script = [OPEN, WAIT, ACCEPT, '42["call_ended","' + "x" * 200_000 + '"]']
    async with raw_hub(hub.knobs.port, script), running(hub.signalling, wait=False) as station:
        await until(lambda: station.links.count(True) >= 2)
        assert station.notices == []


@pytest.mark.parametrize("payload", ["{}", '{"message":"no"}', '{"message":"no","data":{"code":7}}', '"no"', "[]", "7"])
async def test_a_refusal_without_a_code_is_a_failed_attempt(payload: str) -> None:
    hub = OverSockets(LoopbackHub(free_port()))
    async with raw_hub(hub.knobs.port, [OPEN, WAIT, f"44{payload}"]), running(hub.signalling, wait=False):
        await until(lambda: hub.signalling.status.failed_attempts >= 2)
        assert hub.signalling.status.state != "refused"


@pytest.mark.parametrize("data", ['{"code":"banned","message":"x"}', '{"message":"x","data":{"code":"banned"}}'])
async def test_a_refusals_code_is_found_where_either_kind_of_server_puts_it(data: str) -> None:
    hub = OverSockets(LoopbackHub(free_port()))
    async with raw_hub(hub.knobs.port, [OPEN, WAIT, f"44{data}"]), running(hub.signalling, wait=False):
        await until(lambda: hub.signalling.status.state == "refused")
        assert hub.signalling.status.reason == "the hub has banned this station"


async def test_a_hub_that_drops_at_once_after_accepting_is_noticed_at_once() -> None:
    hub = OverSockets(LoopbackHub(free_port()))
    async with raw_hub(hub.knobs.port, [OPEN, WAIT, ACCEPT, "41"]), running(hub.signalling, wait=False) as station:
        started_s = time.monotonic()
        await until(lambda: station.links[:2] == [True, False])
        assert time.monotonic() - started_s < 0.8, "and not by silence"


async def test_unacknowledged_requests_leave_nothing_behind_in_the_client(sockets: OverSockets) -> None:
    async with running(sockets.signalling):
        sockets.knobs.hung = True
        for _ in range(20):
            with pytest.raises(Unreachable):
                await sockets.signalling.request(EndCall("c"), deadline_s=0.005)
        callbacks = _client_of(sockets).callbacks["/"]
        assert len(callbacks) <= 3, "the counter and a heartbeat or two"
        sockets.knobs.hung = False


async def test_fifty_reconnects_leave_no_tasks_no_clients_and_no_descriptors(sockets: OverSockets) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def tasks() -> int:
        """Without those that the library's server leaves asleep."""
        return len([task for task in asyncio.all_tasks() if "AsyncSocket." not in repr(task.get_coro())])

    async with running(sockets.signalling) as station:
        for times in range(1, 51):
            await sockets.drop()
            await until(lambda times=times: station.links == [True] + [False, True] * times)
            if times == 5:
                await until(lambda: len(engineio.base_client.connected_clients) == 1)
                running_tasks, open_files = tasks(), descriptors()
        await until(lambda: len(engineio.base_client.connected_clients) == 1)
        await until(lambda: tasks() <= running_tasks and descriptors() <= open_files)
    assert engineio.base_client.connected_clients == []


async def test_a_cancellation_takes_no_longer_than_its_limit_when_the_hub_is_frozen() -> None:
    """The hub's process is stopped (or the cable pulled): nobody answers our close."""
    hub = OverSockets(LoopbackHub(free_port()))
    async with raw_hub(hub.knobs.port, [OPEN, WAIT, ACCEPT, WAIT]):
        async with running(hub.signalling):
            await asyncio.sleep(0)
            _client_of(hub).eio.ws._response.connection.transport.pause_reading()  # what the hub answers is never seen
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 3.0
    assert engineio.base_client.connected_clients == []


async def test_a_hub_that_stops_reading_holds_up_neither_us_nor_our_end() -> None:
    """The socket's buffer is full, so that even a close cannot be sent."""
    before = asyncio.all_tasks()
    hub = OverSockets(LoopbackHub(free_port()), replace(QUICK, ack_s=20.0, silence_s=20.0))
    async with raw_hub(hub.knobs.port, [OPEN, WAIT, ACCEPT, STALL]):
        async with running(hub.signalling):
            offer = WebrtcOffer("c", Sdp("offer", "x" * MAX_SDP_CHARS))
            asking = [asyncio.create_task(hub.signalling.request(offer, 30.0)) for _ in range(600)]
            await until(lambda: _client_of(hub).eio.ws._writer.transport.get_write_buffer_size() > 0)
            started_s = time.monotonic()
        assert time.monotonic() - started_s < 5.0
        assert all(isinstance(error, Unreachable) for error in await asyncio.gather(*asking, return_exceptions=True))
    assert engineio.base_client.connected_clients == []
    await until(lambda: asyncio.all_tasks() <= before)


# ------------------------------------------------------------------------------------------------------ TLS


A_DAY = timedelta(days=1)


def make_certificate(directory: Path, begins: timedelta = -A_DAY, ends: timedelta = A_DAY) -> tuple[Path, Path]:
    """A certificate of its own authority for 127.0.0.1, and its key."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "hub.pem", directory / "hub.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@asynccontextmanager
async def hub_with_tls(
    directory: Path, begins: timedelta = -A_DAY, ends: timedelta = A_DAY
) -> AsyncIterator[tuple[LoopbackHub, Path]]:
    certificate, key = make_certificate(directory, begins, ends)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    hub = await LoopbackHub(tls=tls).start()
    try:
        yield hub, certificate
    finally:
        await hub.stop()


def over_tls(
    hub: LoopbackHub, ca_file: Path | None, off: timedelta | None = None, *, exact: bool = False
) -> SocketIoSignalling:
    """`off`: how far what is known of the time is after the machine's clock."""
    known = Known(time.time() + off.total_seconds(), exact) if off is not None else NOTHING_KNOWN
    return SocketIoSignalling(
        f"https://127.0.0.1:{hub.port}", lambda: "token", InstanceId("i"), (), SilentJournal(),
        ca_file=ca_file, limits=QUICK, known_time=lambda: known,
    )  # fmt: skip


async def test_a_pinned_authority_is_trusted(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path) as (hub, certificate):
        signalling = over_tls(hub, certificate)
        async with running(signalling):
            await signalling.request(Resync())


async def test_an_unknown_authority_is_not_trusted_and_is_named(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path) as (hub, _):
        signalling = over_tls(hub, None)
        async with running(signalling, wait=False):
            await until(lambda: signalling.status.failed_attempts >= 1)
            assert signalling.status.reason.startswith("the hub's certificate is not trusted: ")
        assert hub.attempts == 0, "the token was not shown"


async def test_an_authority_file_that_comes_later_is_used_without_a_restart(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path) as (hub, certificate):
        late = tmp_path / "ca.pem"
        signalling = over_tls(hub, late)
        async with running(signalling, wait=False) as station:
            await until(lambda: signalling.status.failed_attempts >= 1)
            assert signalling.status.reason == f"{late}: No such file or directory"
            certificate.rename(late)
            await until(lambda: station.links == [True])


async def refused_for(signalling: SocketIoSignalling) -> tuple[str, ErrorCode | None, list[ErrorCode]]:
    journal = signalling._journal
    assert isinstance(journal, SilentJournal)
    async with running(signalling, wait=False):
        await until(lambda: signalling.status.failed_attempts >= 3)
        status = signalling.status
        return status.reason, status.cause, [code for code, _ in journal.lines if code is ErrorCode.CLOCK_WRONG]


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [
        (A_DAY, 2 * A_DAY, "not valid yet by this station's clock, which says "),
        (-2 * A_DAY, -A_DAY, "or this station's"),
    ],
)
async def test_a_certificate_of_another_time_names_the_clock_once(
    tmp_path: Path, begins: timedelta, ends: timedelta, words: str
) -> None:
    async with hub_with_tls(tmp_path, begins, ends) as (hub, certificate):
        reason, cause, told = await refused_for(over_tls(hub, certificate))
        assert words in reason
        assert cause is ErrorCode.CLOCK_WRONG
        assert told == [ErrorCode.CLOCK_WRONG], "attempts go on, the line is not repeated"
        assert hub.attempts == 0


async def test_a_clock_that_is_behind_for_certain_does_not_keep_a_pinned_hub_out(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path, A_DAY, 9 * A_DAY) as (hub, certificate):
        signalling = over_tls(hub, certificate, off=3 * A_DAY)
        async with running(signalling):
            await signalling.request(Resync())


async def test_a_certificate_that_ended_before_what_is_known_to_have_been_is_refused(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path, -A_DAY, A_DAY) as (hub, certificate):
        reason, _, _ = await refused_for(over_tls(hub, certificate, off=3 * A_DAY))
        assert "has ended on" in reason
        assert hub.attempts == 0, "the token was not shown"


@pytest.mark.parametrize("off", [timedelta(days=365), timedelta(days=-365)])
async def test_a_clock_that_jumped_by_a_year_does_not_keep_the_link_down(tmp_path: Path, off: timedelta) -> None:
    """The hub itself has told the time before it was lost."""
    async with hub_with_tls(tmp_path, off - A_DAY, off + A_DAY) as (hub, certificate):
        signalling = over_tls(hub, certificate, off, exact=True)
        async with running(signalling):
            await signalling.request(Resync())


async def test_a_certificate_that_has_not_begun_by_the_hubs_own_time_is_refused(tmp_path: Path) -> None:
    async with hub_with_tls(tmp_path, 9 * A_DAY, 20 * A_DAY) as (hub, certificate):
        reason, _, _ = await refused_for(over_tls(hub, certificate, 3 * A_DAY, exact=True))
        assert "begins on" in reason
        assert hub.attempts == 0


async def test_a_clock_that_is_behind_does_not_let_a_strangers_certificate_in(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger, _ = make_certificate(tmp_path / "other")
    async with hub_with_tls(tmp_path) as (hub, _):
        reason, cause, _ = await refused_for(over_tls(hub, stranger, off=3 * A_DAY))
        assert reason.startswith("the hub's certificate is not trusted: ")
        assert cause is None
        assert hub.attempts == 0


async def test_the_hubs_time_is_heard_with_resyncs_and_heartbeats(hub: Hub) -> None:
    hub.knobs.answer = lambda _: Reply(ok=True, server_time=1000.5)
    heard: list[float] = []
    run = asyncio.create_task(hub.signalling.run(lambda _: None, lambda _: None, heard.append))
    await until(lambda: hub.signalling.status.state == "up")
    await hub.signalling.request(Resync())
    for payload in ({"t": 2000}, {"t": "x"}, {}, {"t": -1}, {"t": 1e300}, {"t": True}):
        await hub.call("heartbeat", payload)
    assert heard == [1000.5, 2000.0]
    run.cancel()
    await asyncio.wait([run])
