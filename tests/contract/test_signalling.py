"""The link's contract, on the fake and over Socket.IO: what a station may rely on."""

import asyncio
import time

import engineio
import pytest

from intercomd.core.protocol import CallInitiated, Code, DoorCommand, DoorReply, EndCall, InitiateCall, Reply, Resync
from intercomd.core.vocabulary import CallState, HubPhase, encode
from intercomd.errors import ErrorCode
from intercomd.ports import Unreachable
from tests.contract.signalling_rig import Hub, Json, ended, hub, running, until

__all__ = ("hub",)


def reported(hub: Hub, code: ErrorCode) -> list[dict[str, str | int | float]]:
    return [fields for found, fields in hub.journal.lines if found is code]


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


async def test_a_door_command_is_carried_out_at_once_and_its_outcome_is_the_acknowledgement(hub: Hub) -> None:
    carried_out: list[DoorCommand] = []

    def open_door(command: DoorCommand) -> DoorReply:
        carried_out.append(command)
        return DoorReply(ok=True, switched=True)

    run = asyncio.create_task(hub.signalling.run(lambda _: None, lambda _: None, lambda _: None, open_door))
    await until(lambda: hub.signalling.status.state == "up")
    assert await hub.call("door_command", {"commandId": "d", "ttlMs": 2000}) == {"ok": True, "switched": True}
    for wrong in ({}, {"commandId": "d"}, {"commandId": "d", "ttlMs": 0}, {"commandId": 7, "ttlMs": 2000}, "open"):
        assert (await hub.call("door_command", wrong))["code"] == "bad_request"
    assert carried_out == [DoorCommand("d", 2000)]
    run.cancel()
    await asyncio.wait([run])


async def test_without_a_door_a_command_is_refused(hub: Hub) -> None:
    async with running(hub.signalling):
        reply = await hub.call("door_command", {"commandId": "d", "ttlMs": 2000})
        assert (reply["ok"], reply["code"]) == (False, "no_door")


async def test_a_door_that_raises_ends_the_link_and_is_not_swallowed(hub: Hub) -> None:
    def broken(_: DoorCommand) -> DoorReply:
        raise ZeroDivisionError

    task = asyncio.create_task(hub.signalling.run(lambda _: None, lambda _: None, lambda _: None, broken))
    await until(lambda: hub.signalling.status.state == "up")
    await hub.send("door_command", {"commandId": "d", "ttlMs": 2000})
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(task, 5.0)


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
