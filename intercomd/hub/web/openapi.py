"""The HTTP API's description (OpenAPI 3.1), made from the table of routes and the structs that they name."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from intercomd import __version__
from intercomd.hub.web.queries import Moment
from intercomd.hub.web.routes import Query, Route, Who
from intercomd.hub.web.site import ADMINISTRATORS_COOKIE, COOKIE

_PLACEHOLDER: Final = re.compile(r"{([^}:]+)(:[^}]*)?}")
_COMPONENT: Final = "#/components/schemas/{name}"
_WORDS: Final = {
    400: "The request has a mistake; `message` names it.",
    401: "Nobody is signed in, or the token is not good.",
    403: "Not allowed.",
    404: "There is no such thing.",
    409: "It contradicts what is there.",
    413: "The request is too large.",
    429: "Too many requests, or too many failures, from this address.",
    503: "Not at the moment; try again.",
}
_SECURITY: Final[dict[Who, list[dict[str, list[str]]]]] = {
    Who.ANYBODY: [],
    Who.RESIDENT: [{"session": []}],
    Who.ADMINISTRATOR: [{"administrator": []}],
    Who.STATION: [{"token": []}],
    # The empty one: from the hub's own machine nothing is needed where no token is configured.
    Who.MONITOR: [{"token": []}, {}],
}


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was not carried out. `code` is for programs, `message` for people."""

    code: str
    message: str


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole description, ready for JSON."""
    types = [kind for route in routes for kind in _types(route)]
    schemas, components = msgspec.json.schema_components([*types, Refusal], ref_template=_COMPONENT)
    by_type = dict(zip(map(_key, [*types, Refusal]), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(path_of(route), {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "intercomd hub", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                # Where the hub is reached by https the names have the prefix `__Host-`.
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "administrator": {"type": "apiKey", "in": "cookie", "name": ADMINISTRATORS_COOKIE},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def path_of(route: Route) -> str:
    """aiohttp's placeholders may have a pattern, OpenAPI's have none."""
    return _PLACEHOLDER.sub(r"{\1}", route.path)


def _types(route: Route) -> Iterator[Any]:
    if route.body is not None:
        yield route.body
    if route.answer is not None:
        yield route.answer
    for query in route.query:
        if query.kind is not Moment:
            yield query.kind


def _key(kind: Any) -> str:
    """Types such as dict[str, Any] are equal without being the same, and some are not hashable."""
    return repr(kind)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": f"For: {route.who.value}.",
        "security": _SECURITY[route.who],
        "responses": dict(_responses(route, schemas)),
    }
    parameters = [*_placeholders(route), *(_parameter(query, schemas) for query in route.query)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas[_key(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", path_of(route)) or ["page"]
    return route.method.lower() + "".join(word.capitalize() for word in words)


def _responses(route: Route, schemas: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    answer: dict[str, Any] = {"description": "Done."}
    if route.answer is not None:
        answer["content"] = {route.produces: {"schema": schemas[_key(route.answer)]}}
    elif route.produces != "application/json":
        answer["content"] = {route.produces: {"schema": {"type": "string"}}}
    yield str(route.status), answer
    for status in sorted(set(route.refusals)):
        content = {"application/json": {"schema": schemas[_key(Refusal)]}}
        yield str(status), {"description": _WORDS.get(status, "Refused."), "content": content}


def _placeholders(route: Route) -> Iterable[dict[str, Any]]:
    return (
        {"name": found[0], "in": "path", "required": True, "schema": {"type": "string"}}
        for found in _PLACEHOLDER.findall(route.path)
    )


def _parameter(query: Query, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = _MOMENT if query.kind is Moment else schemas[_key(query.kind)]
    if query.many:
        schema = {"type": "array", "items": schema}
    return {"name": query.name, "in": "query", "description": query.text, "schema": schema}


_MOMENT: Final = {
    "oneOf": [{"type": "number"}, {"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}],
    "description": "Unix seconds, RFC 3339, or a date (midnight UTC).",
}
