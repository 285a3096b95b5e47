"""One table of HTTP routes: what the router serves and what `/api/openapi.json` describes are the same entries.

Each part of the hub has a `routes()` of its own; `attach` gives them to aiohttp.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Who(StrEnum):
    """Who may ask. The handler itself decides; this is what the description says of it."""

    ANYBODY = "anybody"
    RESIDENT = "resident"
    """The cookie of a resident's session."""
    ADMINISTRATOR = "administrator"
    """The cookie of an administrator's session."""
    STATION = "station"
    """`Authorization: Bearer TOKEN` of a station."""
    MONITOR = "monitor"
    """From this machine, or `Authorization: Bearer` with the token of `[hub] metrics_token_file`."""


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter behind `?`. `kind`: str, int, float, bool or an enumeration. `many`: it may be repeated."""

    name: str
    text: str
    kind: Any = str
    many: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """`path` has aiohttp's placeholders, as `/api/groups/{name}`. `body` and `answer` are msgspec structs (or any type
    that msgspec knows) as JSON; `produces` is the answer's media type where it is not JSON. `refusals`: the statuses of
    refusals, each with `{code, message}`."""

    method: str
    path: str
    handler: Answering
    summary: str
    who: Who = Who.ANYBODY
    query: tuple[Query, ...] = ()
    body: Any = None
    answer: Any = None
    status: int = 200
    produces: str = "application/json"
    refusals: tuple[int, ...] = ()


def attach(app: web.Application, routes: Iterable[Route]) -> None:
    for route in routes:
        # A GET also answers HEAD, as RFC 9110, 9.1 asks of every server.
        if route.method == "GET":
            app.router.add_get(route.path, route.handler)
        else:
            app.router.add_route(route.method, route.path, route.handler)
