"""The hub as a process: killed in the middle of a call, started again, told to stop, administered while it runs."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa

from intercomd.config import Config, Hub
from intercomd.hub import admin
from intercomd.hub.storage.database import Database, call_records
from tests.e2e.hub_clients import LIMIT_S, enrol, household, settings, talk

START_LIMIT_S = 20.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def write_config(folder: Path, hub: Hub) -> Path:
    file = folder / "intercomd.toml"
    file.write_text(f'[hub]\nport = {hub.port}\ndatabase_url = "{hub.database_url}"\n')
    return file


@asynccontextmanager
async def process(file: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A hub that answers; killed at the end if it still runs."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "intercomd", "hub", "--config", str(file),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await answering(port)
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        await running.wait()


async def answering(port: int) -> None:
    async with asyncio.timeout(START_LIMIT_S), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with http.get("/healthz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.02)


@pytest.fixture
def config(tmp_path: Path) -> Hub:
    return settings(tmp_path, port=free_port())


async def test_killed_in_a_call_and_started_again(config: Hub, tmp_path: Path) -> None:
    tokens = await enrol(config, "door", "flat", "desk")
    file = write_config(tmp_path, config)
    known = {"calls": [{"callId": "c", "epoch": 1, "phase": "connected"}]}
    async with process(file, config.port) as running, household(config.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        heard = max(payload["seq"] for _, payload in door.heard + flat.heard)
        running.send_signal(signal.SIGKILL)
        await asyncio.wait_for(door.gone.wait(), LIMIT_S)
    async with process(file, config.port), household(config.port, tokens) as people:
        desk = await people.join("desk")
        busy = await desk.call("initiate_call", {"callId": "d", "recipientId": "flat"})
        assert busy["call"]["endReason"] == "busy"  # though nobody of that call has come back yet
        states = {}
        for name in ("door", "flat"):
            client = await people.join(name, resync=False)
            (states[name],) = (await client.call("resync", known))["calls"]
        assert (states["flat"]["phase"], states["flat"]["epoch"]) == ("connected", 1)
        assert states["door"]["seq"] > heard
        assert (await client.call("end_call", {"callId": "c"}))["call"]["endReason"] == "completed"
    database = Database(config.database_url)
    await database.open()
    async with database.transaction() as connection:
        query = sa.select(call_records.c.call_id, call_records.c.outcome)
        assert sorted(map(tuple, await connection.execute(query))) == [("c", "completed"), ("d", "missed")]
    await database.close()


async def test_told_to_stop_it_ends_cleanly_and_soon(config: Hub, tmp_path: Path) -> None:
    tokens = await enrol(config, "door")
    file = write_config(tmp_path, config)
    async with process(file, config.port) as running, household(config.port, tokens) as people:
        door = await people.join("door")
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), LIMIT_S) == 0
        await asyncio.wait_for(door.gone.wait(), LIMIT_S)
    assert sorted(os.listdir(tmp_path)) == ["hub.db", "hub.db.lock", "intercomd.toml"]


async def test_a_wrong_configuration_is_not_started_again(tmp_path: Path) -> None:
    file = tmp_path / "intercomd.toml"
    file.write_text('[hub]\nlisten = "0.0.0.0"\n')
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "intercomd", "hub", "--config", str(file), stderr=asyncio.subprocess.PIPE
    )
    _, words = await asyncio.wait_for(running.communicate(), START_LIMIT_S)
    assert running.returncode == 78
    assert b"hub.listen" in words


async def test_administered_while_it_runs(config: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def intercomd_hub(*argv: str) -> str:
        assert await asyncio.to_thread(admin.main, Config(hub=config), argv) == 0
        return capsys.readouterr().out.strip()

    first = await intercomd_hub("add-station", "door")
    file = write_config(tmp_path, config)
    async with process(file, config.port), household(config.port, {"door": first}) as people:
        flat_token = await intercomd_hub("add-station", "flat", "--group", "house")
        people.tokens["flat"] = flat_token
        door, _ = await people.join("door"), await people.join("flat")
        listed = {entry["name"]: entry for entry in json.loads(await intercomd_hub("list", "--json"))}
        assert listed["flat"] == {"name": "flat", "role": "station", "groups": ["house"], "devices": 1, "banned": False}
        assert listed["house"]["role"] == "group"
        people.tokens["door"] = await intercomd_hub("add-station", "door")
        await asyncio.wait_for(door.gone.wait(), LIMIT_S)  # revoked at once
        refusal = await people.refused({"token": first, "instance": "1", "protocol": 1})
        assert refusal["data"]["code"] == "unauthorised"
        await people.join("door")
        assert (tmp_path / "hub.db.admin").stat().st_mode & 0o777 == 0o600
        link = await intercomd_hub("invite", "tenant")
        assert link.startswith(f"http://127.0.0.1:{config.port}/#")
    raw = (tmp_path / "hub.db").read_bytes() + b"".join(path.read_bytes() for path in tmp_path.glob("hub.db-wal"))
    for token in (first, flat_token, people.tokens["door"], link.partition("#")[2]):
        assert token.encode() not in raw


@pytest.mark.parametrize(
    "argv", [("add-station", "house"), ("add-station", " x"), ("invite", "door"), ("add-station", "")]
)
def test_names_that_cannot_be_are_refused(
    config: Hub, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Config(hub=config)
    assert admin.main(whole, ["add-station", "door", "--group", "house"]) == 0
    capsys.readouterr()
    assert admin.main(whole, argv) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert repr(argv[1]) in told.err
