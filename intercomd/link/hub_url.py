"""The hub's address as a station may use it."""

from urllib.parse import urlsplit

from intercomd.config.crosschecks import is_loopback


def check_hub_url(url: str, *, allow_insecure: bool = False) -> None:
    """Raises ValueError, with what is wrong and what to do, for a URL that a station must not use."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"the hub's URL is {url!r}; it must be https://NAME or https://NAME:PORT")
    if parts.scheme == "http" and not allow_insecure and not is_loopback(parts.hostname):
        raise ValueError(
            f"the hub's URL is {url!r}: without TLS anybody on the network could listen and open doors; "
            "use https://, or say allow_insecure = true"
        )
