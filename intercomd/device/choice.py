"""Which STUN and which TURN server a call gets, by what was last seen of them. Pure: time comes in as a number."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from intercomd.core.vocabulary import IceServer
from intercomd.ports import Probed, Verdict

MAX_SERVERS = 32
"""Each is looked at; honest configurations have a handful."""
_REST_USERNAME = re.compile(r"(?P<expiry>[0-9]{9,11}):")
_CLEARLY = 0.7
_CLEARLY_S = 0.005
"""A server is left for another good one only if that is faster by both: two that are alike would change all the time,
and what was gathered ahead with it."""
LONGEST_LIFE_S = 86_400.0
UNCERTAIN_LIFE_S = 600.0
"""For credentials whose expiry cannot be: one of the two clocks is wrong."""

Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One URL, and who named it: the hub (`issued`) or the configuration."""

    url: str
    username: str | None
    credential: str | None
    issued: bool

    @property
    def kind(self) -> Literal["stun", "turn"]:
        return "turn" if self.url.startswith("turn") else "stun"

    @property
    def key(self) -> Key:
        """What it is known by: issued credentials change and the server is the same."""
        return self.url, None if self.issued else self.username or ""

    @property
    def server(self) -> IceServer:
        return IceServer([self.url], self.username, self.credential)


def entries(configured: Sequence[IceServer], issued: Sequence[IceServer]) -> tuple[Entry, ...]:
    """All URLs of both, each once, the first 32."""
    found: dict[Key, Entry] = {}
    for servers, by_hub in ((configured, False), (issued, True)):
        for server in servers:
            for url in server.urls:
                entry = Entry(url, server.username, server.credential, by_hub)
                found.setdefault(entry.key, entry)
    return tuple(found.values())[:MAX_SERVERS]


def expiry(username: str | None) -> int | None:
    """When credentials of coturn's REST way end, Unix seconds by the TURN server's clock; None for others."""
    found = _REST_USERNAME.match(username or "")
    return int(found["expiry"]) if found else None


def life_s(issued: Iterable[IceServer], server_time: float | None) -> float | None:
    """How long these credentials are good for, from now on; None where they have no end. The station's own clock may
    be years off, so the hub's is asked."""
    ends = [end for server in issued if (end := expiry(server.username)) is not None]
    if not ends:
        return None
    rest_s = min(ends) - server_time if server_time else UNCERTAIN_LIFE_S
    return rest_s if 0 < rest_s <= LONGEST_LIFE_S else UNCERTAIN_LIFE_S


def best(candidates: Sequence[Entry], seen: Mapping[Key, Probed], current: Key | None) -> Entry | None:
    """Of one kind: a good one, the fastest, UDP before TCP; before anything was seen, the first. None when all of them
    have failed. `current` is kept while nothing is clearly better."""
    usable = [entry for entry in candidates if entry.key not in seen or seen[entry.key].verdict is Verdict.GOOD]
    if not usable:
        return None
    first = min(usable, key=lambda entry: _rank(entry, seen))
    kept = next((entry for entry in usable if entry.key == current), None)
    if kept is None or _rank(first, seen)[:2] < _rank(kept, seen)[:2]:
        return first
    here, there = _round_trip_s(kept, seen), _round_trip_s(first, seen)
    return first if there < here * _CLEARLY and there < here - _CLEARLY_S else kept


def _rank(entry: Entry, seen: Mapping[Key, Probed]) -> tuple[bool, bool, float]:
    # A voice in TCP waits for each lost packet to be sent again.
    tcp = entry.url.startswith("turns") or entry.url.endswith("transport=tcp")
    return entry.key not in seen, tcp, _round_trip_s(entry, seen)


def _round_trip_s(entry: Entry, seen: Mapping[Key, Probed]) -> float:
    probed = seen.get(entry.key)
    return probed.round_trip_s or 0.0 if probed is not None else 0.0
