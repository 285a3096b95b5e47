"""The hub's two descriptions: of its HTTP API, which must agree with the router, and of its Socket.IO protocol, which
must agree with the structs."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from intercomd.config import Hub
from intercomd.core import protocol, vocabulary
from intercomd.fakes.journal import FakeJournal
from intercomd.hub import wire
from intercomd.hub.server import HubServer
from intercomd.hub.web import openapi, routes
from intercomd.hub.web.queries import Moment
from intercomd.hub.web.routes import Query, Route, Who

PROTOCOL_FILE = Path(wire.__file__).with_name("PROTOCOL.md")


class Body(msgspec.Struct, rename="camel"):
    shown_name: str
    kind: vocabulary.HubPhase | None = None


async def nothing(_request: web.Request) -> web.Response:
    return web.Response()


@pytest.fixture
def hub(tmp_path: Path) -> HubServer:
    return HubServer(Hub(database_url=f"sqlite+aiosqlite:///{tmp_path / 'hub.db'}"), FakeJournal())


def served(table: tuple[Route, ...]) -> set[tuple[str, str]]:
    """What aiohttp's router really has; HEAD comes with every GET."""
    app = web.Application()
    routes.attach(app, table)
    return {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }


def described(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method, path) for path, operations in document["paths"].items() for method in operations}


def test_every_route_is_described_and_nothing_more(hub: HubServer) -> None:
    assert described(openapi.document(hub.routes)) == served(hub.routes)


def test_what_the_description_refers_to_is_in_it(hub: HubServer) -> None:
    document = openapi.document(hub.routes)
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert referred == set(schemas)
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["summary"].endswith("."), operation
            for requirement in operation["security"]:
                assert set(requirement) <= set(document["components"]["securitySchemes"])


def test_a_route_with_everything() -> None:
    route = Route(
        "PATCH", "/api/things/{name:[a-z]+}", nothing, "Change one.", Who.ADMINISTRATOR,
        (Query("since", "From then on.", Moment), Query("phase", "Which.", vocabulary.HubPhase, many=True)),
        body=Body, answer=list[Body], status=201, refusals=(404, 400),
    )  # fmt: skip
    document = openapi.document([route])
    (operation,) = document["paths"]["/api/things/{name}"].values()
    assert [parameter["in"] for parameter in operation["parameters"]] == ["path", "query", "query"]
    assert operation["parameters"][2]["schema"]["type"] == "array"
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Body"}
    assert list(operation["responses"]) == ["201", "400", "404"]
    assert operation["security"] == [{"administrator": []}]
    assert document["components"]["schemas"]["Body"]["required"] == ["shownName"]


def test_the_protocols_description_is_up_to_date() -> None:
    """`python -m intercomd.hub.wire > intercomd/hub/PROTOCOL.md` writes it anew."""
    assert PROTOCOL_FILE.read_text() == wire.text()


def test_the_protocols_description_has_every_event_and_every_word() -> None:
    text = wire.text()
    for event in (*protocol.REQUESTS, *protocol.NOTICES):
        assert f"### `{event}`" in text, event
    for words in (vocabulary.HubPhase, vocabulary.EndReason, protocol.Code):
        for word in words:
            assert f"`{word.value}`" in text, word
    for struct in (vars(vocabulary) | vars(protocol)).values():
        if isinstance(struct, type) and issubclass(struct, vocabulary.Struct):
            for field in msgspec.structs.fields(struct):
                assert f"`{field.encode_name}`" in text, (struct, field)
