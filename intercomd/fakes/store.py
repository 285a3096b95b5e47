"""A store in memory that fails, hangs and finds damage when it is told to. What it holds survives on a `FakeDisk`."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from intercomd.core.snapshot import Snapshot, SnapshotError, pack, unpack
from intercomd.core.vocabulary import CallRecord
from intercomd.flash.ledger import MAX_RECORDS
from intercomd.ids import InstanceId, fresh_instance_id
from intercomd.ports import Loaded, StoreError


@dataclass
class FakeDisk:
    """What a reboot leaves. Knobs: `raw` may be set to anything, `failing` to a reason (reads go on, writes fail),
    `slow_s` to how long each write takes, `age_s` to what the next load says."""

    raw: bytes = b""
    instance: InstanceId = field(default_factory=fresh_instance_id)
    records: dict[str, CallRecord] = field(default_factory=dict)
    failing: str | None = None
    slow_s: float = 0.0
    age_s: float | None = 0.0
    writes: int = 0
    aside: list[bytes] = field(default_factory=list)


class FakeStore:
    """`ports.Store`. As the real one, it keeps what a failed write could not store and writes it with the next."""

    def __init__(self, disk: FakeDisk | None = None) -> None:
        self.disk = disk or FakeDisk()
        self.dropped_records = 0
        self.failing: str | None = None
        self._last: asyncio.Task[str | None] | None = None
        self._raw = b""
        self._records: dict[str, CallRecord] = {}
        self._closed = False

    async def load(self) -> Loaded:
        quarantined = None
        self._records = dict(self.disk.records)
        try:
            snapshot = unpack(self.disk.raw) if self.disk.raw else Snapshot()
        except SnapshotError as error:
            self.disk.aside = [*self.disk.aside, self.disk.raw][-3:]
            quarantined, snapshot = str(error), Snapshot()
        if self.disk.failing is not None and not self.disk.raw:
            raise StoreError(self.disk.failing)
        self._raw = self.disk.raw = pack(snapshot)
        return Loaded(snapshot, self.disk.instance, self.disk.age_s, quarantined)

    async def save(self, snapshot: Snapshot, record: CallRecord | None) -> None:
        if record is not None:
            self._records.pop(record.call_id, None)
            self._records[record.call_id] = record
            while len(self._records) > MAX_RECORDS:
                del self._records[next(iter(self._records))]
                self.dropped_records += 1
        self._raw = pack(snapshot)
        await self._write()

    async def waiting_records(self, limit: int) -> Sequence[CallRecord]:
        return list(self._records.values())[:limit]

    async def forget_records(self, call_ids: Sequence[str]) -> None:
        for call_id in call_ids:
            self._records.pop(call_id, None)
        with contextlib.suppress(StoreError):
            await self._write()

    @property
    def is_written(self) -> bool:
        return (self._raw, self._records) == (self.disk.raw, self.disk.records)

    async def close(self) -> None:
        self._closed = True
        if self._last is not None:
            await asyncio.wait([self._last])

    async def _write(self) -> None:
        """In order, and to its end even where the caller's deadline has passed."""
        if self._closed:
            raise StoreError("the store is closed")
        self._last = asyncio.create_task(self._land(self._last, self._raw, dict(self._records)))
        failing = await asyncio.shield(self._last)
        if failing is not None:
            raise StoreError(failing)

    async def _land(
        self, before: "asyncio.Task[str | None] | None", raw: bytes, records: dict[str, CallRecord]
    ) -> str | None:
        if before is not None:
            await asyncio.wait([before])
        if self.disk.slow_s:
            await asyncio.sleep(self.disk.slow_s)
        self.failing = self.disk.failing
        if self.failing is None and (raw, records) != (self.disk.raw, self.disk.records):
            self.disk.raw, self.disk.records = raw, records
            self.disk.writes += 1
        return self.failing
