"""What an installer writes to the card's FAT partition is taken, or its mistake is told beside it."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hw.image.card import card

TOKEN = "q" * 43
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzXrAyjS0VZr1mLsPZbBP0eGZ2Zz4cFY7P5yq1B6c0v technician"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BOOT", "STATE", "RUN"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(card, name, tmp_path / name)
    monkeypatch.setattr(card, "CREDENTIALS", tmp_path / "credstore")
    example = tmp_path / "example.conf"
    example.write_text("pcm.example {}\n")
    monkeypatch.setattr(card, "EXAMPLE_SOUND", example)
    for always in ("name_host", "set_clock", "keep_journal"):  # they change this machine
        nothing = _named(always)
        monkeypatch.setattr(card, always, nothing)
    return tmp_path


def _named(name: str) -> Callable[[], None]:
    def nothing() -> None:
        pass

    nothing.__name__ = name
    return nothing


@pytest.fixture(name="clock")
def _clock(places: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """That of a Pi without a network: what it was set to. It begins at 1000 s."""
    told: list[float] = []
    monkeypatch.setattr(card, "time", SimpleNamespace(
        time=lambda: 1000.0, clock_settime=lambda _clock, at_s: told.append(at_s), CLOCK_REALTIME=0))  # fmt: skip
    return told


SET_CLOCK = card.set_clock


def _written(file: Path, at_s: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (at_s, at_s))


def test_a_pi_that_has_no_clock_is_not_before_what_the_installer_wrote(places: Path, clock: list[float]) -> None:
    _written(places / "BOOT" / "pairing.txt", 5000.0)
    _written(places / "BOOT" / "intercomd.toml", 4000.0)
    SET_CLOCK()
    assert clock == [5000.0], "or the certificate that the hub made meanwhile would not be valid yet"


def test_a_pi_that_has_no_clock_is_not_before_its_last_run(places: Path, clock: list[float]) -> None:
    _written(places / "BOOT" / "intercomd.toml", 4000.0)
    _written(places / "STATE" / "journal" / "system.journal", 9000.0)
    SET_CLOCK()
    assert clock == [9000.0]


def test_a_clock_that_is_later_is_left_alone(places: Path, clock: list[float]) -> None:
    _written(places / "BOOT" / "intercomd.toml", 999.0)
    SET_CLOCK()
    assert clock == []


def test_a_file_from_a_far_future_sets_no_clock(places: Path, clock: list[float]) -> None:
    _written(places / "BOOT" / "intercomd.toml", 4.0e9)
    _written(places / "BOOT" / "wifi.toml", 2000.0)
    SET_CLOCK()
    assert clock == [2000.0]


def test_the_token_leaves_the_partition_that_every_computer_reads(places: Path) -> None:
    pairing = places / "BOOT" / "pairing.txt"
    pairing.write_text(f"# from the hub\r\n{TOKEN}\r\n")
    card.main()
    assert not pairing.exists()
    assert (places / "credstore" / "intercomd.hub-token").read_text().strip() == TOKEN
    kept = places / "STATE" / "secrets" / "intercomd.hub-token"
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.parent.stat().st_mode & 0o077 == 0


def test_the_next_boot_has_the_token_still(places: Path) -> None:
    (places / "BOOT" / "pairing.txt").write_text(TOKEN)
    card.main()
    (places / "credstore" / "intercomd.hub-token").unlink()
    card.main()
    assert (places / "credstore" / "intercomd.hub-token").read_text().strip() == TOKEN


@pytest.mark.parametrize("text", ["", "too short\n", f"{TOKEN}\n{TOKEN}\n", f"token = {TOKEN}\n"])
def test_no_token_is_told_beside_its_file_and_stays(places: Path, text: str) -> None:
    pairing = places / "BOOT" / "pairing.txt"
    pairing.write_text(text)
    card.main()
    assert "add-station" in (places / "BOOT" / "pairing-error.txt").read_text()
    assert pairing.exists()
    assert not (places / "credstore").exists()


def test_a_hubs_line_leaves_that_partition_too_and_what_was_paired_before_works_meanwhile(places: Path) -> None:
    (places / "BOOT" / "pairing.txt").write_text(TOKEN)
    card.main()
    (places / "credstore" / "intercomd.hub-token").unlink()
    line = f"intercom-pairing https://hub.local:8443 {'c' * 43} {'AB:' * 31}AB"
    (places / "BOOT" / "pairing.txt").write_text(f"{line}\r\n")
    card.main()
    assert not (places / "BOOT" / "pairing.txt").exists()
    kept = places / "STATE" / "secrets" / "pairing"
    assert kept.read_text() == f"{line}\n"
    assert kept.stat().st_mode & 0o077 == 0
    assert (places / "credstore" / "intercomd.hub-token").read_text().strip() == TOKEN


def test_the_authority_that_pairing_has_found_is_there_at_the_next_boot(places: Path) -> None:
    secrets = places / "STATE" / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "intercomd.hub-ca").write_text("-----BEGIN CERTIFICATE-----\n")
    card.main()
    assert (places / "credstore" / "intercomd.hub-ca").read_text().startswith("-----BEGIN")
    (places / "BOOT" / "pairing.txt").write_text(TOKEN)
    card.main()
    assert not (secrets / "intercomd.hub-ca").exists(), "the token may be another hub's"


def test_a_mistake_that_is_mended_is_no_longer_told(places: Path) -> None:
    pairing, report = places / "BOOT" / "pairing.txt", places / "BOOT" / "pairing-error.txt"
    pairing.write_text("nonsense")
    card.main()
    assert report.exists()
    pairing.write_text(TOKEN)
    card.main()
    assert not report.exists()


def test_a_mistake_in_one_file_keeps_no_other_from_being_taken(places: Path) -> None:
    (places / "BOOT" / "pairing.txt").write_bytes(b"\xff\xfe\x00")
    (places / "BOOT" / "wifi.toml").write_text('ssid = "home"\npassword = "12345678"\ncountry = "DE"\n')
    card.main()
    assert (places / "BOOT" / "pairing-error.txt").exists()
    assert "ssid=686f6d65" in (places / "RUN" / "wpa_supplicant.conf").read_text()
    assert (places / "RUN" / "asound.conf").read_text() == "pcm.example {}\n"


def test_the_key_of_a_network_is_derived_as_ieee_802_11_says() -> None:
    # IEEE 802.11-2020, annex J.4.2: the first of its test vectors.
    made = card.wifi({"ssid": "IEEE", "password": "password", "country": "DE"})
    assert "psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e" in made
    assert "country=DE" in made


def test_nothing_in_a_networks_name_can_add_a_line() -> None:
    made = card.wifi({"ssid": 'x"\nkey_mgmt=NONE', "password": 'p"\npassword', "country": "DE"})
    assert "key_mgmt=NONE" not in made
    assert "sae_password" not in made


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('ssid = "home"\npassword = "12345678"\n', "country"),
        ('ssid = "home"\npassword = "1234567"\ncountry = "DE"\n', "8 to 63"),
        ('password = "12345678"\ncountry = "DE"\n', "ssid"),
        ('ssid = "home"\npasswort = "12345678"\ncountry = "DE"\n', "passwort"),
        ('ssid = home\ncountry = "DE"\n', "TOML"),
        ('ssid = "home"\ncountry = "DE"\nhidden = "yes"\n', "hidden"),
    ],
)
def test_a_mistake_about_wifi_is_named(places: Path, text: str, named: str) -> None:
    (places / "BOOT" / "wifi.toml").write_text(text)
    card.main()
    assert named in (places / "BOOT" / "wifi-error.txt").read_text()
    assert not (places / "RUN" / "wpa_supplicant.conf").exists()


def test_ssh_takes_public_keys_only(places: Path) -> None:
    host_key = places / "STATE" / "ssh" / "ssh_host_ed25519_key"
    host_key.parent.mkdir()
    host_key.write_text("made before")
    keys = places / "BOOT" / "authorized_keys"
    keys.write_text(f"# technicians\n{KEY}\n")
    card.main()
    assert (places / "RUN" / "authorized_keys").read_text() == f"{KEY}\n"
    (places / "RUN" / "authorized_keys").unlink()
    keys.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    card.main()
    assert "public key" in (places / "BOOT" / "authorized_keys-error.txt").read_text()
    assert not (places / "RUN" / "authorized_keys").exists()


def test_without_a_file_of_keys_there_is_no_ssh(places: Path) -> None:
    card.main()
    assert not (places / "RUN" / "authorized_keys").exists()
