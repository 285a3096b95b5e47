"""The same daemons with one mistake planted in each: the controls that must fail.

python -m tests.bench.recovery.kills_planted MISTAKE device|hub --config FILE
"""

import sys
from collections.abc import Callable, Mapping, Sequence

from intercomd.__main__ import main
from intercomd.adapters.sqlite import SqliteStore
from intercomd.core import call
from intercomd.core.events import Event, Received, Replied, TimerFired
from intercomd.core.protocol import Resync
from intercomd.core.snapshot import Snapshot
from intercomd.core.station import Phase, Station, Step
from intercomd.core.vocabulary import CallRecord
from intercomd.hub.history import records


def rings_on() -> None:
    """A station that rings hears of no end of the ringing but its own buttons."""
    handle = call.handle

    def deaf(station: Station, event: Event, now_s: float) -> Step:
        rings = station.call is not None and station.call.phase is Phase.RINGING_IN
        ends = isinstance(event, TimerFired | Received) or (isinstance(event, Replied) and _is_resync(event))
        return (station, ()) if rings and ends else handle(station, event, now_s)

    call.handle = deaf


def _is_resync(event: Replied) -> bool:
    return isinstance(event.request, Resync)


def forgets_records() -> None:
    """A station sends its records and keeps none: what the hub does not hear at once is lost."""
    save = SqliteStore.save
    kept: dict[str, CallRecord] = {}

    async def save_state(self: SqliteStore, snapshot: Snapshot, record: CallRecord | None) -> None:
        if record is not None:
            kept[record.call_id] = record
        await save(self, snapshot, None)

    async def waiting(self: SqliteStore, limit: int) -> Sequence[CallRecord]:
        return list(kept.values())[:limit]

    async def forget(self: SqliteStore, call_ids: Sequence[str]) -> None:
        for call_id in call_ids:
            kept.pop(call_id, None)

    SqliteStore.save, SqliteStore.waiting_records, SqliteStore.forget_records = save_state, waiting, forget  # type: ignore[method-assign]


def writes_twice() -> None:
    """The hub takes a station's record of a call for a call of its own."""
    records.is_participant = lambda _call, _identity: False  # type: ignore[attr-defined]


PLANTED: Mapping[str, Callable[[], None]] = {
    "rings on": rings_on,
    "forgets records": forgets_records,
    "writes twice": writes_twice,
}
"""Each mistake by its name, as a sentence says it: a station rings on, a station forgets, the hub writes twice."""

if __name__ == "__main__":
    PLANTED[sys.argv[1]]()
    sys.exit(main(sys.argv[2:]))
