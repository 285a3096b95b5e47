"""A station never speaks to its hub without TLS over a network, unless the owner says so."""

import pytest

from intercomd.link.hub_url import check_hub_url


@pytest.mark.parametrize(
    "url",
    ["https://hub.example", "https://10.0.0.1:8443", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:1"],
)
def test_tls_or_this_machine_is_fine(url: str) -> None:
    check_hub_url(url)


@pytest.mark.parametrize(
    "url", ["http://hub.example", "http://10.0.0.1:8080", "http://127.0.0.1.example", "http://[fe80::1]"]
)
def test_plain_http_over_a_network_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ValueError, match=r"without TLS .* use https://, or say allow_insecure = true"):
        check_hub_url(url)
    check_hub_url(url, allow_insecure=True)


@pytest.mark.parametrize("url", ["", "hub.example", "ftp://hub.example", "https://", "ws://hub.example", "https:///x"])
def test_what_is_no_address_is_refused_with_the_shape_that_is_wanted(url: str) -> None:
    with pytest.raises(ValueError, match="must be https://NAME"):
        check_hub_url(url, allow_insecure=True)
