"""The one configuration file, `/etc/intercomd/intercomd.toml`: its tables, reading it, its reference.

`load` either returns a `Config` in which every value is in its range and every named file exists, or raises
one `ConfigError` that lists every mistake. Secrets are never part of a `Config`: `hub_token` and
`ice_servers` read them.
"""

from intercomd.config.credentials import database_password, hub_ca, hub_token, ice_servers, metrics_token, turn_secret
from intercomd.config.loading import load, salvage
from intercomd.config.mistakes import ConfigError, Mistake
from intercomd.config.tables import Audio, Call, Config, Hub, Ice, IceServer, Panel, Station

__all__ = [
    "Audio",
    "Call",
    "Config",
    "ConfigError",
    "Hub",
    "Ice",
    "IceServer",
    "Mistake",
    "Panel",
    "Station",
    "database_password",
    "hub_ca",
    "hub_token",
    "ice_servers",
    "load",
    "metrics_token",
    "salvage",
    "turn_secret",
]
