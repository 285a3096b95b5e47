"""What the store has promised at an instant, told by marks around each call of it, and whether what a crash left
keeps it: nothing acknowledged is lost, nothing that is over comes back."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import msgspec

from intercomd.core.snapshot import Snapshot, pack
from intercomd.core.vocabulary import CallRecord

Records = frozenset[tuple[str, str]]
"""Call ids with the digests of their records."""


def digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=8).hexdigest()


def records_of(records: Sequence[CallRecord]) -> Records:
    return frozenset((record.call_id, digest(msgspec.json.encode(record))) for record in records)


@dataclass(frozen=True, slots=True)
class State:
    """A snapshot, shortened: two of them are equal where their bytes are."""

    digest: str
    call_id: str | None

    @classmethod
    def of(cls, snapshot: Snapshot) -> "State":
        return cls(digest(pack(snapshot)), snapshot.call.call_id if snapshot.call else None)


EMPTY = State.of(Snapshot())


@dataclass(frozen=True, slots=True)
class Found:
    """What the shipped store read after a crash; `problem` where it could not, or had to set the file aside."""

    instance: str = ""
    state: State = EMPTY
    records: Records = frozenset()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """`done` False: the store is about to be asked; True: it has answered."""

    what: str
    done: bool
    instance: str = ""
    state: State | None = None
    records: Records = frozenset()

    def to_json(self) -> str:
        return json.dumps(
            {
                "what": self.what,
                "done": self.done,
                "instance": self.instance,
                "state": [self.state.digest, self.state.call_id] if self.state else None,
                "records": sorted(self.records),
            }
        )

    @classmethod
    def from_json(cls, raw: str) -> "Mark":
        fields: dict[str, Any] = json.loads(raw)
        state = State(*fields["state"]) if fields["state"] else None
        records = frozenset((call_id, content) for call_id, content in fields["records"])
        return cls(fields["what"], fields["done"], fields["instance"], state, records)


def opening() -> Mark:
    return Mark("open", False)


def opened(found: Found) -> Mark:
    """What was read: it may not be unread by a second crash."""
    return Mark("open", True, found.instance, found.state, found.records)


def saving(snapshot: Snapshot, record: CallRecord | None) -> Mark:
    return Mark("save", False, state=State.of(snapshot), records=records_of([record] if record else []))


def forgetting(records: "list[CallRecord]") -> Mark:
    return Mark("forget", False, records=records_of(records))


def saved() -> Mark:
    return Mark("save", True)


def forgotten() -> Mark:
    return Mark("forget", True)


@dataclass(frozen=True, slots=True)
class Promise:
    """`states` are all that were ever to be written, from the oldest; the last acknowledged one is `states[floor]`.
    Nothing is acknowledged before the first start has ended: `instance` is empty until then."""

    instance: str = ""
    states: tuple[State, ...] = (EMPTY,)
    floor: int = 0
    kept: Records = frozenset()
    """Acknowledged, and nobody asked to forget them."""
    coming: Records = field(default=frozenset())
    leaving: Records = field(default=frozenset())

    def after(self, mark: Mark) -> "Promise":
        match mark.what, mark.done:
            case "open", True:
                return self._opened(mark)
            case "save", False:
                assert mark.state is not None
                return replace(self, states=(*self.states, mark.state), coming=self.coming | mark.records)
            case "forget", False:
                return replace(
                    self,
                    kept=self.kept - mark.records,
                    coming=self.coming - mark.records,
                    leaving=self.leaving | mark.records,
                )
            case _, True:  # one transaction holds everything that had waited
                nothing: Records = frozenset()
                return replace(
                    self, floor=len(self.states) - 1, kept=self.kept | self.coming, coming=nothing, leaving=nothing
                )
            case _:
                return self

    def _opened(self, mark: Mark) -> "Promise":
        assert mark.state is not None
        newest = max(number for number, state in enumerate(self.states) if state == mark.state)
        nothing: Records = frozenset()
        return replace(self, instance=mark.instance, floor=newest, kept=mark.records, coming=nothing, leaving=nothing)

    def broken_by(self, found: Found) -> str:
        """Empty, or what is wrong."""
        if found.problem:
            return f"unreadable: {found.problem}"
        if self.instance and found.instance != self.instance:
            return "lost: the instance id is another one"
        allowed = self.states[self.floor :]
        if found.state not in allowed:
            return self._wrong_state(found.state)
        missing = self.kept - found.records
        if missing:
            return f"lost: {len(missing)} of {len(self.kept)} acknowledged records"
        strange = found.records - self.kept - self.coming - self.leaving
        return f"resurrected: {len(strange)} records that the hub has taken" if strange else ""

    def _wrong_state(self, state: State) -> str:
        """The call of an older state that no allowed one has is a ghost."""
        if state not in self.states:
            return "corrupt: a state that nobody wrote"
        number = max(index for index, old in enumerate(self.states) if old == state)
        ghost = state.call_id is not None and state.call_id not in {new.call_id for new in self.states[self.floor :]}
        return f"lost: state {number} came back, {self.floor} was acknowledged" + (" (a ghost call)" if ghost else "")
