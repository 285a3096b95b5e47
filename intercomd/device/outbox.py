"""Records that wait on flash go to the hub in batches whenever it has us registered."""

import asyncio
from collections.abc import Sequence

import msgspec

from intercomd.core.protocol import MAX_MESSAGE_BYTES, MAX_RECORDS_PER_UPLOAD, CallRecord, UploadRecords
from intercomd.errors import ErrorCode
from intercomd.ports import Journal, Signalling, Store, StoreError, Unreachable

MAX_BATCH_BYTES = MAX_MESSAGE_BYTES // 2
"""A hub drops the connection of whoever sends more than MAX_MESSAGE_BYTES at once; 200 records can be more."""


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
    """One upload at a time. What the hub has not acknowledged stays on flash and is sent again."""

    def __init__(self, store: Store, signalling: Signalling, journal: Journal) -> None:
        self._store = store
        self._signalling = signalling
        self._journal = journal
        self._wanted = asyncio.Event()

    def flush(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while await self._upload():
                    pass
            except Unreachable:
                continue  # the next resync wants it again
            except StoreError as error:
                self._journal.report(ErrorCode.STORE_FAILING, reason=str(error))

    async def _upload(self) -> bool:
        records = batch(await self._store.waiting_records(MAX_RECORDS_PER_UPLOAD))
        if not records:
            return False
        reply = await self._signalling.request(UploadRecords(records), 10.0)
        if not reply.ok:
            self._journal.report(ErrorCode.BAD_MESSAGE, reason=f"the hub refused records: {reply.code}")
            return False
        await self._store.forget_records([record.call_id for record in records])
        return True
