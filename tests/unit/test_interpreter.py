"""The interpreter: order of effects, the store's deadline, timers, what goes into the journal."""

import asyncio
from typing import Any

import pytest

from intercomd.core.events import CallPressed, Card, CardChanged, LinkUp, Received, Replied, Unanswered, VolumeChosen
from intercomd.core.protocol import CallAccepted, CallMetrics, InitiateCall, Reply, Resync
from intercomd.core.station import Phase, Settings, Station
from intercomd.core.vocabulary import IceServer, Metrics
from intercomd.device.interpreter import Interpreter, Outside
from intercomd.device.servers import IceServers
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.fakes.probe import FakeProbe
from intercomd.ids import CallId, IdentityId
from intercomd.ports import StoreError, Unreachable

C1 = CallId("c1")


class Diary:
    """Everything outside the interpreter, writing down what it is asked; one list, so that order shows."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.refuse_writes = False
        self.is_written = True
        self.hang_writes = False
        self.reachable = True
        self.status = None

    async def save(self, snapshot: Any, record: Any) -> None:
        if self.hang_writes:
            await asyncio.Event().wait()
        if self.refuse_writes:
            raise StoreError("no space left on the state partition")
        self.lines.append(("saved", snapshot.call.call_id if snapshot.call else None, record))

    async def request(self, request: Any, deadline_s: float) -> Reply:
        self.lines.append(("sent", request))
        if not self.reachable:
            raise Unreachable
        return Reply(ok=True, ice_servers=[IceServer(urls=["stun:192.0.2.1"])])

    def kick(self) -> None:
        self.lines.append(("kick",))

    def start(self, epoch: int, offerer: bool, servers: Any) -> None:
        self.lines.append(("media", epoch, offerer, [server.urls[0] for server in servers]))

    def stop(self) -> None:
        self.lines.append(("media stops",))

    def metrics(self) -> Metrics | None:
        return Metrics(jitter=0.002)

    def open_microphone(self) -> None:
        self.lines.append(("microphone opens",))

    def close_microphone(self) -> None:
        self.lines.append(("microphone closes",))

    def play(self, jingle: Any) -> None:
        self.lines.append(("play", jingle))

    def set_route(self, route: Any) -> None:
        self.lines.append(("route", route))

    def set_volumes(self, volumes: Any) -> None:
        self.lines.append(("volumes", volumes))


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture
def interpreter(diary: Diary, journal: FakeJournal) -> Interpreter:
    station = Station(Settings(peer_id=IdentityId("flat")), card=Card.READY)
    ice = IceServers((), FakeProbe(), lambda: diary.request(Resync(), 5.0), lambda: True, journal)
    outside = Outside(
        diary, diary, diary, diary, journal, lambda: 1000.0, lambda: "lo ipv4", lambda: None, ice, diary.metrics,  # type: ignore[arg-type]
    )  # fmt: skip
    return Interpreter(station, outside, lambda _: None)


async def feed(interpreter: Interpreter, *events: Any) -> None:
    for event in events:
        await interpreter.handle(event)
    while interpreter._requests:
        await asyncio.gather(*interpreter._requests)


async def registered(interpreter: Interpreter) -> None:
    ice = [IceServer(urls=["stun:192.0.2.7"])]
    await feed(interpreter, LinkUp(), Replied(Resync(), Reply(ok=True, calls=(), ice_servers=ice)))


async def test_flash_comes_before_the_wire(interpreter: Interpreter, diary: Diary) -> None:
    await registered(interpreter)
    diary.lines.clear()
    await feed(interpreter, CallPressed(C1))
    assert [line[0] for line in diary.lines] == ["saved", "sent"]


async def test_a_reply_comes_back_as_an_event(interpreter: Interpreter) -> None:
    await registered(interpreter)
    await feed(interpreter, CallPressed(C1))
    events = [interpreter._events.get_nowait() for _ in range(interpreter._events.qsize())]
    assert any(isinstance(event, Replied) and event.request == InitiateCall(C1, "flat") for event in events)


async def test_an_unreachable_hub_comes_back_as_an_event_and_is_tried_at_once(
    interpreter: Interpreter, diary: Diary
) -> None:
    await registered(interpreter)
    diary.reachable = False
    await feed(interpreter, CallPressed(C1))
    events = [interpreter._events.get_nowait() for _ in range(interpreter._events.qsize())]
    assert Unanswered(InitiateCall(C1, "flat")) in events
    assert ("kick",) in diary.lines


@pytest.mark.parametrize("fault", ["refuse_writes", "hang_writes"])
async def test_a_dying_store_never_holds_a_call_up(
    interpreter: Interpreter, diary: Diary, journal: FakeJournal, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intercomd.device.interpreter.PERSIST_LIMIT_S", 0.01)
    await registered(interpreter)
    setattr(diary, fault, True)
    await feed(interpreter, CallPressed(C1))
    assert ("sent", InitiateCall(C1, "flat")) in diary.lines
    assert interpreter.store_failing
    setattr(diary, fault, False)
    await feed(interpreter, Received(CallAccepted(C1, 1, accepter_id="flat", epoch=1)))
    assert not interpreter.store_failing
    told = [code for code in journal.codes if code in (ErrorCode.STORE_FAILING, ErrorCode.STORE_RECOVERED)]
    assert told == [ErrorCode.STORE_FAILING, ErrorCode.STORE_RECOVERED]


async def test_media_gets_the_hubs_ice_servers(interpreter: Interpreter, diary: Diary) -> None:
    await registered(interpreter)
    await feed(interpreter, CallPressed(C1), Received(CallAccepted(C1, 1, accepter_id="flat", epoch=1)))
    assert ("media", 1, True, ["stun:192.0.2.7"]) in diary.lines


async def test_the_record_takes_the_last_figures_along(interpreter: Interpreter, diary: Diary) -> None:
    await registered(interpreter)
    await feed(interpreter, CallPressed(C1), Received(CallAccepted(C1, 1, accepter_id="flat", epoch=1)))
    diary.lines.clear()
    from intercomd.core.events import HangupPressed

    await feed(interpreter, HangupPressed())
    record = next(line[2] for line in diary.lines if line[0] == "saved")
    assert record.metrics == Metrics(jitter=0.002)
    assert ("sent", CallMetrics(C1, Metrics(jitter=0.002))) in diary.lines


async def test_the_journal_gets_the_calls_quality_at_its_end(
    interpreter: Interpreter, diary: Diary, journal: FakeJournal
) -> None:
    from intercomd.core.events import HangupPressed

    await registered(interpreter)
    await feed(interpreter, CallPressed(C1), Received(CallAccepted(C1, 1, accepter_id="flat", epoch=1)))
    interpreter.outside.metrics = lambda: Metrics(
        audio_packets_lost=3, mos=4.21, mouth_to_ear=0.0934, concealed_frames=4800, recovered_frames=960,
        stretched_frames=480, late_packets=2, left_out_packets=1, buffer_target=0.03, erle_db=31.5, xruns=0,
        drift_ppm=-12.0, cpu_ratio=0.12,
    )  # fmt: skip
    await feed(interpreter, HangupPressed())
    (line,) = [line for line in journal.lines if line["MESSAGE_ID"] == ErrorCode.CALL_ENDED.message_id.hex]
    said = {"LOSS_PACKETS": "3", "MOS": "4.21", "MOUTH_TO_EAR_MS": "93.4", "CONCEALED_MS": "100", "XRUNS": "0",
            "RECOVERED_MS": "20", "STRETCHED_MS": "10", "LATE_PACKETS": "2", "LEFT_OUT_PACKETS": "1",
            "BUFFER_TARGET_MS": "30", "ERLE_DB": "31.5", "DRIFT_PPM": "-12", "CPU_RATIO": "0.12"}  # fmt: skip
    assert {name: line.get(name) for name in said} == said


async def test_a_timer_fires_once_and_a_cancelled_one_never(interpreter: Interpreter) -> None:
    runner = asyncio.ensure_future(interpreter.run())
    interpreter.station = Station(Settings(peer_id=IdentityId("flat"), card_wait_s=0.0))
    interpreter.post(CallPressed(C1))
    async with asyncio.timeout(5):
        while interpreter.station.failure is None:
            await asyncio.sleep(0)
    assert interpreter.station.failure.code is ErrorCode.CARD_MISSING
    interpreter.post(CardChanged(Card.READY))
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner
    assert not any(not handle.cancelled() for handle in interpreter._timers.values())


async def test_journal_lines_carry_what_a_technician_needs(interpreter: Interpreter, journal: FakeJournal) -> None:
    await registered(interpreter)
    await feed(interpreter, CallPressed(C1), Received(CallAccepted(C1, 1, accepter_id="flat", epoch=1)))
    fields = journal.lines[-1]
    assert {"CALL_ID", "PEER", "PHASE", "EPOCH", "NETWORK"} <= {name.upper() for name in fields}
    assert interpreter.station.call is not None
    assert interpreter.station.call.phase is Phase.CONNECTING


@pytest.mark.parametrize(("shift_s", "told"), [(-86400.0, True), (5.0, False)])
async def test_the_hubs_time_takes_its_turn_among_the_events(
    interpreter: Interpreter, journal: FakeJournal, shift_s: float, told: bool
) -> None:
    """What was heard before it has the old times, what comes after it the new ones, and the call's times move along."""
    now_s = 1_900_000_000.0
    interpreter.outside.clock = lambda: now_s

    def follow(offset_s: float) -> float:
        nonlocal now_s
        now_s += offset_s
        return offset_s

    interpreter.outside.follow_time = follow
    await registered(interpreter)
    interpreter.post(CallPressed(C1))
    interpreter.hear_hub_time(shift_s)
    running = asyncio.create_task(interpreter.run())
    while now_s == 1_900_000_000.0:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert interpreter.station.call is not None
    assert interpreter.station.call.started_at == now_s
    assert (ErrorCode.CLOCK_SET in journal.codes) is told


async def test_a_disk_that_takes_by_itself_what_it_owed_is_told(
    interpreter: Interpreter, diary: Diary, journal: FakeJournal
) -> None:
    diary.is_written = diary.refuse_writes = True
    await registered(interpreter)
    diary.is_written = False
    await feed(interpreter, CallPressed(C1))
    interpreter.look_at_store()
    assert interpreter.store_failing
    diary.is_written = True
    interpreter.look_at_store()
    interpreter.look_at_store()
    assert not interpreter.store_failing
    assert journal.codes.count(ErrorCode.STORE_RECOVERED) == 1


async def test_what_is_kept_lies_on_flash(interpreter: Interpreter, diary: Diary) -> None:
    runner = asyncio.ensure_future(interpreter.run())
    interpreter.post(VolumeChosen(40, "ring"))
    assert await interpreter.kept()
    assert [line[0] for line in diary.lines] == ["volumes", "saved"]
    diary.refuse_writes = True
    interpreter.post(VolumeChosen(50, "ring"))
    assert not await interpreter.kept(), "a disk that takes nothing keeps nothing"
    gone = asyncio.ensure_future(interpreter.kept())
    await asyncio.sleep(0)
    gone.cancel()
    assert not await interpreter.kept(), "who waited may go"
    runner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await runner
