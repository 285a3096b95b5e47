"""The house as administrators keep it, over HTTP: who is there, pairing, groups, rights, when nobody is disturbed."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from aiohttp import web

from intercomd.errors import ErrorCode
from intercomd.hub.api import forms, pairing
from intercomd.hub.api.gate import Gate
from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.presence import Presence
from intercomd.hub.clock import HubClock
from intercomd.hub.people import estate, links, sessions
from intercomd.hub.people.directory import Directory, DirectoryError, Kind, Policy, Role
from intercomd.hub.people.estate import Unknown
from intercomd.hub.people.rights import Action, Right
from intercomd.hub.storage.database import Database
from intercomd.hub.web.answers import Refusal, answered, read, sent
from intercomd.hub.web.routes import Query, Route, Who
from intercomd.ids import IdentityId
from intercomd.ports import Journal

_PREFIX = "/api/admin"
_READ = (401, 429, 503)
_WRITE = (400, 401, 403, 404, 409, 413, 429, 503)
_RIGHT = (
    Query("subject", "An identity, a group, or * for everybody."),
    Query("action", "What it is about.", Action),
    Query("object", "An identity, a group, or * for everybody."),
)


class Housekeeping:
    """The routes. `url` gives the hub's address, `fingerprint` that of the certificate which stations pin ("" without
    one); `on_change` is awaited after each change, and lets it act at once."""

    def __init__(
        self,
        database: Database,
        registry: Calls,
        presence: Presence,
        gate: Gate,
        clock: HubClock,
        journal: Journal,
        url: Callable[[], str],
        fingerprint: Callable[[], str],
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._registry = registry
        self._presence = presence
        self._gate = gate
        self._clock = clock
        self._journal = journal
        self._url = url
        self._fingerprint = fingerprint
        self._on_change = on_change

    def routes(self) -> tuple[Route, ...]:
        return (
            _read("identities", self._identities, "Everybody whom the hub knows.", forms.Identities),
            _write("POST", "identities", self._add, "Make a station, a resident or a group known.",
                   forms.NewIdentity, forms.IdentityEntry),
            _write("PATCH", "identities/{id}", self._alter, "Show another name; keep out, or let in again.",
                   forms.IdentityChange, forms.IdentityEntry),
            _write("DELETE", "identities/{id}", self._remove, "Forget an identity; its calls' records stay.",
                   None, forms.Nothing),
            _write("POST", "identities/{id}/revoke", self._revoke, "End its token, or its sessions, at once.",
                   None, forms.Nothing),
            _write("POST", "identities/{id}/rotate", self._rotate, "A new token for a station.",
                   forms.Rotation, forms.NewToken),
            _write("POST", "identities/{id}/invitation", self._invite, "A link that signs in one browser of a "
                   "resident, once.", None, forms.Link),
            _write("PUT", "identities/{id}/policy", self._set_policy, "When it is not to be disturbed.",
                   forms.PolicyForm, forms.PolicyEntry),
            _read("pairings", self._pairings, "Codes that wait for their stations.", forms.Pairings),
            _write("POST", "pairings", self._pair, "A code by which a station gets its token, once.",
                   forms.NewPairing, forms.PairingAnswer),
            _write("DELETE", "pairings/{station}", self._withdraw, "End an unused code.", None, forms.Nothing),
            _read("groups", self._groups, "The groups, and how they ring.", forms.Groups),
            _write("PUT", "groups/{id}", self._set_group, "A group's members and how it rings.",
                   forms.GroupChange, forms.GroupEntry),
            _read("rights", self._rights, "Who may call whom, and who may open which door.", forms.RightList),
            _write("PUT", "rights", self._set_right, "Allow or forbid.", forms.RightForm, forms.RightList),
            _write("DELETE", "rights", self._clear_right, "Forget a rule.", None, forms.RightList, _RIGHT),
        )  # fmt: skip

    # --------------------------------------------------------------------------------------------------- identities

    @answered
    async def _identities(self, request: web.Request) -> web.Response:
        await self._gate.admit(request)
        return sent(forms.Identities(identities=await self._entries()))

    @answered
    async def _add(self, request: web.Request) -> web.Response:
        by = await self._gate.admit(request)
        form = await read(request, forms.NewIdentity)
        role = Role(form.role)
        await estate.add(self._database, form.id, role, self._clock.now_s(), shown=form.name, group=form.group)
        await self._changed(by, f"{by} makes the {role.value} {form.id} known.")
        return sent(await self._entry(form.id))

    @answered
    async def _alter(self, request: web.Request) -> web.Response:
        by, name = await self._gate.admit(request), request.match_info["id"]
        form = await read(request, forms.IdentityChange)
        if form.name is not msgspec.UNSET:
            await estate.rename(self._database, name, form.name)
            await self._changed(by, f"{by} lets {name} be shown as {form.name or name}.")
        if form.banned is not msgspec.UNSET:
            await estate.ban(self._database, name, self._clock.now_s() if form.banned else None)
            await self._changed(by, f"{by} {'bans' if form.banned else 'no longer bans'} {name}.")
        return sent(await self._entry(name))

    @answered
    async def _remove(self, request: web.Request) -> web.Response:
        by, name = await self._gate.admit(request), request.match_info["id"]
        await estate.remove(self._database, name)
        await self._changed(by, f"{by} removes {name}.")
        return sent(forms.Nothing())

    @answered
    async def _revoke(self, request: web.Request) -> web.Response:
        by, name = await self._gate.admit(request), request.match_info["id"]
        self._check_known(name)
        await sessions.revoke(self._database, name)
        await self._changed(by, f"{by} signs {name} out everywhere.")
        return sent(forms.Nothing())

    @answered
    async def _rotate(self, request: web.Request) -> web.Response:
        by, name = await self._gate.admit(request), request.match_info["id"]
        form = await read(request, forms.Rotation)
        token, until = await estate.rotate(self._database, name, self._clock.now_s(), at_once=form.now)
        await self._changed(by, f"{by} gives {name} a new token.")
        return sent(forms.NewToken(token=token, retiring_until=until))

    @answered
    async def _invite(self, request: web.Request) -> web.Response:
        by, name = await self._gate.admit(request), request.match_info["id"]
        self._check_known(name)
        now_s = self._clock.now_s()
        code = await sessions.invite(self._database, name, None, now_s)
        await self._changed(by, f"{by} invites {name}.")
        link = links.invitation(self._url(), code)
        return sent(forms.Link(link=link, svg=links.qr(link), expires_at=now_s + sessions.INVITATION_LIFE_S))

    @answered
    async def _set_policy(self, request: web.Request) -> web.Response:
        by, name = await self._gate.admit(request), request.match_info["id"]
        form = await read(request, forms.PolicyForm)
        policy = Policy(form.do_not_disturb_until, form.quiet_from_min, form.quiet_to_min, form.busy)
        await estate.set_policy(self._database, name, policy)
        await self._changed(by, f"{by} sets when {name} is not to be disturbed.")
        return sent(policy_entry(policy))

    # ----------------------------------------------------------------------------------------------------- pairings

    @answered
    async def _pairings(self, request: web.Request) -> web.Response:
        await self._gate.admit(request)
        waiting = await pairing.known(self._database, self._clock.now_s())
        entries = (
            forms.PairingEntry(
                station=one.station, typed=one.typed, tries_left=one.tries_left, expires_at=one.expires_at
            )
            for one in waiting
        )
        return sent(forms.Pairings(pairings=tuple(entries)))

    @answered
    async def _pair(self, request: web.Request) -> web.Response:
        by = await self._gate.admit(request)
        form = await read(request, forms.NewPairing)
        shown = self._fingerprint()
        if form.typed and not shown:
            raise Refusal(409, "no_fingerprint", pairing.NO_FINGERPRINT)
        code, until = await pairing.create(self._database, form.station, self._clock.now_s(), typed=form.typed)
        await self._changed(by, f"{by} makes a pairing code for {form.station}.")
        payload = pairing.payload(self._url(), code, shown)
        return sent(
            forms.PairingAnswer(
                station=form.station,
                url=self._url(),
                code=code,
                fingerprint=shown,
                payload=payload,
                svg=links.qr(payload),
                expires_at=until,
            )
        )

    @answered
    async def _withdraw(self, request: web.Request) -> web.Response:
        by, station = await self._gate.admit(request), request.match_info["station"]
        await pairing.withdraw(self._database, station)
        self._report(by, f"{by} withdraws the pairing code of {station}.")
        return sent(forms.Nothing())

    # --------------------------------------------------------------------------------------------- groups and rights

    @answered
    async def _groups(self, request: web.Request) -> web.Response:
        await self._gate.admit(request)
        known = self._registry.directory
        return sent(forms.Groups(groups=tuple(group_entry(known, name) for name in known.ringing)))

    @answered
    async def _set_group(self, request: web.Request) -> web.Response:
        by, name = await self._gate.admit(request), request.match_info["id"]
        form = await read(request, forms.GroupChange)
        await estate.set_group(
            self._database,
            name,
            form.members,
            self._clock.now_s(),
            mode=form.mode,
            each_s=form.each_s,
            escalate_to=form.escalate_to,
        )
        await self._changed(by, f"{by} sets who rings in {name}.")
        return sent(group_entry(self._registry.directory, IdentityId(name)))

    @answered
    async def _rights(self, request: web.Request) -> web.Response:
        await self._gate.admit(request)
        return sent(self._right_list())

    @answered
    async def _set_right(self, request: web.Request) -> web.Response:
        by = await self._gate.admit(request)
        form = await read(request, forms.RightForm)
        right = Right(IdentityId(form.subject), form.action, IdentityId(form.object), form.allowed)
        await estate.set_right(self._database, right)
        verb = "allows" if form.allowed else "forbids"
        await self._changed(by, f"{by} {verb} {form.subject} {form.action.value} {form.object}.")
        return sent(self._right_list())

    @answered
    async def _clear_right(self, request: web.Request) -> web.Response:
        by = await self._gate.admit(request)
        subject, object_ = (request.query.get(name, "") for name in ("subject", "object"))
        try:
            action = Action(request.query.get("action", ""))
        except ValueError:
            raise Refusal(400, "bad_request", f"action: {', '.join(Action)}") from None
        if not subject or not object_:
            raise Refusal(400, "bad_request", "subject and object are needed")
        await estate.clear_right(self._database, subject, action, object_)
        await self._changed(by, f"{by} forgets a rule about {subject}, {action.value} and {object_}.")
        return sent(self._right_list())

    # ------------------------------------------------------------------------------------------------------- answers

    async def _changed(self, by: str, text: str) -> None:
        await self._on_change()
        self._report(by, text)

    def _report(self, by: str, text: str) -> None:
        self._journal.report(ErrorCode.ADMINISTERED, text, USER_ID=by)

    def _check_known(self, name: str) -> None:
        if IdentityId(name) not in self._registry.directory.identities:
            raise Unknown(f"{name!r} is not known")

    def _right_list(self) -> forms.RightList:
        rules = sorted(self._registry.directory.rights.rules, key=lambda rule: (rule.subject, rule.action, rule.object))
        return forms.RightList(
            rights=tuple(
                forms.RightEntry(subject=rule.subject, action=rule.action, object=rule.object, allowed=rule.allowed)
                for rule in rules
            )
        )

    async def _entry(self, name: str) -> forms.IdentityEntry:
        found = [entry for entry in await self._entries() if entry.id == name]
        if not found:
            raise Unknown(f"{name!r} was removed meanwhile")
        return found[0]

    async def _entries(self) -> tuple[forms.IdentityEntry, ...]:
        people, tokens = await estate.rows(self._database)
        now_s = self._clock.now_s()
        theirs: dict[tuple[str, str], list[float]] = {}
        for token in tokens:
            if token.expires_at > now_s:
                theirs.setdefault((token.identity, token.kind), []).append(token.expires_at)
        online = self._presence.online(tuple(IdentityId(row.id) for row in people))
        known = self._registry.directory
        return tuple(_entry(row, theirs, len(online[IdentityId(row.id)]), known) for row in people)


def policy_entry(policy: Policy) -> forms.PolicyEntry:
    return forms.PolicyEntry(
        do_not_disturb_until=policy.do_not_disturb_until,
        quiet_from_min=policy.quiet_from_min,
        quiet_to_min=policy.quiet_to_min,
        busy=policy.busy,
    )


def group_entry(known: Directory, name: IdentityId) -> forms.GroupEntry:
    group = known.group(name)
    if group is None:
        raise DirectoryError(f"{name!r} is no group")
    return forms.GroupEntry(
        id=name,
        name=known.identities[name].name,
        members=group.members,
        mode=group.mode,
        each_s=group.each_s,
        escalate_to=group.escalate_to,
    )


def _entry(
    row: sa.Row[Any], tokens: dict[tuple[str, str], list[float]], devices: int, known: Directory
) -> forms.IdentityEntry:
    return forms.IdentityEntry(
        id=row.id,
        name=row.shown_name or row.id,
        role=row.role,
        groups=tuple(sorted(known.memberships.get(IdentityId(row.id), ()))),
        banned=row.banned_at is not None,
        has_token=row.token_sha256 is not None,
        sessions=len(tokens.get((row.id, Kind.SESSION), ())),
        is_invited=(row.id, Kind.INVITATION) in tokens,
        retiring_until=max(tokens.get((row.id, Kind.RETIRING), ()), default=None),
        devices=devices,
        created_at=row.created_at,
        policy=policy_entry(known.policy(IdentityId(row.id))),
    )


def _read(path: str, handler: Any, summary: str, answer: Any) -> Route:
    return Route("GET", f"{_PREFIX}/{path}", handler, summary, Who.ADMINISTRATOR, answer=answer, refusals=_READ)


def _write(
    method: str, path: str, handler: Any, summary: str, body: Any, answer: Any, query: tuple[Query, ...] = ()
) -> Route:
    return Route(
        method, f"{_PREFIX}/{path}", handler, summary, Who.ADMINISTRATOR, query, body, answer, refusals=_WRITE
    )  # fmt: skip
