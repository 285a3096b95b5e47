"""Imports that would read the system's authorities for nothing do not, and leave no trace."""

import os
import subprocess
import sys

import pytest

from intercomd.link.no_authorities import no_authorities

READS = """
import os
import intercomd.adapters.signalling
import aiohttp.connector
print(len(aiohttp.connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), os.environ.get("SSL_CERT_FILE"))
"""


def test_the_links_library_reads_no_authorities_and_the_variable_is_as_it_was() -> None:
    environ = {**os.environ, "SSL_CERT_FILE": "/etc/mine.pem"}
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.split() == ["0", "/etc/mine.pem"]


def test_variables_are_put_back_also_when_an_import_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/mine.pem")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(ModuleNotFoundError), no_authorities():
        __import__("intercomd.nothing")
    assert os.environ["SSL_CERT_FILE"] == "/etc/mine.pem"
    assert "SSL_CERT_DIR" not in os.environ
