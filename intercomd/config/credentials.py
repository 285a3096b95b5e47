"""Secrets that the configuration names: systemd credentials (systemd.exec(5), `$CREDENTIALS_DIRECTORY`), or
files that only their owner can read."""

import stat
from collections.abc import Mapping
from pathlib import Path

from intercomd.config.mistakes import ConfigError, Mistake
from intercomd.config.tables import Hub, Ice, Station
from intercomd.core.vocabulary import IceServer

HUB_TOKEN = "hub-token"  # noqa: S105  (the credential's name)
HUB_CA = "hub-ca"
HUB_URL = "hub-url"
TURN_SECRET = "turn-secret"  # noqa: S105  (the same)
METRICS_TOKEN = "metrics-token"  # noqa: S105  (the same)
DATABASE_PASSWORD = "database-password"  # noqa: S105  (the same)
MAX_SECRET_BYTES = 4096


def hub_token(station: Station, environ: Mapping[str, str]) -> str:
    """The station's token. Raises `ConfigError`."""
    path = _credential(HUB_TOKEN, environ) or (Path(station.token_file) if station.token_file else None)
    if path is None:
        raise ConfigError("configuration", (Mistake("station.token_file", *NO_TOKEN),))
    return _read("station.token_file", path)


def hub_ca(station: Station, environ: Mapping[str, str]) -> Path | None:
    """By whom the hub's certificate is signed: the file that is named, else the credential that pairing has left. None:
    a public authority."""
    return Path(station.hub_ca_file) if station.hub_ca_file else _credential(HUB_CA, environ)


def hub_url(environ: Mapping[str, str]) -> str | None:
    """The address that pairing has left, for a file that says none. Raises `ConfigError`."""
    path = _credential(HUB_URL, environ)
    return _read("station.hub_url", path) if path else None


def turn_secret(hub: Hub, environ: Mapping[str, str]) -> str:
    """What the hub shares with its TURN server; empty without `turn_urls`. Raises `ConfigError`."""
    path = turn_secret_path(hub, environ)
    if not hub.turn_urls:
        return ""
    if path is None:
        raise ConfigError("configuration", (Mistake("hub.turn_secret_file", *NO_TURN_SECRET),))
    return _read("hub.turn_secret_file", path)


def turn_secret_path(hub: Hub, environ: Mapping[str, str]) -> Path | None:
    """The credential, else the file."""
    return _credential(TURN_SECRET, environ) or secret_path(hub.turn_secret_file, environ)


def metrics_token(hub: Hub, environ: Mapping[str, str]) -> str:
    """What Prometheus must show; empty: only programs of this machine may ask. Raises `ConfigError`, also for an empty
    file: it would open the metrics to everybody who shows nothing."""
    path = metrics_token_path(hub, environ)
    if path is None:
        return ""
    token = _read("hub.metrics_token_file", path)
    if not token:
        raise ConfigError(
            "configuration", (Mistake("hub.metrics_token_file", f"{path} is empty", "one line, the secret"),)
        )
    return token


def metrics_token_path(hub: Hub, environ: Mapping[str, str]) -> Path | None:
    """The credential, else the file."""
    return _credential(METRICS_TOKEN, environ) or secret_path(hub.metrics_token_file, environ)


def database_password(hub: Hub, environ: Mapping[str, str]) -> str:
    """PostgreSQL's password; empty: the one in the URL, if any. Raises `ConfigError`."""
    path = database_password_path(hub, environ)
    return _read("hub.database_password_file", path) if path else ""


def database_password_path(hub: Hub, environ: Mapping[str, str]) -> Path | None:
    """The credential, else the file."""
    return _credential(DATABASE_PASSWORD, environ) or secret_path(hub.database_password_file, environ)


def ice_servers(ice: Ice, environ: Mapping[str, str]) -> tuple[IceServer, ...]:
    """The configured servers with their passwords, as the media adapter takes them. Raises `ConfigError`."""
    return tuple(
        IceServer(
            urls=list(server.urls),
            username=server.username or None,
            credential=_read(f"ice.servers[{index}].credential_file", path) if path else None,
        )
        for index, server in enumerate(ice.servers)
        for path in (secret_path(server.credential_file, environ),)
    )


NO_TOKEN = (
    "there is no token",
    f"a file with what `intercomd hub add-station NAME` prints, or a systemd credential `{HUB_TOKEN}`",
)


NO_TURN_SECRET = (
    "there is no secret for hub.turn_urls",
    f"a file with coturn's static-auth-secret, or a systemd credential `{TURN_SECRET}`",
)


def token_mistake(station: Station, environ: Mapping[str, str]) -> Mistake | None:
    """What is wrong with the token's source, without keeping the token."""
    if _credential(HUB_TOKEN, environ):
        return None
    if not station.token_file:
        return Mistake("station.token_file", *NO_TOKEN)
    return secret_mistake("station.token_file", Path(station.token_file))


def secret_path(name: str, environ: Mapping[str, str]) -> Path | None:
    """An absolute path as it is, another name in the credentials' directory, "" as None."""
    if not name:
        return None
    return Path(environ.get("CREDENTIALS_DIRECTORY", "/")) / name


def secret_mistake(where: str, path: Path, credentials: str = "") -> Mistake | None:
    """None if `path` is a non-empty file that only its owner can read, or that lies in `credentials`: systemd
    sets the modes there."""
    try:
        mode = path.stat().st_mode
        if mode & 0o077 and not (credentials and path.is_relative_to(credentials)):
            allowed = f"0600 or 0400: `chmod 600 {path}`"
            return Mistake(where, f"{path} can be read by others (mode {stat.S_IMODE(mode):04o})", allowed)
        return None if path.read_bytes().strip() else Mistake(where, f"{path} is empty", "one line, the secret")
    except OSError as error:
        return Mistake(where, f"{path}: {error.strerror}", "a file that the daemon's user can read, mode 0600")


def _credential(name: str, environ: Mapping[str, str]) -> Path | None:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory) / name if directory else None
    return path if path and path.is_file() else None


def _read(where: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            secret = file.read(MAX_SECRET_BYTES).decode().strip()
    except OSError as error:
        raise ConfigError("configuration", (Mistake(where, f"{path}: {error.strerror}", "a readable file"),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError("configuration", (Mistake(where, f"{path} is not text", "one line, the secret"),)) from error
    return secret
