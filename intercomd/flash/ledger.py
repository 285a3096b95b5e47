"""What a station wants on flash: noted by the event loop, struck out by the store's thread when it is committed.

So a write that failed or came too late is not lost, and several waiting writes become one that holds the newest state.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from intercomd.core.snapshot import Snapshot, pack
from intercomd.core.vocabulary import CallRecord

MAX_RECORDS = 2000
"""Years of calls for a station without a hub; some 500 KiB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one transaction writes. `version` counts the notes that it contains."""

    version: int
    snapshot: bytes | None
    records: tuple[tuple[str, bytes], ...]
    forgotten: frozenset[str]


@dataclass(slots=True)
class Ledger:
    """What is to be on flash. Written by the loop, struck out by the thread."""

    version: int = 0
    snapshot: bytes | None = None
    has_call: bool = False
    records: dict[str, bytes] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    dropped: int = 0
    written: int = 0
    """The newest version that is on flash."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, snapshot: Snapshot, record: CallRecord | None) -> int:
        """The version that a transaction must have to contain this."""
        with self.lock:
            self.version += 1
            self.snapshot, self.has_call = pack(snapshot), snapshot.call is not None
            if record is not None:
                self.keep(record.call_id, msgspec.json.encode(record))
            return self.version

    def keep(self, call_id: str, record: bytes) -> None:
        self.forgotten.discard(call_id)
        self.records.pop(call_id, None)
        self.records[call_id] = record
        if len(self.records) > MAX_RECORDS:
            del self.records[next(iter(self.records))]
            self.dropped += 1

    def forget(self, call_ids: Sequence[str]) -> int:
        with self.lock:
            self.version += 1
            for call_id in call_ids:
                self.records.pop(call_id, None)
                self.forgotten.add(call_id)
            return self.version

    def read(self) -> Entry:
        with self.lock:
            return Entry(self.version, self.snapshot, tuple(self.records.items()), frozenset(self.forgotten))

    def strike_out(self, entry: Entry) -> None:
        """What was committed, and only that: later notes of the same calls stay."""
        with self.lock:
            self.written = max(self.written, entry.version)
            self.forgotten -= entry.forgotten
            for call_id, record in entry.records:
                if self.records.get(call_id) is record:
                    del self.records[call_id]
