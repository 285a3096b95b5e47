"""What supervisors, load balancers and Prometheus see of a hub, and how it stops without losing a call."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from intercomd.config import Hub
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.api import probes as operations
from intercomd.hub.server import HubServer
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import call_records
from tests.e2e.hub_clients import ANSWER, LIMIT_S, OFFER, enrol, household, settings, talk, until
from tests.e2e.test_hub_process import free_port, process, write_config


@asynccontextmanager
async def serving(config: Hub, **options: Any) -> AsyncIterator[tuple[HubServer, aiohttp.ClientSession]]:
    async with (
        HubServer(config, FakeJournal(), **options) as hub,
        aiohttp.ClientSession(f"http://127.0.0.1:{hub.port}") as http,
    ):
        yield hub, http


async def status(http: aiohttp.ClientSession, path: str, **headers: str) -> int:
    async with http.get(path, headers=headers) as response:
        return response.status


async def answer(http: aiohttp.ClientSession, path: str) -> tuple[int, dict[str, Any]]:
    async with http.get(path) as response:
        return response.status, await response.json()


async def scrape(http: aiohttp.ClientSession) -> dict[str, float]:
    async with http.get("/metrics") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        lines = [line for line in (await response.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


# ------------------------------------------------------------------------------------------------- ready, healthy


async def test_ready_while_the_database_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that went read-only under an idle hub: nobody has called, so only trying to write shows it."""
    monkeypatch.setattr(operations, "PROBE_EVERY_S", 0.0)
    async with serving(settings(tmp_path)) as (hub, http):
        assert await answer(http, "/readyz") == (
            200, {"ok": True, "database": True, "directory": True, "stopping": False},
        )  # fmt: skip
        async with hub._database.transaction() as connection:
            await connection.exec_driver_sql("PRAGMA query_only = 1")
        code, state = await answer(http, "/readyz")
        assert (code, state["ok"], state["database"]) == (503, False, False)
        assert (await scrape(http))["intercom_ready"] == 0.0
        async with hub._database.transaction() as connection:
            await connection.exec_driver_sql("PRAGMA query_only = 0")
        assert await status(http, "/readyz") == 200


async def test_asking_often_does_not_write_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(settings(tmp_path)) as (hub, http):
        probes: list[int] = []
        probe = hub._database.probe

        async def counted() -> None:
            probes.append(1)
            await probe()

        monkeypatch.setattr(hub._database, "probe", counted)
        for _ in range(5):
            assert await status(http, "/readyz") == 200
        assert len(probes) == 1


# ---------------------------------------------------------------------------------------------------- the metrics


async def test_a_call_is_seen_in_the_metrics(tmp_path: Path) -> None:
    config = settings(tmp_path)
    tokens = await enrol(config, "door", "flat", "desk")
    async with serving(config) as (hub, http), household(hub.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        await talk(door, flat, "c", "flat")
        found = await scrape(http)
        assert found['intercom_open_calls{phase="connected"}'] == 1.0
        assert found['intercom_enrolled{role="station"}'] == 3.0
        assert found['intercom_connected{role="station"}'] == 2.0
        assert 0.0 <= found["intercom_link_age_max_seconds"] < LIMIT_S
        await flat.call("call_metrics", {"callId": "c", "metrics": {"mos": 4.2, "mouthToEar": 0.1}})
        await door.call("end_call", {"callId": "c"})
        await flat.call("initiate_call", {"callId": "d", "recipientId": "desk"})
        await flat.call("dance", {})
        found = await scrape(http)
        assert found['intercom_calls_total{outcome="completed",reason="completed"}'] == 1.0
        assert found['intercom_calls_total{outcome="missed",reason="user_offline"}'] == 1.0
        assert found["intercom_call_mos_count"] == 1.0
        assert found['intercom_request_seconds_count{event="initiate_call"}'] == 2.0
        assert found['intercom_refusals_total{code="unknown_event"}'] == 1.0
        assert found["intercom_database_commit_seconds_count"] > 0.0


async def test_without_a_token_the_metrics_are_for_this_machine_only(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as (_, http):
        assert await status(http, "/metrics") == 200
        for headers in ({"X-Forwarded-For": "203.0.113.7"}, {"Via": "1.1 proxy"}, {"Host": "rebound.example"}):
            assert await status(http, "/metrics", **headers) == 403, headers


async def test_with_a_token_nobody_asks_without_it(tmp_path: Path) -> None:
    async with serving(settings(tmp_path), metrics_token="secret") as (_, http):
        assert await status(http, "/metrics") == 401
        assert await status(http, "/metrics", Authorization="Bearer wrong") == 401
        good = {"Authorization": "Bearer secret", "X-Forwarded-For": "203.0.113.7"}
        assert await status(http, "/metrics", **good) == 200
        seen = {await status(http, "/metrics", Authorization=f"Bearer {number}") for number in range(40)}
        assert seen == {401, 429}


async def test_the_api_describes_itself(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as (_, http):
        code, document = await answer(http, "/api/openapi.json")
        assert (code, document["openapi"]) == (200, "3.1.0")
        assert set(document["paths"]) >= {"/readyz", "/metrics", "/api/session", "/api/webrtc/ice-config"}
        for path in document["paths"]:
            asked = document["paths"][path].get("get")
            if "{" not in path and asked is not None and "404" not in asked["responses"]:
                assert await status(http, path) != 404, path


# ----------------------------------------------------------------------------------------------------- stopping


async def test_told_to_stop_it_takes_no_new_calls_and_serves_those_that_are_there(tmp_path: Path) -> None:
    config = settings(tmp_path)
    tokens = await enrol(config, "door", "flat", "desk")
    async with serving(config) as (hub, http), household(hub.port, tokens) as people:
        door, flat, desk = [await people.join(name) for name in ("door", "flat", "desk")]
        await talk(door, flat, "c", "flat")
        crowd = [await people.join("desk", str(number)) for number in range(2, 12)]
        stopping = asyncio.create_task(hub.wind_down(spread_s=3.0))
        await until(lambda: any(client.gone.is_set() for client in (*crowd, door, flat, desk)))
        code, state = await answer(http, "/readyz")
        assert (code, state["stopping"], state["database"]) == (503, True, True)
        assert await status(http, "/healthz") == 200
        last = next(client for client in (*crowd, desk) if not client.gone.is_set())
        refused = await last.call("initiate_call", {"callId": "d", "recipientId": "flat"})
        assert (refused["ok"], refused["code"]) == (False, "try_again")
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect("/socket.io/?EIO=4&transport=websocket")
        await stopping
        for client in (*crowd, door, flat, desk):
            await asyncio.wait_for(client.gone.wait(), LIMIT_S)


@pytest.mark.parametrize("phase", ["ringing", "connected"])
async def test_stopped_and_started_again_the_call_goes_on_and_has_one_record(tmp_path: Path, phase: str) -> None:
    config = settings(tmp_path, port=free_port())
    tokens = await enrol(config, "door", "flat")
    file = write_config(tmp_path, config)
    async with process(file, config.port) as running, household(config.port, tokens) as people:
        door, flat = await people.join("door"), await people.join("flat")
        if phase == "ringing":
            await door.call("initiate_call", {"callId": "c", "recipientId": "flat"})
            await flat.hears("incoming_call")
        else:
            await talk(door, flat, "c", "flat")
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), LIMIT_S) == 0
        for client in (door, flat):
            await asyncio.wait_for(client.gone.wait(), LIMIT_S)
    async with process(file, config.port), household(config.port, tokens) as people:
        door, flat = await people.join("door", resync=False), await people.join("flat", resync=False)
        for client in (door, flat):
            (state,) = (await client.call("resync", {"calls": [{"callId": "c", "epoch": 1, "phase": phase}]}))["calls"]
        assert (state["callId"], state["phase"]) == ("c", phase)
        if phase == "ringing":
            await flat.hears("incoming_call")
            await flat.call("accept_call", {"callId": "c"})
            await door.hears("call_accepted")
            await door.call("webrtc_offer", {"callId": "c", "epoch": 1, "sdp": OFFER})
            await flat.call("webrtc_answer", {"callId": "c", "epoch": 1, "sdp": ANSWER})
        await flat.call("end_call", {"callId": "c"})
        await door.hears("call_ended")
    assert await written(config) == [("c", "completed", "completed")]


async def written(config: Hub) -> list[tuple[str, ...]]:
    database = Database(config.database_url)
    await database.open()
    try:
        async with database.transaction() as connection:
            query = sa.select(call_records.c.call_id, call_records.c.outcome, call_records.c.reason)
            return [tuple(row) for row in await connection.execute(query)]
    finally:
        await database.close()


def test_everything_that_stopping_may_take_is_within_the_units_limit() -> None:
    from intercomd.hub import server, transport

    unit = (Path(__file__).parents[2] / "systemd" / "intercomd-hub.service").read_text()
    (limit,) = [line for line in unit.splitlines() if line.startswith("TimeoutStopSec=")]
    worst_s = (
        server.SPREAD_S + 1.0
        + 3 * transport.CLOSE_LIMIT_S
        + 2 * server.SHUTDOWN_LIMIT_S
        + server.DRAIN_LIMIT_S
    )  # fmt: skip
    assert worst_s < float(limit.partition("=")[2].removesuffix("s"))
