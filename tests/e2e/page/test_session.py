"""Who gets in, and how one is out: invitations, sessions, strangers."""

import asyncio

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from playwright.async_api import Browser

from intercomd.demo.house import House
from intercomd.demo.page_scene import invite
from intercomd.demo.resident import PHONE, Resident
from intercomd.hub.admin import _ask
from intercomd.hub.office import Order, socket_path
from tests.e2e.page.conftest import Open
from tests.e2e.page.scene import ON_THE_PAGE, Scene
from tests.e2e.page.witness import Witness

pytestmark = ON_THE_PAGE

SOCKET = "/socket.io/?EIO=4&transport=websocket"


async def revoke(house: House, name: str) -> None:
    assert (await _ask(socket_path(house.household.hub_database), Order("revoke", name))).ok


async def test_an_invitation_signs_in_once_and_leaves_no_trace(
    house: House, chromium: Browser, tenant: Resident, witness: Witness
) -> None:
    witness.excused += ["Failed to load resource: the server responded with a status of 403"]
    assert "#" not in tenant.page.url, "the code does not stay in the address, nor in the history"
    [cookie] = await tenant.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Strict", False)
    assert await tenant.page.evaluate("document.cookie") == ""
    link = await invite(house, "tenant")
    await tenant.page.goto(link)
    await tenant.click("sign-in")
    await tenant.ready()
    stranger = await chromium.new_context(viewport=PHONE)
    await witness.watch(stranger)
    page = await stranger.new_page()
    await page.goto(link)
    await page.click("#sign-in")
    await page.wait_for_selector("#sign-in", state="hidden")
    assert "already used" in await page.inner_text("#welcome-text")
    await stranger.close()


async def test_without_an_invitation_one_is_told_how_to_get_in(
    house: House, chromium: Browser, witness: Witness
) -> None:
    context = await chromium.new_context(viewport=PHONE)
    await witness.watch(context)
    page = await context.new_page()
    await page.goto(house.household.hub_url)
    await page.wait_for_selector("#welcome")
    assert "invitation link" in await page.inner_text("#welcome-text")
    assert not await page.is_visible("#sign-in")
    assert not await page.is_visible("#sign-out")
    await context.close()


async def test_signing_out_ends_all_tabs_of_the_browser(tenant: Resident, witness: Witness) -> None:
    # A list that the other tab was just fetching is refused, and the browser reports it.
    witness.excused += ["Failed to load resource: the server responded with a status of 401"]
    tab = await tenant.another_tab()
    await tenant.click("sign-out")
    await tenant.see("#welcome")
    await tab.see("#welcome")
    assert await tenant.context.cookies() == []
    await tenant.reload()
    await tenant.see("#welcome")


async def test_a_revoked_resident_is_out_at_once_in_the_middle_of_a_call(
    house: House, scene: Scene, open_page: Open, witness: Witness
) -> None:
    witness.excused += ["Failed to load resource: the server responded with a status of 401"]
    lodger = await open_page("lodger")
    await scene.call(lodger, name="lodger")
    await revoke(house, "lodger")
    await lodger.see("#welcome", 3)
    await scene.phase("door", "idle", 3)
    assert "signed out" in await lodger.page.inner_text("#welcome-text")
    await lodger.phase("idle")
    await lodger.reload()
    await lodger.see("#welcome")
    assert "invitation link" in await lodger.page.inner_text("#welcome-text")


async def test_another_site_may_not_connect_even_with_the_cookie(house: House, tenant: Resident) -> None:
    [cookie] = await tenant.context.cookies()
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    url = house.household.hub_url
    async with ClientSession(headers=headers) as http:
        for origin in ("https://evil.example", "null", f"{url}.evil.example", url.replace("http", "ftp")):
            with pytest.raises(WSServerHandshakeError, match="400"):
                await http.ws_connect(url + SOCKET, origin=origin)
        assert await _introduced(http, url, None) == "44", "a cookie without an Origin is not a browser's"
        assert await _introduced(http, url, url) == "40"


async def _introduced(http: ClientSession, url: str, origin: str | None) -> str:
    """How the hub answers to a Socket.IO connect by cookie: "40" accepted, "44" refused."""
    async with asyncio.timeout(5), http.ws_connect(url + SOCKET, origin=origin) as socket:
        await socket.receive_str()
        await socket.send_str('40{"instance":"test","protocol":1}')
        return (await socket.receive_str())[:2]
