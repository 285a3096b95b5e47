"""Phones that are woken: the real hub, and a push service that reads what it gets as the browser would."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from tests.e2e.hub_clients import ANSWER, OFFER, settings
from tests.e2e.push_service import PushService, Received
from tests.e2e.test_residents import Browser, opened, order, stations, tab

SUBJECT = "mailto:caretaker@example.net"


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    async with PushService.serving() as it:
        yield it


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[HubServer]:
    chosen = settings(tmp_path, push_subject=SUBJECT, ring_timeout_s=20)
    async with HubServer(chosen, FakeJournal(), push_anywhere=True) as server:
        yield server


async def subscribe(browser: Browser, service: PushService, name: str = "phone") -> dict[str, Any]:
    status, body = await browser.ask("PUT", "/api/push", json=service.phone(name).subscription)
    assert (status, body["subscribed"]) == (200, True), body
    found: dict[str, Any] = body
    return found


async def pushes(hub: HubServer, outcome: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{hub.port}/metrics") as response:
        lines = (await response.text()).splitlines()
    [line] = [line for line in lines if line.startswith(f'intercom_pushes_total{{outcome="{outcome}"}}')]
    return float(line.split()[-1])


def about(message: Received) -> tuple[str, bool]:
    """Which call, and whether it rings."""
    return message.payload["callId"], "until" in message.payload


async def test_a_call_to_a_closed_page_rings_the_phone_and_is_answered_when_the_page_opens(
    hub: HubServer, service: PushService
) -> None:
    async with opened(hub, "tenant") as tenant, stations(hub, "door") as people:
        state = await subscribe(tenant, service)
        door = await people.join("door")
        reply = await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        assert (reply["ok"], reply["call"]["phase"]) == (True, "ringing"), reply
        [ring] = await service.take(1)
        assert ring.payload.keys() == {"callId", "caller", "until"}, "no more than this leaves the house"
        assert (ring.payload["callId"], ring.payload["caller"]) == ("c1", "door")
        assert ring.sender == state["publicKey"]
        assert ring.claims["sub"] == SUBJECT
        assert (ring.headers["Urgency"], ring.headers["Content-Encoding"]) == ("high", "aes128gcm")
        assert 15 <= int(ring.headers["TTL"]) <= 20, "as long as it rings"
        async with tab(tenant) as page:
            await page.hears("incoming_call", 1)
            assert (await page.call("accept_call", {"callId": "c1"}))["call"]["phase"] == "connecting"
            assert (await door.call("webrtc_offer", {"callId": "c1", "epoch": 1, "sdp": OFFER}))["ok"]
            reply = await page.call("webrtc_answer", {"callId": "c1", "epoch": 1, "sdp": ANSWER})
            assert reply["call"]["phase"] == "connected"
        over = (await service.take(2))[1]
        assert over.payload == {"callId": "c1", "caller": "door"}, "the notification says so, or goes"
        assert over.headers["Topic"] == ring.headers["Topic"]
        assert await pushes(hub, "accepted") == 2


async def test_a_caller_who_hangs_up_silences_the_phone(hub: HubServer, service: PushService) -> None:
    async with opened(hub, "tenant") as tenant, stations(hub, "door") as people:
        await subscribe(tenant, service)
        door = await people.join("door")
        await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        await service.take(1)
        assert (await door.call("cancel_call", {"callId": "c1"}))["call"]["phase"] == "ended"
        assert [about(each) for each in await service.take(2)] == [("c1", True), ("c1", False)]


async def test_an_open_page_and_the_phone_ring_both_and_stop_both(hub: HubServer, service: PushService) -> None:
    async with opened(hub, "tenant") as tenant, stations(hub, "door") as people, tab(tenant) as page:
        await subscribe(tenant, service)
        door = await people.join("door")
        await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        await page.hears("incoming_call", 1)
        await service.take(1)
        assert (await page.call("reject_call", {"callId": "c1"}))["ok"]
        await door.hears("call_rejected", 1)
        assert [about(each) for each in await service.take(2)] == [("c1", True), ("c1", False)]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_that_is_gone_is_removed_and_the_caller_hears_it(
    hub: HubServer, service: PushService, status: int
) -> None:
    async with opened(hub, "tenant") as tenant, stations(hub, "door") as people:
        await subscribe(tenant, service)
        service.statuses = [status]
        door = await people.join("door")
        await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        failed = await door.hears("call_failed", 1)
        assert failed["reason"] == "user_offline", failed
        assert service.asked == 1, "what is gone is not asked again"
        assert (await tenant.ask("GET", "/api/push"))[1]["subscribed"] is False
        reply = await door.call("initiate_call", {"callId": "c2", "recipientId": "tenant"})
        assert reply["call"]["phase"] == "ended"


async def test_a_busy_push_service_is_asked_once_more(hub: HubServer, service: PushService) -> None:
    async with opened(hub, "tenant") as tenant, stations(hub, "door") as people:
        await subscribe(tenant, service)
        door = await people.join("door")
        service.statuses = [503]
        await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        await service.take(1)
        assert service.asked == 2
        await door.call("cancel_call", {"callId": "c1"})
        await service.take(2)
        service.statuses = [429, 429]
        await door.call("initiate_call", {"callId": "c2", "recipientId": "tenant"})
        await door.hears("call_failed", 1)
        assert await pushes(hub, "overloaded") == 1
        assert (await tenant.ask("GET", "/api/push"))[1]["subscribed"] is True, "it may be there again next time"


async def test_a_subscription_ends_with_its_session_and_with_a_revocation(hub: HubServer, service: PushService) -> None:
    async with opened(hub, "tenant") as tenant, opened(hub, "neighbour") as neighbour, stations(hub, "door") as people:
        await subscribe(tenant, service, "hers")
        await subscribe(neighbour, service, "his")
        door = await people.join("door")
        await tenant.ask("DELETE", "/api/session")
        await order(hub, "revoke", "neighbour")
        for number, name in enumerate(("tenant", "neighbour")):
            reply = await door.call("initiate_call", {"callId": f"c{number}", "recipientId": name})
            assert reply["call"]["phase"] == "ended", reply
        assert service.asked == 0


async def test_the_owner_takes_it_back(hub: HubServer, service: PushService) -> None:
    async with opened(hub, "tenant") as tenant, stations(hub, "door") as people:
        await subscribe(tenant, service)
        for _ in range(2):
            status, body = await tenant.ask("DELETE", "/api/push")
            assert (status, body["subscribed"]) == (200, False)
        door = await people.join("door")
        reply = await door.call("initiate_call", {"callId": "c", "recipientId": "tenant"})
        assert reply["call"]["phase"] == "ended"
        assert service.asked == 0


async def test_only_a_signed_in_page_of_ours_may_subscribe(hub: HubServer, service: PushService) -> None:
    async with opened(hub) as stranger, opened(hub, "tenant") as tenant:
        wish = service.phone("x").subscription
        assert (await stranger.ask("GET", "/api/push"))[0] == 401
        assert (await stranger.ask("PUT", "/api/push", json=wish))[0] == 401
        for method in ("PUT", "DELETE"):
            assert (await tenant.ask(method, "/api/push", origin="https://elsewhere.example", json=wish))[0] == 403
        broken = {**wish, "keys": {"p256dh": "AAAA", "auth": "AAAA"}}
        assert (await tenant.ask("PUT", "/api/push", json=broken))[0] == 400


async def test_the_key_is_made_once_and_nothing_is_pushed_without_a_contact(
    tmp_path: Path, service: PushService
) -> None:
    seen = []
    for subject in (SUBJECT, SUBJECT, ""):
        chosen = settings(tmp_path, push_subject=subject)
        async with HubServer(chosen, FakeJournal(), push_anywhere=True) as hub, opened(hub, "tenant") as tenant:
            seen.append((await tenant.ask("GET", "/api/push"))[1]["publicKey"])
            if not subject:
                wish = service.phone("x").subscription
                assert (await tenant.ask("PUT", "/api/push", json=wish))[0] == 409
    assert seen[0] is not None
    assert seen == [seen[0], seen[0], None]


async def test_in_earnest_a_neighbour_is_no_push_service(tmp_path: Path, service: PushService) -> None:
    async with (
        HubServer(settings(tmp_path, push_subject=SUBJECT), FakeJournal()) as hub,
        opened(hub, "tenant") as tenant,
    ):
        for endpoint in (service.phone("x").endpoint, "https://192.168.0.1/x"):
            wish = {**service.phone("x").subscription, "endpoint": endpoint}
            assert (await tenant.ask("PUT", "/api/push", json=wish))[0] == 400
