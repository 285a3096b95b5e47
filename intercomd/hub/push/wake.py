"""A phone in a pocket rings: residents whose browser is subscribed hear of a call by Web Push, and when it is over.

What is pushed is little, and only the browser can read it: which call, who calls, until when. The page itself is opened
by the notification and learns everything else from the hub, as ever."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from intercomd.core.legs import HubCall
from intercomd.hub.calling.calls import Calls
from intercomd.hub.clock import HubClock
from intercomd.hub.people.directory import Identity, digest
from intercomd.hub.push import subscriptions, webpush
from intercomd.hub.push.courier import Courier, Outcome
from intercomd.hub.push.subscriptions import Subscription
from intercomd.hub.push.webpush import CURVE
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.web.answers import Refusal, answered, read, sent
from intercomd.hub.web.routes import Route, Who
from intercomd.hub.web.site import Site
from intercomd.ids import CallId, IdentityId

PATH: Final = "/api/push"
OVER_TTL_S: Final = 60
MAX_NAME_CHARS: Final = 200
TOPIC_CHARS: Final = 32
"""RFC 8030, 5.4: a later message of a topic replaces one that is not delivered yet."""
CLOSE_LIMIT_S: Final = 2.0


class PushKeys(msgspec.Struct, frozen=True):
    p256dh: str
    auth: str


class PushSubscription(msgspec.Struct, frozen=True):
    """As the browser's `PushSubscription.toJSON()` has it."""

    endpoint: str
    keys: PushKeys


class PushState(msgspec.Struct, frozen=True, rename="camel"):
    """Without a key this hub pushes nothing. `subscribed`: whether this browser, in this session, is woken."""

    public_key: str | None
    subscribed: bool


class Message(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a browser gets. Without `until` the call is over; the caller's name is told again, since browsers want to
    see something for each message, and since this one replaces an earlier one that was not delivered."""

    call_id: str
    caller: str = ""
    until: float | None = None


class Push:
    """The routes, and who is told by them. `subject`: whom push services may write to; without one this is all off.
    `on_outcome` hears of every message; `on_change` is awaited when somebody has become reachable, or no more."""

    def __init__(
        self,
        subject: str,
        database: Database,
        registry: Calls,
        clock: HubClock,
        site: Site,
        *,
        courier: Courier,
        on_change: Callable[[], Awaitable[None]],
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        self._subject = subject
        self._database = database
        self._registry = registry
        self._clock = clock
        self._site = site
        self._courier = courier
        self._on_change = on_change
        self._on_outcome = on_outcome
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> tuple[Route, ...]:
        refusals = (400, 401, 403, 409, 503)
        return (
            Route("GET", PATH, self._get, "The hub's key for push services, and whether this browser is subscribed.",
                  Who.RESIDENT, answer=PushState, refusals=(401,)),
            Route("PUT", PATH, self._put, "Let this browser be woken by calls.", Who.RESIDENT, body=PushSubscription,
                  answer=PushState, refusals=refusals),
            Route("DELETE", PATH, self._delete, "Not any more. Idempotent.", Who.RESIDENT, answer=PushState,
                  refusals=(401, 403, 503)),
        )  # fmt: skip

    async def open(self) -> None:
        """Raises `DatabaseError`."""
        if self._subject:
            self._key = await subscriptions.own_key(self._database)

    async def close(self) -> None:
        """What is on its way has a moment left. Idempotent."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_LIMIT_S)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._key = None
        await self._courier.close()

    def can_reach(self, who: IdentityId) -> bool:
        """Whether a phone of theirs can be woken."""
        return self._key is not None and self._registry.directory.can_push(who, self._clock.now_s())

    def changed(self, before: HubCall | None, after: HubCall) -> None:
        """A call's new state has been written."""
        if self._key is None:
            return
        former, now = before.woken if before is not None else (), after.woken
        rung = tuple(who for who in now if who not in former)
        if rung:
            self._start(self._ring(after, rung))
        over = tuple(who for who in former if who not in now and who in after.wakeable)
        if over:
            self._start(self._tell(over, Message(after.call_id, _caller(after)), OVER_TTL_S))

    # ----------------------------------------------------------------------------------------------- sending

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="hub push")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ring(self, call: HubCall, rung: tuple[IdentityId, ...]) -> None:
        """Whom no message has reached is not waited for."""
        left_s = max(1, round(call.until_s - self._clock.now_s()))
        message = Message(call.call_id, _caller(call), call.until_s)
        reached = await self._accepted(rung, message, left_s)
        missed = tuple(who for who in rung if who not in reached)
        if missed:
            self._registry.unreached(call.call_id, missed)

    async def _tell(self, whom: tuple[IdentityId, ...], message: Message, ttl_s: int) -> None:
        await self._accepted(whom, message, ttl_s)

    async def _accepted(self, whom: tuple[IdentityId, ...], message: Message, ttl_s: int) -> frozenset[IdentityId]:
        """For whom a push service has taken it."""
        try:
            found = await subscriptions.of(self._database, whom, self._clock.now_s())
        except DatabaseError:
            return frozenset()
        outcomes = await asyncio.gather(*(self._send(each, message, ttl_s) for each in found))
        gone = [each for each, outcome in zip(found, outcomes, strict=True) if outcome is Outcome.GONE]
        if gone:
            await self._forget(gone)
        taken = zip(found, outcomes, strict=True)
        return frozenset(each.identity for each, outcome in taken if outcome is Outcome.ACCEPTED)

    async def _send(self, to: Subscription, message: Message, ttl_s: int) -> Outcome:
        assert self._key is not None, "somebody is reachable"
        body = webpush.encrypt(
            msgspec.json.encode(message), to.keys, ec.generate_private_key(CURVE), os.urandom(webpush.SECRET_BYTES)
        )
        headers = {
            "Authorization": webpush.authorization(self._key, to.endpoint, self._subject, self._clock.now_s()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(ttl_s),
            "Urgency": "high",
            "Topic": topic(CallId(message.call_id)),
        }
        outcome = await self._courier.send(to.endpoint, body, headers)
        self._on_outcome(outcome)
        return outcome

    async def _forget(self, gone: list[Subscription]) -> None:
        try:
            for each in gone:
                await subscriptions.drop(self._database, each.session, each.endpoint)
            await self._on_change()
        except DatabaseError:
            return  # the next message finds it gone again

    # ------------------------------------------------------------------------------------------------ routes

    @answered
    async def _get(self, request: web.Request) -> web.Response:
        self._who(request)
        return self._state(request)

    @answered
    async def _put(self, request: web.Request) -> web.Response:
        who = self._own(request)
        form = await read(request, PushSubscription)
        if self._key is None:
            raise Refusal(409, "push_off", "this hub pushes nothing; [hub] push_subject turns it on")
        try:
            self._courier.check(form.endpoint)
            keys = webpush.keys(form.keys.p256dh, form.keys.auth)
        except ValueError as error:
            raise Refusal(400, "bad_request", str(error)) from None
        session = digest(self._site.session_of(request))
        now_s = self._clock.now_s()
        await subscriptions.put(self._database, Subscription(session, who.id, form.endpoint, keys), now_s)
        await self._on_change()
        return self._state(request)

    @answered
    async def _delete(self, request: web.Request) -> web.Response:
        self._own(request)
        await subscriptions.drop(self._database, digest(self._site.session_of(request)))
        await self._on_change()
        return self._state(request)

    def _state(self, request: web.Request) -> web.Response:
        key = None if self._key is None else webpush.encoded(webpush.point_of(self._key))
        session, who = digest(self._site.session_of(request)), self._who(request)
        return sent(PushState(key, session in self._registry.directory.subscribed.get(who.id, ())))

    def _own(self, request: web.Request) -> Identity:
        if not self._site.is_own_request(request):
            raise Refusal(403, "not_allowed", "this request does not come from the intercom's own page")
        return self._who(request)

    def _who(self, request: web.Request) -> Identity:
        who = self._registry.directory.by_session(self._site.session_of(request), self._clock.now_s())
        if who is None:
            raise Refusal(401, "unauthorised", "not signed in")
        return who


def _caller(call: HubCall) -> str:
    party = call.caller.party
    return (party.name or party.identity)[:MAX_NAME_CHARS]


def topic(call_id: CallId) -> str:
    """The same for all messages about this call, and telling nothing about it."""
    return webpush.encoded(hashlib.sha256(call_id.encode()).digest())[:TOPIC_CHARS]
