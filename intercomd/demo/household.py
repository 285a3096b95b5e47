"""The demo's household on disk: one hub, three stations, each with its configuration, token, state and socket."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GROUP = "home"
RING_TIMEOUT_S = 60.0
DOOR_LINE = 12

Model = Literal["door", "handset", "tile"]
Value = str | int | float | bool | Mapping[str, int] | Sequence[str]
Tables = Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class StationPlan:
    """A station. `model` is how the panel page draws it, `peer` whom its button calls, `group` where it rings along,
    `route` where a call's voice comes out at first."""

    name: str
    model: Model
    peer: str
    route: Literal["speaker", "handset"]
    group: str
    home: Path

    @property
    def config(self) -> Path:
        return self.home / "intercomd.toml"

    @property
    def control(self) -> Path:
        return self.home / "control"

    @property
    def token(self) -> Path:
        return self.home / "token"

    @property
    def state(self) -> Path:
        return self.home / "state"


@dataclass(frozen=True, slots=True)
class Household:
    """Everything that is laid out. `root` is private to its user (0700)."""

    root: Path
    hub_port: int
    stations: tuple[StationPlan, ...]

    @property
    def hub_config(self) -> Path:
        return self.root / "hub" / "intercomd.toml"

    @property
    def hub_database(self) -> Path:
        return self.root / "hub" / "hub.db"

    @property
    def hub_url(self) -> str:
        return f"http://127.0.0.1:{self.hub_port}"

    def station(self, name: str) -> StationPlan:
        return next(station for station in self.stations if station.name == name)


def plan(root: Path, hub_port: int) -> Household:
    """A door that rings the flat; a flat; a kitchen. Flat and kitchen ring together as the group `home`."""

    def at(name: str) -> Path:
        return root / name

    door = StationPlan("door", "door", "flat", "speaker", "", at("door"))
    flat = StationPlan("flat", "handset", "door", "handset", GROUP, at("flat"))
    kitchen = StationPlan("kitchen", "tile", "flat", "speaker", GROUP, at("kitchen"))
    return Household(root, hub_port, (door, flat, kitchen))


def lay_out(household: Household, ring_timeout_s: float = RING_TIMEOUT_S, changed: Tables | None = None) -> None:
    """Make the directories and write the configurations. The tokens come from the hub, later. `changed` holds what
    differs from a demo's configuration: its table `hub` for the hub, the others for every station."""
    changed = changed or {}
    of_hub = {name: table for name, table in changed.items() if name == "hub"}
    of_stations = {name: table for name, table in changed.items() if name != "hub"}
    for place in (household.hub_config.parent, *(station.home for station in household.stations)):
        place.mkdir(mode=0o700)
    _write(household.hub_config, _merged(_hub_tables(household, ring_timeout_s), of_hub))
    for station in household.stations:
        station.state.mkdir(mode=0o700)
        _write(station.config, _merged(_station_tables(household, station), of_stations))


def keep_token(station: StationPlan, token: str) -> None:
    """For its owner only, or the station refuses it."""
    station.token.touch(mode=0o600)
    station.token.write_text(token + "\n")


def _hub_tables(household: Household, ring_timeout_s: float) -> Tables:
    return {
        "hub": {
            "listen": "127.0.0.1",
            "port": household.hub_port,
            "database_url": f"sqlite+aiosqlite:///{household.hub_database}",
            "ring_timeout_s": ring_timeout_s,
        }
    }


def _station_tables(household: Household, station: StationPlan) -> Tables:
    name = station.name
    return {
        "station": {
            "name": name,
            "hub_url": household.hub_url,
            "token_file": str(station.token),
            "state_dir": str(station.state),
            "control_socket": str(station.control),
        },
        "audio": {
            "speaker_pcm": f"{name}_speaker",
            "microphone_pcm": f"{name}_microphone",
            "handset_pcm": f"{name}_handset",
            "handset_microphone_pcm": f"{name}_handset_microphone",
            "default_route": station.route,
            "processing": "none",  # null sinks have no room: there is no echo, and its canceller would be heard
        },
        "panel": {"pin_factory": "mock", **_door_lines(station)},
        "call": {"peer": station.peer},
        "ice": {"allow_loopback": True},
    }


def _door_lines(station: StationPlan) -> Mapping[str, Value]:
    """The door has an opener, the others a button for it."""
    return {"outputs": {"door": DOOR_LINE}} if station.model == "door" else {"buttons": {"unlock": DOOR_LINE}}


def _merged(tables: Tables, changed: Tables) -> Tables:
    return {**tables, **{name: {**tables.get(name, {}), **table} for name, table in changed.items()}}


def toml(tables: Tables) -> str:
    """TOML text. A JSON string without a DEL is a TOML basic string, and so are its numbers and booleans."""
    blocks: Sequence[str] = [
        "\n".join([f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())])
        for name, table in tables.items()
    ]
    return "\n\n".join(blocks) + "\n"


def _value(value: Value) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {number}' for key, number in value.items())} }}"
    return json.dumps(value)


def _write(path: Path, tables: Mapping[str, Mapping[str, Value]]) -> None:
    path.touch(mode=0o600)
    path.write_text(toml(tables))
