"""A phone whose page is closed: what the hub pushes becomes a notification in real Chromium.

Chromium's own push service is far away. So its subscription is one of `push_service`, which takes what the hub sends
and decrypts it as a browser does; DevTools then give it to the page's service worker."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, CDPSession, Worker

from intercomd.demo.resident import Resident, resident
from intercomd.fakes.journal import FakeJournal
from intercomd.hub.server import HubServer
from tests.e2e.hub_clients import settings, until
from tests.e2e.page.conftest import INSECURE_HOST
from tests.e2e.page.test_look import check
from tests.e2e.page.witness import Witness
from tests.e2e.push_service import PushService
from tests.e2e.test_residents import secret, stations

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.platform("chromium"),
    pytest.mark.timeout(90),
]
SUBJECT = "mailto:caretaker@example.net"
LIMIT_S, LOOK_S = 10.0, 0.03
ALLOWED = ["microphone", "notifications"]
ON, OFF = "Ring this device when the page is closed", "Ring only while the page is open"
RINGING = ("door is calling", "Tap to answer.", True)
OVER = ("door has called", "The call is over.", False)

SUBSCRIBED = """(() => {
  const plain = (text) => atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = (text) => Uint8Array.from(plain(text), (char) => char.charCodeAt(0));
  const own = () => localStorage.own && {
    toJSON: () => (%s), options: { applicationServerKey: bytes(localStorage.own).buffer },
    unsubscribe: async () => { delete localStorage.own; return true; },
  };
  PushManager.prototype.getSubscription = async () => own() || null;
  PushManager.prototype.subscribe = async (options) => {
    if (!options.userVisibleOnly) throw new Error("no browser takes that");
    localStorage.own = options.applicationServerKey;
    return own();
  };
})()"""
"""The browser's memory of its subscription, and the subscription of the test's push service for it."""

HEARD = """() => {
  self.heard = 0;
  const works = [], keep = ExtendableEvent.prototype.waitUntil;
  ExtendableEvent.prototype.waitUntil = function (work) { works.push(work); return keep.call(this, work); };
  addEventListener("push", async () => { await Promise.allSettled(works.splice(0)); self.heard += 1; });
}"""
"""`self.heard`: how many messages the worker is done with."""

SHOWN = """async () => (await registration.getNotifications())
  .map(({ title, body, requireInteraction }) => [title, body, requireInteraction])"""

TAPPED = """async () => {
  const asked = [], work = [];
  WindowClient.prototype.focus = async function () { asked.push("focus"); return this; };
  Clients.prototype.openWindow = async (url) => { asked.push(`open ${url}`); return null; };
  const [notification] = await registration.getNotifications();
  const tap = new Event("notificationclick");
  dispatchEvent(Object.assign(tap, { notification, waitUntil: (promise) => work.push(promise) }));
  await Promise.all(work);
  return asked;
}"""
"""Only a person's own tap may open windows: here it is heard what the worker asks for."""


@pytest_asyncio.fixture(loop_scope="session")
async def service() -> AsyncIterator[PushService]:
    async with PushService.serving() as it:
        yield it


@asynccontextmanager
async def serving(folder: Path, subject: str) -> AsyncIterator[HubServer]:
    chosen = settings(folder, push_subject=subject, ring_timeout_s=20)
    async with HubServer(chosen, FakeJournal(), push_anywhere=True) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def hub(tmp_path: Path) -> AsyncIterator[HubServer]:
    async with serving(tmp_path, SUBJECT) as server:
        yield server


async def link(hub: HubServer, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{hub.port}/#{await secret(hub, 'invite', 'tenant')}"


@asynccontextmanager
async def tenant_with(
    hub: HubServer, chromium: Browser, witness: Witness, *scripts: str, **options: Any
) -> AsyncIterator[Resident]:
    """Signed in; these scripts run before the page's."""

    async def prepared(context: Any) -> None:
        await witness.watch(context)
        for script in scripts:
            # Before the page there is an empty one, where browsers have nothing of all this.
            await context.add_init_script(f"if (isSecureContext) {{ {script} }}")

    options = {"permissions": ALLOWED, **options}
    async with resident(chromium, await link(hub), watch=prepared, **options) as person:
        yield person


class Phone:
    """A browser that is subscribed, seen from its push service's side."""

    def __init__(self, person: Resident, devtools: CDPSession, worker: Worker, registration: str) -> None:
        self.person = person
        self._devtools = devtools
        self._worker = worker
        self._registration = registration
        self._origin = person.page.url.rstrip("/")

    async def close_page(self) -> None:
        await self.person.page.goto("about:blank")

    async def get(self, payload: dict[str, Any]) -> None:
        """A push message arrives, and the worker is done with it. Who asks Chromium for notifications while it is about
        to show one makes it forget that one: it compares its list with what is on the screen."""
        before = await self._heard()
        wake = {"origin": self._origin, "registrationId": self._registration, "data": json.dumps(payload)}
        await self._devtools.send("ServiceWorker.deliverPushMessage", wake)
        async with asyncio.timeout(LIMIT_S):
            while await self._heard() == before:
                await asyncio.sleep(LOOK_S)

    async def _heard(self) -> int:
        return int(await self._worker.evaluate("self.heard"))

    async def shows(self, *wanted: tuple[str, str, bool]) -> None:
        """Wait until these are its notifications: title, text, whether it stays until it is touched."""
        found: list[Any] = []
        try:
            async with asyncio.timeout(LIMIT_S):
                while (found := await self._worker.evaluate(SHOWN)) != [list(each) for each in wanted]:
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise AssertionError(f"it shows {found}") from None

    async def tap(self) -> list[str]:
        """The latest notification; what the worker asks the browser for."""
        asked: list[str] = await self._worker.evaluate(TAPPED)
        return asked


@asynccontextmanager
async def subscribed(hub: HubServer, service: PushService, chromium: Browser, witness: Witness) -> AsyncIterator[Phone]:
    given = json.dumps(service.phone("phone").subscription)
    async with tenant_with(hub, chromium, witness, SUBSCRIBED % given) as tenant:
        registrations: list[dict[str, Any]] = []
        devtools = await tenant.context.new_cdp_session(tenant.page)
        devtools.on("ServiceWorker.workerRegistrationUpdated", lambda told: registrations.extend(told["registrations"]))
        await devtools.send("ServiceWorker.enable")
        await tenant.see(f'#push:has-text("{ON}")')
        await tenant.click("push")
        await tenant.see(f'#push:has-text("{OFF}")')
        await until(lambda: bool(registrations and tenant.context.service_workers))
        [worker] = tenant.context.service_workers
        await worker.evaluate(HEARD)
        yield Phone(tenant, devtools, worker, registrations[0]["registrationId"])


async def is_subscribed(person: Resident) -> bool:
    """As the hub has it."""
    answer = await person.page.evaluate("async () => (await fetch('/api/push')).json()")
    return bool(answer["subscribed"])


async def is_remembered(person: Resident) -> bool:
    """By the browser."""
    return bool(await person.page.evaluate("'own' in localStorage"))


async def becomes(wanted: bool, ask: Callable[[Resident], Awaitable[bool]], person: Resident) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await ask(person) != wanted:
            await asyncio.sleep(LOOK_S)


async def test_a_closed_page_rings_until_the_call_is_over(
    hub: HubServer, service: PushService, chromium: Browser, witness: Witness
) -> None:
    async with subscribed(hub, service, chromium, witness) as phone, stations(hub, "door") as people:
        door = await people.join("door")
        await phone.close_page()
        reply = await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        assert reply["call"]["phase"] == "ringing", "there is no page, but a phone"
        [ring] = await service.take(1)
        await phone.get(ring.payload)
        await phone.shows(RINGING)
        await door.call("cancel_call", {"callId": "c1"})
        over = (await service.take(2))[1]
        await phone.get(over.payload)
        await phone.shows(OVER)
        await phone.get({**ring.payload, "callId": "c0", "until": 1000})
        await phone.shows(OVER, OVER)
        await phone.get({"something": "else"})
        await phone.shows(OVER, OVER)


async def test_a_tap_opens_the_page_which_has_the_call_and_then_nothing_stays(
    hub: HubServer, service: PushService, chromium: Browser, witness: Witness
) -> None:
    async with subscribed(hub, service, chromium, witness) as phone, stations(hub, "door") as people:
        door = await people.join("door")
        address = phone.person.page.url
        await phone.close_page()
        await door.call("initiate_call", {"callId": "c1", "recipientId": "tenant"})
        [ring] = await service.take(1)
        await phone.get({**ring.payload, "callId": "c0"})
        await phone.shows(RINGING)
        assert await phone.tap() == ["open /"]
        await phone.shows()
        await phone.person.page.goto(address)
        await phone.person.phase("ringing_in")
        await phone.get(ring.payload)
        await phone.shows(RINGING)
        await phone.person.decline()
        await phone.get((await service.take(2))[1].payload)
        await phone.shows()
        await phone.get({**ring.payload, "callId": "c2"})
        await phone.shows(RINGING)
        assert await phone.tap() == ["focus"]


async def test_it_is_told_and_turned_off_again(
    hub: HubServer, service: PushService, chromium: Browser, witness: Witness
) -> None:
    async with subscribed(hub, service, chromium, witness) as phone:
        tenant = phone.person
        await tenant.see("#ready-why:has-text('also while this page is closed')")
        await tenant.page.click("#ready summary")
        await tenant.see('#checks [data-key="closed"][data-good="true"]')
        await check(tenant, "push is on")
        await tenant.reload()
        await tenant.see(f'#push:has-text("{OFF}")')
        await tenant.click("push")
        await tenant.see(f'#push:has-text("{ON}")')
        assert not await is_subscribed(tenant)
        await tenant.reload()
        await tenant.see(f'#push:has-text("{ON}")')
        assert not await is_subscribed(tenant)


async def test_a_new_session_keeps_it_and_signing_out_ends_it(
    hub: HubServer, service: PushService, chromium: Browser, witness: Witness
) -> None:
    async with subscribed(hub, service, chromium, witness) as phone:
        tenant = phone.person
        await tenant.page.goto(await link(hub))
        await tenant.click("sign-in")
        await becomes(True, is_subscribed, tenant)
        await tenant.see(f'#push:has-text("{OFF}")')
        await tenant.click("sign-out")
        await tenant.see("#welcome")
        await becomes(False, is_remembered, tenant)
        await tenant.page.goto(await link(hub))
        await tenant.click("sign-in")
        await tenant.see(f'#push:has-text("{ON}")')
        assert not await is_subscribed(tenant)


@pytest.mark.parametrize(
    ("script", "permissions", "locale", "words"),
    [
        ("delete window.PushManager", ALLOWED, "en-GB", "this browser cannot be woken"),
        ("delete window.PushManager; navigator.standalone = false", ALLOWED, "en-GB", "Add to Home Screen"),
        ("delete window.PushManager; navigator.standalone = true", ALLOWED, "zh-CN", "此浏览器无法被唤醒"),
        ("", ["microphone"], "en-GB", "notifications are blocked"),
        ("", ["microphone"], "zh-CN", "通知已被禁用"),
    ],
)
async def test_why_it_cannot_is_said(
    hub: HubServer, chromium: Browser, witness: Witness, script: str, permissions: list[str], locale: str, words: str
) -> None:
    async with tenant_with(hub, chromium, witness, script, permissions=permissions, locale=locale) as tenant:
        await tenant.see(f'#push-why:has-text("{words}")')
        assert not await tenant.page.is_visible("#push")
        await check(tenant, words)


async def test_an_address_that_is_not_secure_cannot_and_says_so(
    hub: HubServer, chromium: Browser, witness: Witness
) -> None:
    context = await chromium.new_context(viewport={"width": 390, "height": 844}, locale="en-GB")
    try:
        await witness.watch(context)
        page = await context.new_page()
        await page.goto(await link(hub, INSECURE_HOST))
        await page.click("#sign-in")
        await page.wait_for_selector('#push-why:has-text("Use the https address")')
        assert not await page.is_visible("#push")
    finally:
        await context.close()


@pytest.mark.parametrize(
    ("place", "error", "seen"),
    [
        ("ServiceWorkerContainer.prototype.register", "SecurityError", '#push-why:has-text("does not trust")'),
        ("PushManager.prototype.subscribe", "AbortError", '#toast:has-text("cannot be reached")'),
    ],
)
async def test_what_fails_is_said_and_not_called_on(
    hub: HubServer, chromium: Browser, witness: Witness, place: str, error: str, seen: str
) -> None:
    script = f'{place} = async () => {{ throw new DOMException("no", "{error}"); }}'
    async with tenant_with(hub, chromium, witness, script) as tenant:
        await tenant.click("push")
        await tenant.see(seen)
        assert OFF not in await tenant.page.inner_text("#ready")
        assert not await is_subscribed(tenant)


async def test_where_the_hub_wakes_nobody_nothing_is_said(tmp_path: Path, chromium: Browser, witness: Witness) -> None:
    async with serving(tmp_path, "") as hub, tenant_with(hub, chromium, witness) as tenant:
        async with tenant.page.expect_response("**/api/push") as heard:
            await tenant.reload()
        await (await heard.value).finished()
        await tenant.ready()
        assert not await tenant.page.is_visible("#push")
        assert not await tenant.page.is_visible("#push-why")
        assert tenant.context.service_workers == [], "what nobody wants is not loaded"


async def test_the_worker_is_asked_for_anew(hub: HubServer, chromium: Browser, witness: Witness) -> None:
    async with tenant_with(hub, chromium, witness) as tenant:
        answer = await tenant.context.request.get(tenant.page.url + "sw.js")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
