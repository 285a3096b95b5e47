"""How a station gets its token: by a code that works once.

A long code (256 bits) travels on the card or as a QR code, with the hub's address and its certificate's fingerprint,
and lasts for days. A short one of 8 digits is typed by a person, lasts for minutes, survives five wrong guesses, and
counts only with the fingerprint that the person has compared: who stands in between would have to show another one.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from intercomd.errors import ErrorCode
from intercomd.hub.api.forms import Paired, Redemption
from intercomd.hub.clock import HubClock
from intercomd.hub.limits import Buckets, Rate
from intercomd.hub.people import directory
from intercomd.hub.people.directory import TOKEN_BYTES, Role, digest
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import pairings
from intercomd.hub.web.answers import Refusal, answered, read, sent
from intercomd.hub.web.authority import same_fingerprint
from intercomd.hub.web.routes import Route
from intercomd.ids import IdentityId
from intercomd.ports import Journal

TYPED_DIGITS: Final = 8
TYPED_LIFE_S: Final = 600.0
LIFE_S: Final = 7 * 86_400.0
TRIES: Final = 5
WORD: Final = "intercom-pairing"
"""The payload's first word: `intercom-pairing URL CODE FINGERPRINT`, `-` for none."""

NO_FINGERPRINT: Final = (
    'a typed code needs a certificate that stations pin: set hub.tls = "local", or use the long code'
)

WRONG_CODES: Final = Rate(1 / 120, TRIES)
"""Of one address."""


@dataclass(frozen=True, slots=True)
class Open:
    """A code that was not used yet."""

    station: str
    typed: bool
    tries_left: int
    expires_at: float


async def create(database: Database, station: str, now_s: float, *, typed: bool = False) -> tuple[str, float]:
    """A code for this station, which is made known if it is not; an earlier unused one ends, a present token works
    until the code is used. Returns the code and when it ends. Raises `DirectoryError` and `DatabaseError`."""
    await directory.check(database, station, Role.STATION, None)
    code = f"{secrets.randbelow(10**TYPED_DIGITS):0{TYPED_DIGITS}}" if typed else secrets.token_urlsafe(TOKEN_BYTES)
    expires_at = now_s + (TYPED_LIFE_S if typed else LIFE_S)
    row = {
        "code_sha256": digest(code),
        "station": station,
        "typed": typed,
        "tries_left": TRIES,
        "created_at": now_s,
        "expires_at": expires_at,
    }
    async with database.transaction() as connection:
        await directory.enter(connection, station, Role.STATION, None, now_s)
        over = (pairings.c.station == station) | (pairings.c.expires_at <= now_s)
        await connection.execute(sa.delete(pairings).where(over))
        # Two typed codes that are alike: one of 10^8; the later one counts.
        await connection.execute(sa.delete(pairings).where(pairings.c.code_sha256 == digest(code)))
        await connection.execute(insert(pairings), [row])
    return code, expires_at


async def redeem(database: Database, code: str, now_s: float) -> tuple[IdentityId, str] | None:
    """Use a code: whose it was, and that station's new token; every former one ends. None for a code that is not good
    (any more): there is no difference to be told. A wrong short one is a try at each short one that is open."""
    good = (pairings.c.code_sha256 == digest(code)) & (pairings.c.expires_at > now_s)
    async with database.transaction() as connection:
        taken = sa.delete(pairings).where(good).returning(pairings.c.station)
        station = (await connection.execute(taken)).scalar()
        if station is not None:
            return IdentityId(station), await directory.renew_token(connection, station)
        if is_typed(code):
            await _count_a_try(connection)
    return None


async def _count_a_try(connection: AsyncConnection) -> None:
    tried = sa.update(pairings).where(pairings.c.typed).values(tries_left=pairings.c.tries_left - 1)
    await connection.execute(tried)
    await connection.execute(sa.delete(pairings).where(pairings.c.tries_left <= 0))


async def known(database: Database, now_s: float) -> tuple[Open, ...]:
    """The codes that wait to be used, without the codes."""
    wanted = sa.select(pairings).where(pairings.c.expires_at > now_s).order_by(pairings.c.station)
    async with database.transaction() as connection:
        rows = (await connection.execute(wanted)).all()
    return tuple(Open(row.station, row.typed, row.tries_left, row.expires_at) for row in rows)


async def withdraw(database: Database, station: str) -> None:
    """End a code that was not used. Idempotent."""
    async with database.transaction() as connection:
        await connection.execute(sa.delete(pairings).where(pairings.c.station == station))


def is_typed(code: str) -> bool:
    return len(code) == TYPED_DIGITS and code.isascii() and code.isdigit()


def payload(url: str, code: str, fingerprint: str) -> str:
    """One line for the card, and what the QR code says."""
    return f"{WORD} {url} {code} {fingerprint or '-'}"


class Pairing:
    """The route by which stations are paired. `fingerprint`: of the certificate that they pin, "" without one.
    `on_change` is awaited after a station has got a token."""

    def __init__(
        self,
        database: Database,
        clock: HubClock,
        journal: Journal,
        fingerprint: Callable[[], str],
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._fingerprint = fingerprint
        self._on_change = on_change
        self._wrong = Buckets(WRONG_CODES)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "POST",
                "/api/pair",
                self._pair,
                "Exchange a pairing code for a station's token, once.",
                body=Redemption,
                answer=Paired,
                refusals=(400, 403, 429, 503),
            ),
        )

    @answered
    async def _pair(self, request: web.Request) -> Any:
        address, now_s = request.remote or "unknown", time.monotonic()
        if self._wrong.is_empty(address, now_s):
            raise Refusal(429, "rate_limited", "too many wrong codes from this address; try again in two minutes")
        form = await read(request, Redemption)
        code = form.code.strip()
        if is_typed(code) and not same_fingerprint(form.fingerprint, self._fingerprint()):
            # Before the code is looked at: it tells nothing to whom a fingerprint is missing, and stays good.
            self._refused(address, "a typed code without the fingerprint of this hub's certificate")
            raise Refusal(
                403, "wrong_fingerprint", "compare the fingerprint with the one on the hub's page, and give it"
            )
        redeemed = await redeem(self._database, code, self._clock.now_s())
        if redeemed is None:
            self._wrong.take(address, now_s)
            self._refused(address, "a pairing code that is not good")
            raise Refusal(403, "unauthorised", "this code was used, is wrong or too old; make a new one at the hub")
        await self._on_change()
        station, token = redeemed
        self._journal.report(ErrorCode.STATION_PAIRED, f"{station} is paired.", USER_ID=station, NETWORK=address)
        return sent(Paired(station=station, token=token))

    def _refused(self, address: str, reason: str) -> None:
        self._journal.report(ErrorCode.PAIRING_REFUSED, REASON=reason, NETWORK=address)
