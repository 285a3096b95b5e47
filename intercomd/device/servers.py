"""STUN and TURN servers of the configuration and of the hub, looked at in the background: a call gets those that answer
and whose credentials are good, and waits for none that does not.

A server that answers is looked at once a minute, one that does not after 2, 4, 8, ... s; all of them at once when the
network has changed or a connection has failed. Credentials that the hub issued are renewed before half their life is
over, so that a long call has good ones when its connection has to be rebuilt.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from intercomd.core.protocol import Reply
from intercomd.core.vocabulary import IceServer
from intercomd.device.choice import Entry, Key, best, entries, expiry, life_s
from intercomd.errors import ErrorCode
from intercomd.ports import Journal, Probe, Probed, Unreachable, Verdict

FIRST_RETRY_S = 2.0
RENEWED_AT = 0.45
"""Of the credentials' life."""
RENEWAL_RETRY_S = 10.0
AT_ONCE = 4
"""Probes that run at the same time."""
_SPREAD = 0.1
"""Stations that started together do not ask together for ever."""
_CODES = {
    Verdict.REFUSED: ErrorCode.ICE_CREDENTIALS_REFUSED,
    Verdict.UNREACHABLE: ErrorCode.ICE_SERVER_UNREACHABLE,
    Verdict.UNSUPPORTED: ErrorCode.ICE_SERVER_UNSUPPORTED,
}


class IceServers:
    """`ask` gets fresh servers from the hub, and raises `Unreachable`; `linked` says whether the hub is there: without
    it the fault is nearer than a server, and nothing is told. Methods on the event loop."""

    def __init__(
        self, configured: Sequence[IceServer], probe: Probe, ask: Callable[[], Awaitable[Reply]],
        linked: Callable[[], bool], journal: Journal, *, probe_s: float = 60.0, relay_only: bool = False,
    ) -> None:  # fmt: skip
        self._configured = configured
        self._probe = probe
        self._ask = ask
        self._linked = linked
        self._journal = journal
        self._probe_s = probe_s
        self._relay_only = relay_only
        self._entries = entries(configured, ())
        self._seen: dict[Key, Probed] = {}
        self._failures: dict[Key, int] = {}
        self._due_s: dict[Key, float] = {}
        self._told: dict[Key, Verdict] = {}
        self._current: dict[str, Key] = {}
        self._expires_s: float | None = None
        self._renew_s: float | None = None
        self._wake = asyncio.Event()

    # ------------------------------------------------------------------------------------------------- for a call

    def chosen(self) -> list[IceServer]:
        """At most one STUN and one TURN server, for the next connection."""
        found: list[IceServer] = []
        for kind in ("stun", "turn"):
            candidates = [entry for entry in self._entries if entry.kind == kind]
            live = [entry for entry in candidates if not self._is_over(entry)]
            entry = best(live, self._seen, self._current.get(kind))
            if entry is None and kind == "turn" and self._relay_only and candidates:
                entry = (live or candidates)[0]  # without a relay there is no call at all: a last attempt
            if entry is None:
                self._current.pop(kind, None)
            else:
                self._current[kind] = entry.key
                found.append(entry.server)
        return found

    def _is_over(self, entry: Entry) -> bool:
        expires_s = self._expires_s
        return entry.issued and expires_s is not None and expiry(entry.username) is not None and _now_s() >= expires_s

    def heard(self, reply: Reply) -> None:
        """Any answer of the hub: where it names servers, these are its from now on."""
        if isinstance(reply.ice_servers, list):
            clock = reply.server_time
            self._issued(reply.ice_servers, None if isinstance(clock, msgspec.UnsetType) else clock)

    def _issued(self, servers: Sequence[IceServer], server_time: float | None) -> None:
        life = life_s(servers, server_time)
        self._expires_s = None if life is None else _now_s() + life
        self._renew_s = None if life is None else _now_s() + life * RENEWED_AT
        before = set(self._entries)
        self._entries = entries(self._configured, servers)
        known = {entry.key for entry in self._entries}
        for memory in (self._seen, self._failures, self._due_s, self._told):
            for key in memory.keys() - known:
                del memory[key]
        for entry in set(self._entries) - before:
            self._due_s[entry.key] = 0.0
            probed = self._seen.get(entry.key)
            if probed is not None and probed.verdict is Verdict.REFUSED:
                del self._seen[entry.key]  # the old credentials were; these are not known yet
        self._wake.set()

    def doubt(self) -> None:
        """A connection has failed, and perhaps it was its relay: until they were looked at, these servers come after
        others that are good."""
        for key in self._current.values():
            self._seen.pop(key, None)
        self._current.clear()
        self.look_again()

    def look_again(self) -> None:
        """The network has changed: what was seen may no longer hold."""
        for entry in self._entries:
            probed = self._seen.get(entry.key)
            if probed is None or probed.verdict is not Verdict.UNSUPPORTED:
                self._due_s[entry.key] = 0.0
        self._wake.set()

    def status(self) -> dict[str, Any]:
        """For `intercomctl status`. No credentials."""
        chosen = {server.urls[0] for server in self.chosen()}
        left_s = None if self._expires_s is None else round(self._expires_s - _now_s())
        return {"servers": [self._shown(entry, chosen) for entry in self._entries], "credentials_s": left_s}

    def _shown(self, entry: Entry, chosen: set[str]) -> dict[str, Any]:
        probed = self._seen.get(entry.key)
        round_trip_s = probed.round_trip_s if probed else None
        return {
            "url": entry.url,
            "source": "hub" if entry.issued else "configuration",
            "state": probed.verdict.value if probed else "unknown",
            "round_trip_ms": None if round_trip_s is None else round(round_trip_s * 1000, 1),
            "chosen": entry.url in chosen and self._current.get(entry.kind) == entry.key,
            "reason": probed.reason if probed else "",
        }

    # ------------------------------------------------------------------------------------------ in the background

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            await self._renew()
            await self._look()
            rest_s = self._next_s() - _now_s()
            try:
                async with asyncio.timeout(max(0.0, rest_s) if rest_s != float("inf") else None):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _next_s(self) -> float:
        moments = [self._due_s.get(entry.key, 0.0) for entry in self._entries]
        return min([*moments, self._renew_s if self._renew_s is not None else float("inf")])

    async def _renew(self) -> None:
        if self._renew_s is None or _now_s() < self._renew_s:
            return
        self._renew_s = _now_s() + RENEWAL_RETRY_S
        if not self._linked():
            return  # the next link begins with fresh ones
        try:
            reply = await self._ask()
        except Unreachable:
            return
        self.heard(reply)

    async def _look(self) -> None:
        due = [entry for entry in self._entries if self._due_s.get(entry.key, 0.0) <= _now_s()]
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(entry: Entry) -> None:
            async with turns:
                self._note(entry, await self._probe(entry.url, entry.username, entry.credential))

        async with asyncio.TaskGroup() as group:
            for entry in due:
                self._due_s[entry.key] = float("inf")
                group.create_task(one(entry))

    def _note(self, entry: Entry, probed: Probed) -> None:
        if entry not in self._entries:  # credentials that were replaced meanwhile
            return
        self._seen[entry.key] = probed
        if probed.verdict is Verdict.GOOD:
            self._failures[entry.key] = 0
            wait_s = self._probe_s * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311
        elif probed.verdict is Verdict.UNSUPPORTED:
            wait_s = float("inf")
        else:
            failures = self._failures[entry.key] = self._failures.get(entry.key, 0) + 1
            wait_s = min(self._probe_s, FIRST_RETRY_S * 2 ** (failures - 1))
        if self._due_s.get(entry.key) != 0.0:  # else it is to be looked at again: the network changed in between
            self._due_s[entry.key] = _now_s() + wait_s
        if probed.verdict is Verdict.REFUSED and entry.issued and self._renew_s is not None:
            self._renew_s = min(self._renew_s, _now_s() + RENEWAL_RETRY_S)
        self._tell(entry, probed)

    def _tell(self, entry: Entry, probed: Probed) -> None:
        """The first failure of a cycle, and its end."""
        told = self._told.get(entry.key)
        if probed.verdict is Verdict.GOOD:
            if self._told.pop(entry.key, None) is not None:
                self._journal.report(ErrorCode.ICE_SERVER_BACK, reason=entry.url)
        elif told is not probed.verdict and (self._linked() or probed.verdict is Verdict.UNSUPPORTED):
            self._told[entry.key] = probed.verdict
            self._journal.report(_CODES[probed.verdict], reason=f"{entry.url}: {probed.reason}{_origin(entry, probed)}")


def _origin(entry: Entry, probed: Probed) -> str:
    """Where to look, and whether the credentials are simply over."""
    source = "issued by the hub" if entry.issued else "from the table [ice]"
    ends = expiry(entry.username)
    if probed.verdict is not Verdict.REFUSED or ends is None or ends > time.time():
        return f" ({source})"
    return f"; they expired at {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M:%S} UTC ({source})"


def _now_s() -> float:
    return time.monotonic()
