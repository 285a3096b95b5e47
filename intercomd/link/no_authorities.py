"""aiohttp builds two TLS contexts when imported, and reads the system's 140 authorities for each: 45 ms of a start
that people wait for, on a Pi ten times as much. The station never uses them: it brings its own (`link/trust.py`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks for authorities, instead of its built-in places (SSL_CTX_load_verify_locations(3))."""


@contextmanager
def no_authorities() -> Iterator[None]:
    """TLS contexts that are made meanwhile trust nobody. For imports, before there is any thread."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
