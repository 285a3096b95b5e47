"""Waiting records reach the hub in messages that it takes."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from intercomd.core.protocol import Code, Reply, UploadRecords
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES, CallRecord, EndReason, Metrics, encode
from intercomd.device.outbox import Outbox, batch
from intercomd.errors import ErrorCode
from intercomd.fakes.journal import FakeJournal
from intercomd.ports import Unreachable


def record(number: int) -> CallRecord:
    figures = Metrics(
        0.0651234, 3, 12345, 0.00017321, 0.0007212, 61.049123, 0.00123, 0.0400001, 0.0301, 28_800_000, 9600, 4800, 12,
        36_000, 17, 21, 0.0934, 4.21, 31.5, 3, -12.5, 0.1234,
    )  # fmt: skip
    return CallRecord(f"{number:032x}" * 2, "x" * 100, "caller", EndReason.COMPLETED, 1.7e9, 1.8e9, 1.75e9, figures)


class Shelf:
    """A store's outbox and a hub in one."""

    def __init__(self, records: int) -> None:
        self.waiting = [record(number) for number in range(records)]
        self.taken: list[str] = []
        self.sizes: list[int] = []
        self.away = False
        self.refuses: Code | None = None
        self.asked = 0

    async def waiting_records(self, limit: int) -> list[CallRecord]:
        return self.waiting[:limit]

    async def forget_records(self, call_ids: list[str]) -> None:
        self.waiting = [one for one in self.waiting if one.call_id not in call_ids]

    async def request(self, request: Any, deadline_s: float) -> Reply:
        self.asked += 1
        if self.away:
            raise Unreachable
        if self.refuses is not None:
            return Reply(ok=False, code=self.refuses)
        assert isinstance(request, UploadRecords)
        self.sizes.append(len(msgspec.json.encode(encode(request))))
        self.taken += [one.call_id for one in request.records]
        return Reply(ok=True)


@pytest.mark.parametrize("records", [1, 199, 200, 450])
async def test_all_waiting_records_arrive_in_messages_that_the_hub_takes(records: int) -> None:
    shelf = Shelf(records)
    wanted = [one.call_id for one in shelf.waiting]
    running = asyncio.ensure_future(run(shelf))
    while shelf.waiting:
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert shelf.taken == wanted
    assert max(shelf.sizes) < MAX_MESSAGE_BYTES


async def run(shelf: Shelf, journal: FakeJournal | None = None, retry_s: float = 60.0) -> None:
    outbox = Outbox(shelf, shelf, journal or FakeJournal(), retry_s)  # type: ignore[arg-type]
    outbox.flush()
    await outbox.run()


async def test_what_an_unreachable_hub_did_not_take_stays() -> None:
    shelf = Shelf(3)
    shelf.away = True
    running = asyncio.ensure_future(run(shelf))
    for _ in range(10):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(shelf.waiting) == 3


async def turns_until(reached: Callable[[], bool], most: int = 1000) -> None:
    """Let the loop turn; a limit, so that an outbox that stands still fails the test."""
    for _ in range(most):
        if reached():
            return
        await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["no answer", "refused for now"])
async def test_what_the_hub_did_not_take_is_offered_again_while_the_link_stays_up(how: str) -> None:
    """No resync comes: an acknowledgement was lost, or the hub's disk was busy."""
    shelf, journal = Shelf(3), FakeJournal()
    shelf.away, shelf.refuses = how == "no answer", Code.TRY_AGAIN
    running = asyncio.ensure_future(run(shelf, journal, retry_s=0.0))
    await turns_until(lambda: shelf.asked >= 4)
    assert shelf.asked >= 4
    shelf.away, shelf.refuses = False, None
    await turns_until(lambda: not shelf.waiting)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(shelf.taken) == 3
    told = [ErrorCode.RECORDS_WAITING] if how == "refused for now" else []
    assert journal.codes == told, "a refusal is told once, and nobody blames the records"


def test_a_single_record_always_goes() -> None:
    assert len(batch([record(1)])) == 1
    assert batch([]) == ()
