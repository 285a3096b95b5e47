"""Records of calls as stations upload them, in batches of 200 of which a tenth is there already."""

import time
from dataclasses import dataclass
from typing import Final

from intercomd.core.vocabulary import CallRecord, EndReason, Metrics
from intercomd.hub.history import records
from intercomd.hub.storage.database import Database
from intercomd.ids import IdentityId
from tests.bench.hub.servers import station

ROWS: Final = 60_000
BATCH: Final = 200
TWICE: Final = 10
"""Each so many-th row comes once more."""


@dataclass(frozen=True, slots=True)
class Recorded:
    rows: int
    per_s: float


async def recording(url: str) -> Recorded:
    """Through the hub's own path for `upload_records`, without the network. Raises `DatabaseError`."""
    database = Database(url)
    await database.open()
    made = [_record(number - number % TWICE // (TWICE - 1)) for number in range(ROWS)]
    try:
        began_s = time.monotonic()
        for start in range(0, ROWS, BATCH):
            await records.upload(database, IdentityId(station(0)), made[start : start + BATCH])
        return Recorded(ROWS, ROWS / (time.monotonic() - began_s))
    finally:
        await database.close()


def _record(number: int) -> CallRecord:
    at_s = 1_700_000_000.0 + number
    return CallRecord(
        call_id=f"record-{number}",
        peer_id=IdentityId(station(1)),
        role="caller",
        started_at=at_s,
        answered_at=at_s + 3,
        ended_at=at_s + 63,
        end_reason=EndReason.COMPLETED,
        metrics=Metrics(),
    )
