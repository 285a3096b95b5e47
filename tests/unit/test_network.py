"""What a change of the network means for the link and for a call in progress."""

from dataclasses import replace

import pytest

from intercomd.device.network import (
    change_words,
    followed,
    hub_host,
    link_rerouted,
    network_path,
    network_words,
    path_doubt,
)
from intercomd.fakes.network import HOME
from intercomd.ports import Paths

WIFI = Paths(
    frozenset({"127.0.0.1", "198.51.100.9"}), frozenset({"ipv4 via 198.51.100.1 dev wlan0"}),
    frozenset({"lo", "wlan0"}), "198.51.100.9",
)  # fmt: skip
NOWHERE = Paths(frozenset({"127.0.0.1"}), frozenset(), frozenset({"lo"}), None)


def test_the_address_in_use_is_gone() -> None:
    assert path_doubt(HOME, WIFI, "192.0.2.7") == "the address 192.0.2.7 is gone"
    assert path_doubt(HOME, NOWHERE, None) == "the address 192.0.2.7 is gone"


def test_another_interfaces_comings_and_goings_are_no_doubt() -> None:
    more = replace(HOME, addresses=HOME.addresses | {"172.17.0.1"}, carriers=HOME.carriers | {"docker0"})
    assert path_doubt(HOME, more, "192.0.2.7") is None
    assert path_doubt(more, HOME, "192.0.2.7") is None


def test_a_new_lease_beside_the_old_one_is_no_doubt() -> None:
    renewed = replace(HOME, addresses=HOME.addresses | {"192.0.2.8"})
    assert path_doubt(HOME, renewed, "192.0.2.7") is None


def test_a_call_on_the_lan_needs_no_default_route() -> None:
    lan = replace(HOME, routes=frozenset())
    assert path_doubt(HOME, lan, "192.0.2.7") is None
    assert path_doubt(followed(HOME, lan), HOME, "192.0.2.7") is None


def test_packets_that_leave_another_way_are_in_doubt_also_after_a_moment_without_any() -> None:
    by_wifi = replace(HOME, routes=WIFI.routes, addresses=HOME.addresses | WIFI.addresses)
    assert path_doubt(HOME, by_wifi, "192.0.2.7") == "packets now leave ipv4 via 198.51.100.1 dev wlan0"
    nothing = followed(HOME, replace(HOME, routes=frozenset()))
    assert path_doubt(nothing, by_wifi, "192.0.2.7")


def test_a_lost_carrier_alone_is_no_doubt() -> None:
    """A cable that is back within a second: the packets go on as they did."""
    assert path_doubt(HOME, replace(HOME, carriers=frozenset({"lo"})), "192.0.2.7") is None


@pytest.mark.parametrize(
    ("before", "now", "is_up", "rerouted"),
    [
        (HOME, WIFI, True, True),
        (HOME, NOWHERE, True, True),
        (HOME, replace(HOME, source=None, routes=frozenset()), True, False),
        (HOME, replace(HOME, carriers=frozenset({"lo"})), True, False),
        (NOWHERE, HOME, False, True),
        (HOME, NOWHERE, False, False),
        (HOME, replace(HOME, addresses=HOME.addresses | {"192.0.2.8"}), False, False),
    ],
)
def test_the_link_is_built_anew_only_where_it_cannot_go_on(
    before: Paths, now: Paths, is_up: bool, rerouted: bool
) -> None:
    assert link_rerouted(before, now, is_up=is_up) is rerouted


def test_a_change_in_words() -> None:
    assert change_words(HOME, WIFI) == (
        "198.51.100.9 is new; 192.0.2.7 is gone; ipv4 via 198.51.100.1 dev wlan0 is the default route; "
        "wlan0 has a carrier; eth0 has lost its carrier"
    )


def test_the_way_to_a_hub_on_this_machine() -> None:
    assert network_path("http://127.0.0.1:8080") == "lo ipv4"
    assert network_path("http://localhost:8080") == "lo ipv4"


def test_in_a_call_the_types_of_its_candidates_are_told_too() -> None:
    assert network_words("http://127.0.0.1:8080", None) == "lo ipv4"
    assert network_words("http://127.0.0.1:8080", "host-relay") == "lo ipv4 host-relay"


def test_no_name_is_resolved_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer would stop the sound for seconds."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a name was resolved"))
    network_path("https://hub.example.org")
    assert hub_host("https://hub.example.org:8443/") == "hub.example.org"
