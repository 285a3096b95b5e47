"""Records that wait on flash go to the hub in batches whenever it has us registered."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from intercomd.core.protocol import Code, UploadRecords
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES, MAX_RECORDS_PER_UPLOAD, CallRecord
from intercomd.errors import ErrorCode
from intercomd.ports import Journal, Signalling, Store, StoreError, Unreachable

MAX_BATCH_BYTES = MAX_MESSAGE_BYTES // 2
"""A hub drops the connection of whoever sends more than MAX_MESSAGE_BYTES at once; 200 records can be more."""
RETRY_S = 10.0
PASSING = frozenset({Code.TRY_AGAIN, Code.RATE_LIMITED})
"""Refusals that say nothing against the records themselves."""


def batch(records: Sequence[CallRecord]) -> tuple[CallRecord, ...]:
    """As many of the oldest records as fit into one message; at least one."""
    taken, size = 0, 0
    for record in records:
        size += len(msgspec.json.encode(record)) + 1
        if taken and size > MAX_BATCH_BYTES:
            break
        taken += 1
    return tuple(records[:taken])


class Outbox:
    """One upload at a time. What the hub has not acknowledged stays on flash and is sent again: at the next resync or
    end of a call, and every `retry_s` until then, since an acknowledgement may be lost while the link stays up."""

    def __init__(self, store: Store, signalling: Signalling, journal: Journal, retry_s: float = RETRY_S) -> None:
        self._store = store
        self._signalling = signalling
        self._journal = journal
        self._retry_s = retry_s
        self._wanted = asyncio.Event()
        self._refused = ""

    def flush(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        is_left = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._retry_s if is_left else None):
                    await self._wanted.wait()
            self._wanted.clear()
            is_left = await self._empty()

    async def _empty(self) -> bool:
        """Upload what waits; whether something is left."""
        try:
            while records := batch(await self._store.waiting_records(MAX_RECORDS_PER_UPLOAD)):
                if not await self._upload(records):
                    return True
        except Unreachable:
            return True
        except StoreError as error:
            self._journal.report(ErrorCode.STORE_FAILING, reason=str(error))
        return False

    async def _upload(self, records: Sequence[CallRecord]) -> bool:
        reply = await self._signalling.request(UploadRecords(tuple(records)), 10.0)
        if reply.ok:
            await self._store.forget_records([record.call_id for record in records])
            self._refused = ""
        elif self._refused != str(reply.code):  # each refusal once, however often it is tried
            self._refused = str(reply.code)
            named = ErrorCode.RECORDS_WAITING if reply.code in PASSING else ErrorCode.BAD_MESSAGE
            self._journal.report(named, reason=f"the hub refused records: {reply.code}")
        return reply.ok
