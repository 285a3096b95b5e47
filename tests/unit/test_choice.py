"""Which server a call gets, and how long credentials are good for."""

import pytest

from intercomd.core.vocabulary import IceServer
from intercomd.device.choice import MAX_SERVERS, UNCERTAIN_LIFE_S, Entry, Key, best, entries, expiry, life_s
from intercomd.ports import Probed, Verdict

DOWN = Probed(Verdict.UNREACHABLE, reason="it does not answer")


def good(round_trip_s: float) -> Probed:
    return Probed(Verdict.GOOD, round_trip_s)


def turn(url: str, *, issued: bool = False) -> Entry:
    return Entry(url, "u", "secret", issued)


A, B, C = turn("turn:a"), turn("turn:b"), turn("turn:c")


@pytest.mark.parametrize(
    ("seen", "current", "chosen"),
    [
        ({}, None, A),  # nothing is known yet: the first
        ({}, B, B),
        ({A.key: DOWN}, None, B),
        ({A.key: DOWN, B.key: DOWN, C.key: DOWN}, A, None),
        ({A.key: DOWN, B.key: good(0.3)}, None, B),  # a slow good one before one that nobody has seen
        ({A.key: good(0.2), B.key: good(0.05)}, None, B),
        ({A.key: good(0.2), B.key: good(0.05)}, A, B),
        ({A.key: good(0.02), B.key: good(0.018)}, A, A),  # as good as the same
        ({A.key: good(0.006), B.key: good(0.002)}, A, A),
        ({A.key: DOWN, B.key: good(0.3)}, A, B),
        ({A.key: Probed(Verdict.REFUSED), B.key: good(0.3)}, A, B),
        ({A.key: Probed(Verdict.UNSUPPORTED), B.key: DOWN}, A, C),
    ],
)
def test_the_best(seen: dict[Key, Probed], current: Entry | None, chosen: Entry | None) -> None:
    assert best([A, B, C], seen, current.key if current else None) == chosen


def test_udp_before_tcp_before_what_has_failed() -> None:
    tls, tcp, udp = turn("turns:t"), turn("turn:t?transport=tcp"), turn("turn:t?transport=udp")
    seen = {tls.key: good(0.01), tcp.key: good(0.02), udp.key: good(0.2)}
    assert best([tls, tcp, udp], seen, None) == udp
    assert best([tls, tcp, udp], seen, tls.key) == udp, "also where TCP was in use"
    assert best([tls, tcp, udp], {**seen, udp.key: DOWN}, udp.key) == tls


def test_entries() -> None:
    configured = [IceServer(["stun:s", "turn:t"], "u", "a"), IceServer(["stun:s"], "u", "b")]
    issued = [IceServer(["turn:t"], "1900000000:door", "c"), IceServer([f"stun:{number}" for number in range(99)])]
    found = entries(configured, issued)
    assert [(entry.url, entry.credential, entry.issued) for entry in found[:3]] == [
        ("stun:s", "a", False), ("turn:t", "a", False), ("turn:t", "c", True),
    ]  # fmt: skip
    assert len(found) == MAX_SERVERS
    again = entries(configured, [IceServer(["turn:t"], "1900003600:door", "d")])
    assert again[2].key == found[2].key, "the same server with new credentials"
    assert again[2] != found[2]


@pytest.mark.parametrize(
    ("username", "server_time", "life"),
    [
        ("1900000600:door", 1900000000.0, 600.0),
        ("1900000600:door", None, UNCERTAIN_LIFE_S),
        ("1900000600:door", 1900000600.0, UNCERTAIN_LIFE_S),  # the hub's clock and coturn's differ
        ("1900000600:door", 1500000000.0, UNCERTAIN_LIFE_S),
        ("door", 1900000000.0, None),
        ("12:door", 1900000000.0, None),
        (None, 1900000000.0, None),
    ],
)
def test_life(username: str | None, server_time: float | None, life: float | None) -> None:
    assert life_s([IceServer(["stun:s"]), IceServer(["turn:t"], username, "x")], server_time) == life
    assert (expiry(username) is None) is (life is None)
