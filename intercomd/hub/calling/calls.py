"""What the rest of the hub needs of whoever owns the calls: `hub/calling/registry.py` for one process,
`hub/shared/registry.py` for several."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, tzinfo
from typing import Any

from intercomd.core.admission import Silence, nobody
from intercomd.core.legs import Endpoint, HubCall, Limits, Party
from intercomd.core.protocol import Code, InitiateCall, KnownCall, Notice, Reply
from intercomd.core.switchboard import CallRequest
from intercomd.core.vocabulary import CallState, HubPhase
from intercomd.hub.calling import ringing
from intercomd.hub.calling.presence import Presence
from intercomd.hub.clock import HubClock
from intercomd.hub.history.records import Figures
from intercomd.hub.people.directory import Directory
from intercomd.hub.storage.database import Database
from intercomd.ids import CallId, IdentityId
from intercomd.ports import Journal

Deliver = Callable[[Endpoint, Notice], Awaitable[None]]
OnChange = Callable[[HubCall | None, HubCall], None]
OnMeasured = Callable[[Iterable[Figures]], None]

NOT_NOW = Reply(ok=False, code=Code.TRY_AGAIN, message="the hub cannot write its database at the moment")


Asked = Callable[[Endpoint, str, dict[str, Any], float], Awaitable[object]]
"""A device, an event, its payload, how long to wait; the acknowledgement. Raises `TimeoutError`."""


async def _nothing() -> None:
    return


async def _unheard(_device: Endpoint, _event: str, _payload: dict[str, Any], _limit_s: float) -> object:
    raise TimeoutError("this device is not connected here")


class Calls(ABC):
    """Every call. All methods on the event loop; `run` must be running for anything to be answered. What could not be
    written has not happened: whoever asked is told `try_again`."""

    def __init__(
        self,
        database: Database,
        presence: Presence,
        deliver: Deliver,
        journal: Journal,
        *,
        clock: HubClock,
        limits: Limits,
        zone: tzinfo = UTC,
    ) -> None:
        self.directory = Directory()
        self.is_writing = True
        """Whether the database was written when it was last tried."""
        self.on_change: OnChange = lambda _before, _after: None
        """Hears of each new state when it is written."""
        self.on_measured: OnMeasured = lambda _figures: None
        """Hears of the figures that are kept with records."""
        self.reachable: Silence = nobody
        """Whose phone can be woken by a push message."""
        self.on_directory: Callable[[], Awaitable[None]] = _nothing
        """Awaited when another process has changed the directory."""
        self.on_asked: Asked = _unheard
        """Puts a question of another process to a device that is connected here."""
        self._database = database
        self._presence = presence
        self._deliver = deliver
        self._journal = journal
        self._clock = clock
        self._limits = limits
        self._zone = zone

    @property
    @abstractmethod
    def open_calls(self) -> int:
        """How many there are."""

    @abstractmethod
    def phases(self) -> Counter[HubPhase]:
        """How many open calls are in which phase."""

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Decisions that are not written yet."""

    @abstractmethod
    async def load(self) -> None:
        """Take up the calls of the hub that ran before. Raises `DatabaseError`."""

    async def ask_elsewhere(
        self, process: str, device: Endpoint, event: str, payload: dict[str, Any], limit_s: float
    ) -> object:
        """The acknowledgement of a device that another process has a connection to. Raises `TimeoutError`."""
        raise TimeoutError(f"no process {process} to ask {device} with {event} {sorted(payload)} for {limit_s} s")

    @abstractmethod
    async def run(self) -> None:
        """Until cancelled. What ends it should end the process."""

    @abstractmethod
    async def drain(self, limit_s: float) -> None:
        """Wait until everything decided is committed, for so long at most; then let go of the timers."""

    @abstractmethod
    async def find(self, call_id: CallId) -> HubCall | None:
        """An open call, or one that has ended lately."""

    @abstractmethod
    def is_engaged(self, identity: IdentityId) -> bool:
        """Whether one of its devices has a part in an open call."""

    @abstractmethod
    async def initiate(self, caller: Party, request: InitiateCall) -> Reply: ...

    @abstractmethod
    async def request(self, sender: Endpoint, request: CallRequest) -> Reply:
        """Any other request about a call."""

    @abstractmethod
    async def resync(self, party: Party, known: Sequence[KnownCall]) -> tuple[CallState, ...]:
        """The truth for this device: its open calls, and those that it names, if only to say that they are
        over."""

    @abstractmethod
    async def returned(self, party: Party) -> None:
        """This device is there (again). Idempotent."""

    @abstractmethod
    def vanished(self, endpoint: Endpoint) -> None:
        """The last socket of this device is gone."""

    @abstractmethod
    def unreached(self, call_id: CallId, identities: tuple[IdentityId, ...]) -> None:
        """No phone of these could be woken for this call."""

    @abstractmethod
    def leave(self, endpoint: Endpoint) -> None:
        """Take this device out of its call, as if it had hung up. Where it only rings, it is left to ring: a refusal
        would speak for the person's other devices, too."""

    @abstractmethod
    def review(self) -> None:
        """Let those who wait in a queue hear what is new to them: somebody is free, or their place is another."""

    @abstractmethod
    def rest(self) -> None:
        """Where no call depends on it, the hub's clock follows the wall clock, which somebody may have set."""

    def _silence(self, now_s: float) -> Silence:
        return ringing.silence(self.directory, now_s, self._zone)


def has_freed(before: HubCall | None, after: HubCall | None) -> bool:
    """Whether a device may have got free by this."""
    if before is None or after is before:
        return False
    taken = {leg.endpoint for leg in after.open_legs} if after is not None else set()
    return any(leg.endpoint not in taken for leg in before.open_legs)
