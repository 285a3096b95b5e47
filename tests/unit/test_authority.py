"""The hub's own authority: what it signs, when it signs anew, and how fingerprints are compared."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from intercomd.config import Hub
from intercomd.hub.web import authority
from intercomd.hub.web.authority import AuthorityError, Files, anchor, fingerprint, names_of, prepare, same_fingerprint
from intercomd.link import pairing as station

NAMES = ("hub.local", "127.0.0.1", "2001:db8::7")
NOW = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path / "tls")
    assert prepare(files, NAMES, NOW)
    return files


def certificate(files: Files) -> x509.Certificate:
    return x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]


def test_what_is_good_is_left_alone(files: Files) -> None:
    before = files.certificate.read_bytes()
    assert not prepare(files, NAMES, NOW)
    assert not prepare(files, NAMES[:2], NOW + timedelta(days=200))
    assert files.certificate.read_bytes() == before


@pytest.mark.parametrize("after", [authority.CERTIFICATE_LIFE - authority.RENEW_BEFORE, timedelta(days=900)])
def test_it_is_renewed_in_time_by_the_same_authority(files: Files, after: timedelta) -> None:
    root, before = files.authority.read_bytes(), certificate(files)
    assert prepare(files, NAMES, NOW + after)
    assert files.authority.read_bytes() == root
    assert certificate(files).not_valid_after_utc > before.not_valid_after_utc
    certificate(files).verify_directly_issued_by(x509.load_pem_x509_certificate(root))


def test_another_name_another_certificate(files: Files) -> None:
    assert prepare(files, (*NAMES, "door.example"), NOW)
    found = certificate(files).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == ["hub.local", "door.example"]
    assert [str(address) for address in found.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "2001:db8::7"]


@pytest.mark.parametrize("broken", ["certificate", "key"])
def test_what_is_damaged_is_made_anew(files: Files, broken: str) -> None:
    getattr(files, broken).write_text("nonsense")
    assert prepare(files, NAMES, NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key)


def test_an_authority_whose_key_is_gone_is_told_and_not_replaced(files: Files) -> None:
    files.authority_key.unlink()
    assert not prepare(files, NAMES, NOW), "as long as its certificate is good"
    with pytest.raises(AuthorityError, match="paired again"):
        prepare(files, NAMES, NOW + timedelta(days=364))
    assert files.authority.exists()


def test_the_certificate_lives_no_longer_than_phones_take_and_cannot_sign(files: Files) -> None:
    found = certificate(files)
    assert found.not_valid_after_utc - found.not_valid_before_utc < timedelta(days=398)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    root = x509.load_pem_x509_certificate(files.authority.read_bytes())
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_only_a_self_signed_end_of_a_chain_is_to_be_pinned(files: Files, tmp_path: Path) -> None:
    assert anchor(files.certificate) == files.authority.read_bytes()
    leaf = tmp_path / "leaf.pem"
    leaf.write_text(
        files.certificate.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    )
    assert anchor(leaf) is None, "a public authority's, for all that is known"
    with pytest.raises(AuthorityError):
        anchor(tmp_path / "none.pem")


def test_hub_and_station_write_one_fingerprint_alike(files: Files) -> None:
    pem = files.authority.read_bytes()
    written = fingerprint(pem)
    assert len(written.split(":")) == 32
    assert station.fingerprint_of(pem.decode()) == written


@pytest.mark.parametrize("same", [same_fingerprint, station.same_fingerprint])
def test_fingerprints_are_the_same_however_they_are_written(same) -> None:
    assert same("AB:CD", "sha256:ab cd")
    assert not same("AB:CD", "AB:CE")
    assert not same("AB:CD", "AB")
    assert not same("", "")
    assert not same(":", "::")


def test_the_certificate_is_for_every_name_of_the_hub() -> None:
    names = names_of(Hub(public_url="https://door.example:8443/", listen="192.0.2.5"))
    assert names[0] == "door.example"
    assert {"localhost", "127.0.0.1", "::1", "192.0.2.5"} <= set(names)
    assert len(set(names)) == len(names)
    assert "0.0.0.0" not in names_of(Hub(listen="0.0.0.0"))
