"""Whom a proxy speaks for, and who is not believed."""

import ipaddress

import pytest

from intercomd.hub.web.proxies import seen_by

PROXIES = [ipaddress.ip_network(network) for network in ("127.0.0.1", "10.0.0.0/8", "::1")]


@pytest.mark.parametrize(
    ("remote", "header", "client"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "10.1.2.3", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        (None, "203.0.113.7", None),
    ],
    ids=[
        "v4",
        "v6",
        "two proxies",
        "what the client wrote",
        "no proxy",
        "nothing",
        "only proxies",
        "no address",
        "gone",
    ],
)
def test_whose_address_counts(remote: str | None, header: str, client: str | None) -> None:
    assert seen_by(PROXIES, remote, header) == client
