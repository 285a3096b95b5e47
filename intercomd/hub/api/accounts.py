"""Administrators themselves, over HTTP: signing in and out, choosing a password by a one-time link, adding others.

A wrong password costs its address and its name; the right one of an unknown name would have taken as long to judge.
"""

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from intercomd.errors import ErrorCode
from intercomd.hub.api import forms
from intercomd.hub.api.gate import Gate
from intercomd.hub.clock import HubClock
from intercomd.hub.limits import Buckets, Rate
from intercomd.hub.people import administrators, links
from intercomd.hub.people.administrators import SESSION_LIFE_S, Purpose
from intercomd.hub.people.directory import check_name
from intercomd.hub.people.passwords import Passwords
from intercomd.hub.storage.database import Database
from intercomd.hub.web.answers import Refusal, answered, read, sent
from intercomd.hub.web.routes import Route, Who
from intercomd.hub.web.site import Site
from intercomd.ports import Journal

ATTEMPTS_OF_ADDRESS: Final = Rate(1 / 30, 5)
ATTEMPTS_FOR_NAME: Final = Rate(1 / 6, 20)
"""Wider: it must not be easy to keep somebody out. Their one-time link does not count."""

_PREFIX = "/api/admin"
_WRITING = (400, 401, 403, 413, 429, 503)


class Administration:
    """The routes. `url` gives the hub's address for links. `passwords` is closed by its owner."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        site: Site,
        clock: HubClock,
        journal: Journal,
        passwords: Passwords,
        url: Callable[[], str],
    ) -> None:
        self._database = database
        self._gate = gate
        self._site = site
        self._clock = clock
        self._journal = journal
        self._passwords = passwords
        self._url = url
        self._of_address = Buckets(ATTEMPTS_OF_ADDRESS)
        self._for_name = Buckets(ATTEMPTS_FOR_NAME)

    def routes(self) -> tuple[Route, ...]:
        session = forms.AdministratorSession
        return (
            Route("GET", f"{_PREFIX}/session", self._session, "Who administers here.", answer=session,
                  refusals=(429, 503)),
            Route("POST", f"{_PREFIX}/session", self._sign_in, "Sign in by name and password.",
                  body=forms.LogIn, answer=session, refusals=(400, 403, 413, 429, 503)),
            Route("DELETE", f"{_PREFIX}/session", self._sign_out, "End this browser's session.",
                  answer=session, refusals=(403, 503)),
            Route("POST", f"{_PREFIX}/password", self._follow, "Choose a password by a one-time link, and sign in.",
                  body=forms.SetPassword, answer=session, refusals=(400, 403, 413, 429, 503)),
            Route("PUT", f"{_PREFIX}/password", self._change, "Change one's password; other sessions end.",
                  Who.ADMINISTRATOR, body=forms.ChangePassword, answer=session, refusals=_WRITING),
            Route("GET", f"{_PREFIX}/administrators", self._list, "Who may administer.",
                  Who.ADMINISTRATOR, answer=forms.Administrators, refusals=(401, 429, 503)),
            Route("POST", f"{_PREFIX}/administrators", self._add, "A one-time link for a new administrator, or for "
                  "one who has forgotten the password.",
                  Who.ADMINISTRATOR, body=forms.NewAdministrator, answer=forms.Link, refusals=_WRITING),
            Route("DELETE", f"{_PREFIX}/administrators/{{name}}", self._remove, "End somebody's administration.",
                  Who.ADMINISTRATOR, answer=forms.Nothing, refusals=_WRITING),
        )  # fmt: skip

    @answered
    async def _session(self, request: web.Request) -> web.Response:
        name = await self._gate.who(request)
        if name is None:
            self._gate.count_stranger(request)
        there = name is not None or await administrators.is_set_up(self._database)
        return _session_of(name, is_set_up=there)

    @answered
    async def _sign_in(self, request: web.Request) -> web.Response:
        self._gate.check_origin(request)
        form = await read(request, forms.LogIn)
        address = self._attempt(request, form.name)
        kept = await administrators.password_of(self._database, form.name)
        fits = await self._passwords.fits(kept, form.password)
        token = None
        if fits and kept is not None:
            token = await administrators.sign_in(self._database, form.name, kept, self._clock.now_s())
        if token is None:
            self._refused(address, "a wrong name or password")
            raise Refusal(403, "unauthorised", "the name or the password is wrong")
        self._of_address.forget(address)
        self._for_name.forget(form.name)
        return self._signed_in(form.name, token, address)

    @answered
    async def _sign_out(self, request: web.Request) -> web.Response:
        self._gate.check_origin(request)
        await administrators.sign_out(self._database, self._site.administrator_of(request))
        response = _session_of(None, is_set_up=await administrators.is_set_up(self._database))
        self._site.sign_out_administrator(response)
        return response

    @answered
    async def _follow(self, request: web.Request) -> web.Response:
        self._gate.check_origin(request)
        form = await read(request, forms.SetPassword)
        address, now_s = self._attempt(request), self._clock.now_s()
        # Looked at before anything is computed: a stranger's guess must not cost a hash.
        purpose = await administrators.purpose(self._database, form.code, now_s)
        if purpose is Purpose.SET_UP:
            if form.name is None:
                raise Refusal(400, "bad_request", "name is missing: the first administrator chooses it")
            check_name(form.name)
        spent = None
        if purpose is not None:
            kept = await self._passwords.hashed(form.password)
            spent = await administrators.spend(self._database, form.code, form.name or "", kept, now_s)
        if spent is None:
            self._refused(address, "a one-time link that is not good")
            raise Refusal(403, "unauthorised", "this link was used, or is too old; ask for a new one")
        self._of_address.forget(address)
        return self._signed_in(*spent, address)

    @answered
    async def _change(self, request: web.Request) -> web.Response:
        name = await self._gate.admit(request)
        form = await read(request, forms.ChangePassword)
        address = self._attempt(request, name)
        kept = await administrators.password_of(self._database, name)
        if kept is None or not await self._passwords.fits(kept, form.current):
            self._refused(address, "a wrong password at its change")
            raise Refusal(403, "unauthorised", "the present password is wrong")
        fresh = await self._passwords.hashed(form.password)
        token = await administrators.change(self._database, name, kept, fresh, self._clock.now_s())
        if token is None:
            raise Refusal(409, "conflict", "the password was changed elsewhere meanwhile; sign in again")
        self._of_address.forget(address)
        return self._signed_in(name, token, address)

    @answered
    async def _list(self, request: web.Request) -> web.Response:
        await self._gate.admit(request)
        people = await administrators.known(self._database, self._clock.now_s())
        entries = (
            forms.AdministratorEntry(
                name=one.name, has_password=one.has_password, sessions=one.sessions, created_at=one.created_at
            )
            for one in people
        )
        return sent(forms.Administrators(administrators=tuple(entries)))

    @answered
    async def _add(self, request: web.Request) -> web.Response:
        by = await self._gate.admit(request)
        form = await read(request, forms.NewAdministrator)
        now_s = self._clock.now_s()
        code = await administrators.invite(self._database, form.name, now_s)
        self._report(by, f"{by} lets {form.name} choose an administrator's password.")
        link = links.administrator(self._url(), code, Purpose.PASSWORD)
        return sent(forms.Link(link=link, svg=links.qr(link), expires_at=now_s + administrators.LINK_LIFE_S))

    @answered
    async def _remove(self, request: web.Request) -> web.Response:
        by = await self._gate.admit(request)
        name = request.match_info["name"]
        await administrators.remove(self._database, name)
        self._report(by, f"{by} ends the administration of {name}.")
        return sent(forms.Nothing())

    def _attempt(self, request: web.Request, name: str | None = None) -> str:
        """Counted before it is judged: many at once are as many. Raises `Refusal`."""
        address, now_s = request.remote or "unknown", time.monotonic()
        if not self._of_address.take(address, now_s) or (name is not None and not self._for_name.take(name, now_s)):
            raise Refusal(429, "rate_limited", "too many attempts; try again in a minute")
        return address

    def _signed_in(self, name: str, token: str, address: str) -> web.Response:
        text = f"{name} signs in as an administrator."
        self._journal.report(ErrorCode.ADMINISTRATOR_SIGNED_IN, text, USER_ID=name, NETWORK=address)
        response = _session_of(name, is_set_up=True)
        self._site.sign_in_administrator(response, token, SESSION_LIFE_S)
        return response

    def _refused(self, address: str, reason: str) -> None:
        self._journal.report(ErrorCode.ADMINISTRATOR_REFUSED, REASON=reason, NETWORK=address)

    def _report(self, by: str, text: str) -> None:
        self._journal.report(ErrorCode.ADMINISTERED, text, USER_ID=by)


def _session_of(name: str | None, *, is_set_up: bool) -> web.Response:
    who = None if name is None else forms.Administrator(name=name)
    return sent(forms.AdministratorSession(administrator=who, is_set_up=is_set_up))
