"""The open calls in memory and the ways to find them: by id, by a device's open leg, by ringing at an
identity."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from intercomd.core import waiting
from intercomd.core.admission import concerned
from intercomd.core.legs import Endpoint, HubCall
from intercomd.core.vocabulary import HubPhase
from intercomd.ids import CallId

RECENT_CALLS = 1000
"""Ended calls that are kept, for the requests that arrive after the end: most come at once."""


class Ledger:
    """What the reducer has decided last, whether committed or not."""

    def __init__(self) -> None:
        self._open: dict[CallId, HubCall] = {}
        self._ringing: set[CallId] = set()
        self._waiting: dict[CallId, HubCall] = {}
        self._legs: dict[Endpoint, HubCall] = {}
        self._recent: OrderedDict[CallId, HubCall] = OrderedDict()

    def get(self, call_id: CallId) -> HubCall | None:
        """An open call or one that ended lately; None says nothing about older ones."""
        return self._open.get(call_id) or self._recent.get(call_id)

    @property
    def legs(self) -> Mapping[Endpoint, HubCall]:
        """Every open leg, as admission asks for them."""
        return self._legs

    @property
    def queue(self) -> tuple[HubCall, ...]:
        """The calls that wait for somebody to get free, the first comer first."""
        return waiting.queue(self._waiting.values()) if self._waiting else ()

    def __iter__(self) -> Iterator[HubCall]:
        return iter(tuple(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def concerned(self, endpoint: Endpoint) -> tuple[HubCall, ...]:
        """The open calls that this device may have a part in."""
        candidates = {call_id: self._open[call_id] for call_id in self._ringing}
        own = self._legs.get(endpoint)
        if own is not None:
            candidates[own.call_id] = own
        return concerned(candidates.values(), endpoint)

    def replace(self, before: HubCall | None, after: HubCall | None) -> None:
        """`after` now stands where `before` stood; None means no such call."""
        if before is not None:
            self._remove(before)
        if after is None:
            return
        if after.phase is HubPhase.ENDED:
            self.remember(after)
            return
        self._open[after.call_id] = after
        if after.phase is HubPhase.RINGING:
            self._ringing.add(after.call_id)
            if waiting.is_waiting(after):
                self._waiting[after.call_id] = after
        for leg in after.open_legs:
            self._legs[leg.endpoint] = after

    def remember(self, call: HubCall) -> None:
        """Keep an ended call at hand."""
        self._recent[call.call_id] = call
        self._recent.move_to_end(call.call_id)
        if len(self._recent) > RECENT_CALLS:
            self._recent.popitem(last=False)

    def _remove(self, call: HubCall) -> None:
        self._open.pop(call.call_id, None)
        self._recent.pop(call.call_id, None)
        self._ringing.discard(call.call_id)
        self._waiting.pop(call.call_id, None)
        for leg in call.open_legs:
            if self._legs.get(leg.endpoint) is call:
                del self._legs[leg.endpoint]
