"""What stands behind `?` in a request, by the route's own description of it. An unknown name is a mistake: a filter
that is misspelt must not show everything."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NewType

import msgspec

from intercomd.hub.web.routes import Query

Moment = NewType("Moment", float)
"""Unix seconds; asked for as such, or as RFC 3339 (`2026-11-23T20:00:00Z`), or as a date (midnight UTC)."""

_NUMBER = re.compile(r"-?[0-9]{1,11}([.][0-9]{1,9})?")
"""`20261123` is a date for ISO 8601, and a number here."""


def read(given: Mapping[str, str], described: Iterable[Query]) -> dict[str, Any]:
    """The values by name; what is not given is missing. `given` may be a multidict. Raises `ValueError`, which names
    the parameter."""
    by_name = {query.name: query for query in described}
    values: dict[str, Any] = {}
    for name in given:
        query = by_name.get(name)
        if query is None:
            raise ValueError(f"{_short(name)}: no such parameter; there are {', '.join(by_name)}")
        if name not in values:
            texts = getattr(given, "getall", lambda only: [given[only]])(name)
            values[name] = _value(query, texts)
    return values


def _value(query: Query, texts: list[str]) -> Any:
    if not query.many and len(texts) > 1:
        raise ValueError(f"{query.name} is given more than once")
    found = tuple(_one(query, text) for text in texts)
    return found if query.many else found[0]


def _one(query: Query, text: str) -> Any:
    if query.kind is Moment:
        return _moment(query.name, text)
    try:
        return msgspec.convert(text, query.kind, strict=False)
    except msgspec.ValidationError as error:
        # Of an enumeration's mistakes msgspec repeats what was sent.
        words = str(error).partition(" - at ")[0]
        raise ValueError(f"{query.name}: {_short(words)}") from None


def _moment(name: str, text: str) -> Moment:
    try:
        at_s = float(text) if _NUMBER.fullmatch(text) else _of_calendar(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: Unix seconds, a date, or RFC 3339 as 2026-11-23T20:00:00Z") from None
    return Moment(at_s)


def _of_calendar(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
