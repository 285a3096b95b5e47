"""The demo's configurations must be ones that the daemons take, and nobody else's to read."""

import stat
import tomllib
from pathlib import Path

from intercomd.config import load
from intercomd.demo.household import keep_token, lay_out, plan, toml


def test_every_configuration_passes_check_config(tmp_path: Path) -> None:
    household = plan(tmp_path, 8123)
    lay_out(household, ring_timeout_s=4.0)
    for station in household.stations:
        keep_token(station, "secret")
        config = load(station.config, "device", {})
        assert config.station.hub_url == "http://127.0.0.1:8123"
        assert Path(config.station.control_socket) == station.control
        assert config.panel.pin_factory == "mock"
    hub = load(household.hub_config, "hub", {}).hub
    assert (hub.port, hub.ring_timeout_s) == (8123, 4.0)
    assert hub.database_url.endswith(str(household.hub_database))


def test_what_is_changed_is_changed_where_it_belongs(tmp_path: Path) -> None:
    household = plan(tmp_path, 8123)
    lay_out(household, changed={"hub": {"grace_s": 20.0}, "call": {"grace_s": 21.0}})
    station = household.stations[0]
    keep_token(station, "secret")
    config = load(station.config, "device", {})
    assert (config.call.grace_s, config.call.peer) == (21.0, station.peer)
    assert load(household.hub_config, "hub", {}).hub.grace_s == 20.0
    assert "[call]" not in household.hub_config.read_text()
    assert "[hub]" not in station.config.read_text()


def test_nothing_in_it_is_anybody_elses(tmp_path: Path) -> None:
    household = plan(tmp_path, 8123)
    lay_out(household)
    keep_token(household.station("door"), "secret")
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_door_rings_the_flat_and_the_home_is_flat_and_kitchen(tmp_path: Path) -> None:
    household = plan(tmp_path, 8123)
    assert household.station("door").peer == "flat"
    assert {station.name for station in household.stations if station.group == "home"} == {"flat", "kitchen"}


def test_strings_survive_toml() -> None:
    tables = {"a": {"text": 'quote " backslash \\ tab\t 中文', "number": 4.5, "flag": True}}
    assert tomllib.loads(toml(tables)) == tables
