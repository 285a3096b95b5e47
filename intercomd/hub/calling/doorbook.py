"""Who asked to have which door opened, and what came of it: every attempt, also those that were refused."""

import msgspec
import sqlalchemy as sa

from intercomd.hub.history.archive import Place
from intercomd.hub.storage.database import Database
from intercomd.hub.storage.tables import door_openings
from intercomd.ids import IdentityId

_c = door_openings.c


class Asked(msgspec.Struct, frozen=True):
    """Everything that is given must hold."""

    since_s: float | None = None
    until_s: float | None = None
    station: IdentityId | None = None
    who: IdentityId | None = None
    outcomes: tuple[str, ...] = ()


class Opening(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`outcome`: `opened`, `unconfirmed` (the station has not said so), or why it was refused."""

    command_id: str
    at: float
    who: str
    station_id: str
    outcome: str
    call_id: str | None = None
    reason: str = ""


class OpeningPage(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The newest first. `cursor` asks for the next page; without it this is the last one."""

    openings: tuple[Opening, ...]
    cursor: str | None = None


async def find(database: Database, asked: Asked, limit: int, cursor: str = "") -> OpeningPage:
    """The next `limit` attempts behind `cursor`. Raises `ValueError` for another cursor, and `DatabaseError`."""
    query = sa.select(door_openings).where(*_conditions(asked))
    if cursor:
        last = Place.of(cursor)
        query = query.where((_c.at < last.at_s) | ((_c.at == last.at_s) & (_c.command_id < last.key)))
    query = query.order_by(_c.at.desc(), _c.command_id.desc()).limit(limit + 1)
    async with database.transaction() as connection:
        rows = (await connection.execute(query)).all()
    openings = tuple(
        Opening(row.command_id, row.at, row.who, row.station_id, row.outcome, row.call_id, row.reason)
        for row in rows[:limit]
    )
    more = str(Place(openings[-1].at, openings[-1].command_id)) if len(rows) > limit else None
    return OpeningPage(openings, more)


def _conditions(asked: Asked) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if asked.since_s is not None:
        conditions.append(_c.at >= asked.since_s)
    if asked.until_s is not None:
        conditions.append(_c.at < asked.until_s)
    if asked.station is not None:
        conditions.append(_c.station_id == asked.station)
    if asked.who is not None:
        conditions.append(_c.who == asked.who)
    if asked.outcomes:
        conditions.append(_c.outcome.in_(asked.outcomes))
    return conditions
