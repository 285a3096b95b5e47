"""The link over real sockets: tokens, black holes, garbage, reconnects without end."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import engineio
import pytest

from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.config.mistakes import ConfigError, Mistake
from intercomd.core.link import Limits
from intercomd.core.protocol import CallInitiated, EndCall, Reply, Resync, WebrtcOffer
from intercomd.core.vocabulary import MAX_SDP_CHARS, Sdp
from intercomd.ids import InstanceId
from intercomd.ports import Unreachable
from tests.contract.loopback_hub import ACCEPT, OPEN, STALL, WAIT, LoopbackHub, black_hole, free_port, raw_hub
from tests.contract.signalling_rig import QUICK, OverSockets, hub, running, until

__all__ = ("hub",)


@pytest.fixture
async def sockets() -> AsyncIterator[OverSockets]:
    server = await LoopbackHub().start()
    yield OverSockets(server)
    await server.stop()


def _client_of(hub: OverSockets) -> Any:
    """The library's client of the connection that stands."""
    (connection,) = hub.signalling._connections.values()
    return connection._client  # type: ignore[attr-defined]


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
