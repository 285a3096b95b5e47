"""What no single key can tell: files that must exist, secrets' modes, keys that contradict each other."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from intercomd.config.credentials import (
    NO_TURN_SECRET,
    database_password_path,
    metrics_token_path,
    secret_mistake,
    secret_path,
    token_mistake,
    turn_secret_path,
)
from intercomd.config.mistakes import Mistake
from intercomd.config.tables import Audio, Call, Config, Hub, Ice, Panel, Station

_ICE_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):[^?:\[\]/\s]+(:(?P<port>[0-9]{1,5}))?(\?transport=(?P<transport>udp|tcp))?"
)

_BY_NUMBER = re.compile(r"[a-z_]*:(CARD=)?[0-9]+($|,)")


def cross_mistakes(config: Config, parts: Sequence[str], environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Every contradiction, missing file and unsafe setting for these parts (`device`, `hub`)."""
    if "device" in parts:
        yield from _station(config.station, environ)
        yield from _call(config.call)
        yield from _audio(config.audio)
        yield from _panel(config.panel)
    if "device" in parts or "hub" in parts:
        yield from _ice(config.ice, environ)
    if "hub" in parts:
        yield from _hub(config.hub)
        yield from _proxies(config.hub)
        yield from _turn(config.hub, environ)
        yield from _metrics(config.hub, environ)
        yield from _database(config.hub, environ)


def is_loopback(host: str) -> bool:
    """True for names and addresses that never leave this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _station(station: Station, environ: Mapping[str, str]) -> Iterator[Mistake]:
    yield from _hub_url(station)
    mistake = token_mistake(station, environ)
    if mistake:
        yield mistake
    yield from _readable("station.hub_ca_file", station.hub_ca_file)


def _hub_url(station: Station) -> Iterator[Mistake]:
    where = "station.hub_url"
    try:
        url = urlsplit(station.hub_url)
        host, _ = url.hostname, url.port
    except ValueError as error:
        yield Mistake(where, f"{station.hub_url!r}: {error}", "scheme, host and port, as https://hub.example:8443")
        return
    if not host:
        yield Mistake(where, f"{station.hub_url!r} has no host", "scheme, host and port, as https://hub.example:8443")
    elif url.scheme == "http" and not is_loopback(host) and not station.allow_insecure:
        yield Mistake(
            where,
            f"plain http to {host}",
            "https://, or set station.allow_insecure = true and accept the risk",
        )


def _call(call: Call) -> Iterator[Mistake]:
    if call.lost_s <= call.silent_s:
        yield Mistake("call.lost_s", f"is {call.lost_s:g}", f"more than call.silent_s, which is {call.silent_s:g}")


def _audio(audio: Audio) -> Iterator[Mistake]:
    """Card numbers are given in the order of discovery: with a second USB device the station would play elsewhere."""
    for key in ("speaker_pcm", "microphone_pcm", "handset_pcm", "handset_microphone_pcm"):
        pcm = getattr(audio, key)
        if _BY_NUMBER.match(pcm):
            allowed = "the card's id in its place: `hw:CARD=Speakerphone` (/proc/asound/cards has it in brackets)"
            yield Mistake(f"audio.{key}", f"{pcm!r} names a card by its number, which changes", allowed)


def _panel(panel: Panel) -> Iterator[Mistake]:
    # board.py takes the panel's types from this package.
    from intercomd.boards.board import BoardError, panel_board

    try:
        panel_board(panel)
    except BoardError as error:
        for line in str(error).splitlines():
            yield Mistake("panel", line)


def _ice(ice: Ice, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for index, server in enumerate(ice.servers):
        where = f"ice.servers[{index}]"
        for url in server.urls:
            yield from _ice_url(f"{where}.urls", url)
        turn = any(url.startswith("turn") for url in server.urls)
        if turn and not (server.username and server.credential_file):
            yield Mistake(where, "a TURN server without username and credential_file", "both of them")
        path = secret_path(server.credential_file, environ)
        mistake = path and secret_mistake(f"{where}.credential_file", path, environ.get("CREDENTIALS_DIRECTORY", ""))
        if mistake:
            yield mistake


def _ice_url(where: str, url: str) -> Iterator[Mistake]:
    """RFC 7064 and RFC 7065; of addresses only those that aiortc can read."""
    parts = _ICE_URL.fullmatch(url)
    if parts is None or (parts["transport"] and parts["scheme"].startswith("stun")):
        allowed = "scheme, host and port, as turn:turn.example:3478; ?transport=udp or tcp only with turn: and turns:"
        yield Mistake(where, f"{url!r} is no such URL (an IPv6 address needs a name)", allowed)
    elif parts["port"] and not 0 < int(parts["port"]) < 65536:
        yield Mistake(where, f"{url!r}: there is no such port", "1 to 65535")
    elif parts["scheme"] == "turns" and parts["transport"] == "udp":
        yield Mistake(where, f"{url!r}: TURN over DTLS is not supported", "turns: with ?transport=tcp, or without it")


def _turn(hub: Hub, environ: Mapping[str, str]) -> Iterator[Mistake]:
    for index, url in enumerate(hub.turn_urls):
        yield from _ice_url(f"hub.turn_urls[{index}]", url)
    path = turn_secret_path(hub, environ)
    if path is None:
        if hub.turn_urls:
            yield Mistake("hub.turn_secret_file", *NO_TURN_SECRET)
        return
    mistake = secret_mistake("hub.turn_secret_file", path, environ.get("CREDENTIALS_DIRECTORY", ""))
    if mistake:
        yield mistake
    elif hub.turn_secret_file and not hub.turn_urls:
        yield Mistake("hub.turn_urls", "is empty, though there is a turn_secret_file", "the TURN servers that use it")


def _metrics(hub: Hub, environ: Mapping[str, str]) -> Iterator[Mistake]:
    path = metrics_token_path(hub, environ)
    mistake = path and secret_mistake("hub.metrics_token_file", path, environ.get("CREDENTIALS_DIRECTORY", ""))
    if mistake:
        yield mistake


def _database(hub: Hub, environ: Mapping[str, str]) -> Iterator[Mistake]:
    path = database_password_path(hub, environ)
    mistake = path and secret_mistake("hub.database_password_file", path, environ.get("CREDENTIALS_DIRECTORY", ""))
    if mistake:
        yield mistake
    elif hub.database_password_file and not hub.database_url.startswith("postgresql"):
        yield Mistake("hub.database_password_file", "is set, and the database is a file", "no password for SQLite")


def _hub(hub: Hub) -> Iterator[Mistake]:
    if bool(hub.tls_cert) != bool(hub.tls_key):
        yield Mistake("hub.tls_key" if hub.tls_cert else "hub.tls_cert", "is missing", "certificate and key together")
    if hub.tls_cert and hub.tls == "local":
        yield Mistake("hub.tls_cert", 'is set, and hub.tls = "local"', 'hub.tls = "files", or no tls_cert')
    yield from _readable("hub.tls_cert", hub.tls_cert)
    yield from _readable("hub.tls_key", hub.tls_key)
    yield from _private_key(hub.tls_key)
    if not hub.uses_tls and not is_loopback(hub.listen) and not hub.allow_insecure:
        allowed = 'hub.tls = "local", hub.tls_cert and hub.tls_key, a loopback address, or hub.allow_insecure = true'
        yield Mistake("hub.listen", f"{hub.listen} without TLS: tokens and voices' keys could be read", allowed)


def _proxies(hub: Hub) -> Iterator[Mistake]:
    for index, network in enumerate(hub.proxies):
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield Mistake(f"hub.proxies[{index}]", str(error), "as 127.0.0.1, 192.0.2.0/24 or 2001:db8::/64")


def _private_key(path: str) -> Iterator[Mistake]:
    """Group-readable is usual for keys (Debian's group ssl-cert), readable by everybody never is."""
    try:
        if path and Path(path).stat().st_mode & 0o007:
            yield Mistake("hub.tls_key", f"{path} can be read by everybody", f"0640 or 0600: `chmod o= {path}`")
    except OSError:
        return  # told by `_readable`


def _readable(where: str, path: str) -> Iterator[Mistake]:
    if not path:
        return
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        yield Mistake(where, f"{path}: {error.strerror}", "a file that the daemon's user can read, or empty")
