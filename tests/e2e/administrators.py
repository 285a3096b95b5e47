"""An administrator's browser, and stations' pairing, for tests: over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from intercomd.hub.office import Order, Result, carry_out
from intercomd.hub.server import HubServer

PASSWORD = "correct horse battery"


async def order(hub: HubServer, command: Any, name: str = "", **more: Any) -> Result:
    """As through the admin socket."""
    now_s = hub._clock.now_s()
    result = await carry_out(Order(command, name, **more), hub._database, hub._presence, now_s)
    await hub._directory_changed()
    return result


async def made(hub: HubServer, command: Any, name: str = "", **more: Any) -> str:
    """What an order has made: a token, a code."""
    result = await order(hub, command, name, **more)
    assert result.token, result.message
    return result.token


class Console:
    """A browser at the hub's own page: its cookies and its Origin."""

    def __init__(self, hub: HubServer, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.origin = f"http://127.0.0.1:{hub.port}"

    async def ask(
        self, method: str, path: str, json: Any = None, *, origin: str | None = "", **options: Any
    ) -> tuple[int, Any]:
        """Status and body; `origin` "" is the page's own."""
        sent = self.origin if origin == "" else origin
        headers = {**({"Origin": sent} if sent else {}), **options.pop("headers", {})}
        if json is not None:
            options["json"] = json
        async with self.http.request(method, self.origin + path, headers=headers, **options) as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()

    async def get(self, path: str) -> Any:
        return await self._good("GET", path)

    async def post(self, path: str, json: Any = None) -> Any:
        return await self._good("POST", path, {} if json is None else json)

    async def put(self, path: str, json: Any) -> Any:
        return await self._good("PUT", path, json)

    async def delete(self, path: str) -> Any:
        return await self._good("DELETE", path)

    async def _good(self, method: str, path: str, json: Any = None) -> Any:
        status, body = await self.ask(method, path, json)
        assert status == 200, body
        return body

    async def sign_in(self, name: str = "root", password: str = PASSWORD) -> tuple[int, Any]:
        return await self.ask("POST", "/api/admin/session", {"name": name, "password": password})

    async def name(self) -> str | None:
        body = await self.get("/api/admin/session")
        return body["administrator"] and body["administrator"]["name"]


@asynccontextmanager
async def browser(hub: HubServer) -> AsyncIterator[Console]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield Console(hub, http)


@asynccontextmanager
async def administrator(hub: HubServer, name: str = "root") -> AsyncIterator[Console]:
    """Set up, if nobody is there, and signed in."""
    async with browser(hub) as console:
        if (await console.get("/api/admin/session"))["isSetUp"]:
            code = await made(hub, "add-admin", name)
            form = {"code": code, "password": PASSWORD}
        else:
            form = {"code": await made(hub, "set-up"), "name": name, "password": PASSWORD}
        body = await console.post("/api/admin/password", form)
        assert body["administrator"] == {"name": name}
        yield console
