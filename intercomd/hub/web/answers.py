"""What the HTTP routes of this house have in common: bodies read by their struct, answers and refusals written.

A refusal is `{code, message}`: the code for programs, the message says what is wrong and what to do."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from intercomd.hub.people.directory import DirectoryError
from intercomd.hub.people.estate import Conflict, Unknown
from intercomd.hub.people.passwords import Overloaded
from intercomd.hub.storage.database import DatabaseError

MAX_BODY_BYTES: Final = 32 * 1024

T = TypeVar("T")
Answering = Callable[[Any, web.Request], Awaitable[web.Response]]


class Refusal(Exception):
    """Ends a request with `{code, message}`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def answered(answer: Answering) -> Answering:
    """For methods: what they raise becomes the refusal that it means."""

    @wraps(answer)
    async def answering(self: Any, request: web.Request) -> web.Response:
        try:
            return await answer(self, request)
        except Refusal as refusal:
            return refused(refusal)
        except Unknown as error:
            return refused(Refusal(404, "not_found", str(error)))
        except Conflict as error:
            return refused(Refusal(409, "conflict", str(error)))
        except DirectoryError as error:
            return refused(Refusal(400, "bad_request", str(error)))
        except Overloaded:
            return refused(Refusal(429, "rate_limited", "too many people sign in at the moment; try again"))
        except DatabaseError:
            return refused(Refusal(503, "try_again", "the hub cannot reach its database at the moment"))

    return answering


async def read(request: web.Request, form: type[T]) -> T:
    """The body. Another type than JSON could be sent by a form of any page. Raises `Refusal`."""
    if request.content_type != "application/json":
        raise Refusal(400, "bad_request", "Content-Type must be application/json")
    too_large = Refusal(413, "bad_request", f"at most {MAX_BODY_BYTES} bytes")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise too_large
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    if len(body) > MAX_BODY_BYTES:
        raise too_large
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, RecursionError) as error:
        # Says which field and which type, and never what was sent.
        raise Refusal(400, "bad_request", str(error) or "nested too deeply") from None


def sent(answer: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json", status=status)


def refused(refusal: Refusal) -> web.Response:
    return web.json_response({"code": refusal.code, "message": refusal.message}, status=refusal.status)
