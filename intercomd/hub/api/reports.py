"""What administrators are told of calls and doors over HTTP: records, as pages of JSON or as one CSV, and points for
plots of quality."""

from typing import Any, Final

from aiohttp import web

from intercomd.core.outcome import Outcome
from intercomd.core.vocabulary import EndReason
from intercomd.hub.api.gate import Gate
from intercomd.hub.calling import doorbook
from intercomd.hub.calling.doorbook import OpeningPage
from intercomd.hub.history import archive, sheet
from intercomd.hub.history.archive import MAX_PAGE, MAX_POINTS, Filter, QualitySeries, RecordPage
from intercomd.hub.storage.database import Database, DatabaseError
from intercomd.hub.web import queries
from intercomd.hub.web.answers import Refusal, refused, sent
from intercomd.hub.web.queries import Moment
from intercomd.hub.web.routes import Answering, Query, Route, Who
from intercomd.ids import IdentityId

PAGE: Final = 50
CSV: Final = "text/csv"
CHUNK_LINES: Final = 200

_FILTER: Final = (
    Query("from", "Calls that began at this moment or later.", Moment),
    Query("to", "Calls that began before this moment.", Moment),
    Query("party", "Whom the call concerned: caller, recipient, who answered, or a member of the group."),
    Query("station", "Who was one of the two sides."),
    Query("outcome", "Only these outcomes.", Outcome, many=True),
    Query("reason", "Only these inward reasons.", EndReason, many=True),
    Query("min_duration", "Calls with at least so many seconds of talk.", float),
)
_ATTEMPTS: Final = (
    Query("from", "Attempts at this moment or later.", Moment),
    Query("to", "Attempts before this moment.", Moment),
    Query("station", "At this station's door."),
    Query("who", "Who asked."),
    Query("outcome", "Only these outcomes: `opened`, `unconfirmed`, or the code of a refusal.", many=True),
)
_PAGE: Final = (
    Query("cursor", "What the last page gave as its `cursor`."),
    Query("limit", f"Records of a page, {PAGE} unless told; at most {MAX_PAGE}.", int),
)
_POINTS: Final = (Query("limit", f"The newest so many points, at most {MAX_POINTS}.", int),)
_BOM: Final = (Query("bom", "Begin with a byte order mark, for Excel.", bool),)

_SHEET_HEADERS: Final = {
    "Content-Type": f"{CSV}; charset=utf-8; header=present",
    "Content-Disposition": 'attachment; filename="calls.csv"',
}


class Reports:
    """The routes, for administrators."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    def routes(self) -> tuple[Route, ...]:
        refusals = (400, 401, 429, 503)
        who = Who.ADMINISTRATOR
        return (
            Route(
                "GET", "/api/records", self._records, "Call records, the newest first.", who, (*_FILTER, *_PAGE),
                answer=RecordPage, refusals=refusals,
            ),
            Route(
                "GET", "/api/records.csv", self._sheet, "The same as one CSV (RFC 4180, UTF-8).", who,
                (*_FILTER, *_BOM), produces=CSV, refusals=refusals,
            ),
            Route(
                "GET", "/api/records/quality", self._quality, "How calls were heard: points for plots, the oldest "
                "first.", who, (*_FILTER, *_POINTS), answer=QualitySeries, refusals=refusals,
            ),
            Route(
                "GET", "/api/doors/openings", self._openings, "Every attempt to have a door opened, the newest first.",
                who, (*_ATTEMPTS, *_PAGE), answer=OpeningPage, refusals=refusals,
            ),
        )  # fmt: skip

    async def _records(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, self._page)

    async def _quality(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, self._series)

    async def _sheet(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, self._streamed)

    async def _openings(self, request: web.Request) -> web.StreamResponse:
        return await self._answered(request, self._attempts)

    async def _answered(self, request: web.Request, answer: Answering) -> web.StreamResponse:
        try:
            await self._gate.admit(request)
            return await answer(request)
        except Refusal as refusal:
            return refused(refusal)
        except ValueError as error:
            return refused(Refusal(400, "bad_request", str(error)))
        except DatabaseError:
            return refused(Refusal(503, "try_again", "the hub cannot reach its database at the moment"))

    async def _page(self, request: web.Request) -> web.Response:
        given = queries.read(request.query, (*_FILTER, *_PAGE))
        limit = _limit(given, PAGE, MAX_PAGE)
        return sent(await archive.find(self._database, asked(given), limit, given.get("cursor", "")))

    async def _attempts(self, request: web.Request) -> web.Response:
        given = queries.read(request.query, (*_ATTEMPTS, *_PAGE))
        station, who = given.get("station"), given.get("who")
        wanted = doorbook.Asked(
            given.get("from"),
            given.get("to"),
            IdentityId(station) if station else None,
            IdentityId(who) if who else None,
            given.get("outcome", ()),
        )
        limit = _limit(given, PAGE, MAX_PAGE)
        return sent(await doorbook.find(self._database, wanted, limit, given.get("cursor", "")))

    async def _series(self, request: web.Request) -> web.Response:
        given = queries.read(request.query, (*_FILTER, *_POINTS))
        return sent(await archive.quality(self._database, asked(given), _limit(given, MAX_POINTS, MAX_POINTS)))

    async def _streamed(self, request: web.Request) -> web.StreamResponse:
        """Written while it is read: memory does not grow with the number of records."""
        given = queries.read(request.query, (*_FILTER, *_BOM))
        records = archive.every(self._database, asked(given))
        first = await anext(records, None)
        response = web.StreamResponse(headers=_SHEET_HEADERS)
        await response.prepare(request)
        head = (sheet.BYTE_ORDER_MARK if given.get("bom") else "") + sheet.line(sheet.HEADER)
        lines = [head] if first is None else [head, sheet.line(sheet.cells(first))]
        try:
            async for record in records:
                lines.append(sheet.line(sheet.cells(record)))
                if len(lines) >= CHUNK_LINES:
                    await response.write("".join(lines).encode())
                    lines.clear()
        except DatabaseError:
            # The status is out: only a connection that breaks says that this is not the whole.
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write("".join(lines).encode())
        await response.write_eof()
        return response


def asked(given: dict[str, Any]) -> Filter:
    party, station = given.get("party"), given.get("station")
    return Filter(
        since_s=given.get("from"),
        until_s=given.get("to"),
        party=IdentityId(party) if party else None,
        station=IdentityId(station) if station else None,
        outcomes=given.get("outcome", ()),
        reasons=given.get("reason", ()),
        min_duration_s=given.get("min_duration", 0.0),
    )


def _limit(given: dict[str, Any], otherwise: int, most: int) -> int:
    limit: int = given.get("limit", otherwise)
    if not 1 <= limit <= most:
        raise ValueError(f"limit: from 1 to {most}")
    return limit
