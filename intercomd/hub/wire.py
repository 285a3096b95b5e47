"""The description of the Socket.IO protocol, made from the structs that station, hub and page share:

    python -m intercomd.hub.wire > intercomd/hub/PROTOCOL.md

A test compares the two."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from intercomd.core import protocol, vocabulary
from intercomd.core.protocol import HUB_HEARTBEAT_EVENT, NOTICES, PROTOCOL_VERSION, REQUESTS, Code, ConnectAuth, Reply
from intercomd.core.vocabulary import MAX_MESSAGE_BYTES, STORABLE, EndReason, HubPhase

INTRODUCTION: Final = f"""# The signalling protocol, version {PROTOCOL_VERSION}

*Made from `intercomd/core/protocol.py` by `python -m intercomd.hub.wire`; do not edit.*

Socket.IO 4 (protocol revision 5), default namespace, path `/socket.io/`, WebSocket transport only, JSON payloads of at
most {MAX_MESSAGE_BYTES // 1024} KiB. An event carries one object. Unknown fields are ignored; a wrong shape is answered
`bad_request` with the field and the reason, and changes nothing. Fields marked `?` may be left out. Times are seconds,
moments are Unix seconds of the hub's clock.

Socket.IO delivers at most once. Notices are hints; what `resync` answers, on every connect, is the truth.

## Connecting

The Socket.IO `auth` payload. A page sends no token: its session is in a cookie.
"""

REQUESTS_WORDS: Final = """
## Client to hub

Every one is acknowledged with a `Reply`: `{ok: true, ...}` or `{ok: false, code, message}`. Repeating one is harmless.
"""

NOTICES_WORDS: Final = f"""
## Hub to client

Each is about one call and carries `callId` and `seq`, which counts per call: drop what you have seen. The hub's own
`{HUB_HEARTBEAT_EVENT}` `{{t}}` is acknowledged with `{{ok: true}}`.
"""


def text() -> str:
    """The whole document."""
    parts = [INTRODUCTION, _fields(ConnectAuth)]
    parts.append(REQUESTS_WORDS)
    parts.extend(_event(name, struct) for name, struct in REQUESTS.items())
    parts += ["\n### The answer: `Reply`\n", _words(Reply), _fields(Reply)]
    parts.append(NOTICES_WORDS)
    parts.extend(_event(name, struct) for name, struct in NOTICES.items())
    parts.append(_others())
    parts.append("\n## Objects in them\n")
    parts.extend(_object(struct) for struct in _shared())
    parts.append("\n## Words\n")
    parts.extend(f"\n**{title}**: {_listed(kind)}\n" for title, kind in _WORDS.items())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


_WORDS: Final[Mapping[str, Any]] = {
    "Phases of a call (`phase`)": HubPhase,
    "Why a call is over (`endReason`, `reason`)": EndReason,
    "Why a request is not carried out (`code`)": Code,
}


def _others() -> str:
    """Events that concern no call, with their answers: structs with an event's name that are neither of the above."""
    known: set[Any] = {*REQUESTS.values(), *NOTICES.values()}
    found = [struct for struct in _structs() if _name(struct) and struct not in known]
    if not found:
        return ""
    return "\n### About no call\n" + "\n".join(_event(struct.event, struct) for struct in found)


def _event(name: str, struct: Any) -> str:
    return f"\n### `{name}`\n\n{_words(struct)}\n{_fields(struct)}"


def _object(struct: Any) -> str:
    return f"\n### {struct.__name__}\n\n{_words(struct)}\n{_fields(struct)}"


def _words(struct: Any) -> str:
    words = struct.__dict__.get("__doc__") or ""
    return f"{inspect.cleandoc(words)}\n" if words else ""


def _fields(struct: Any) -> str:
    fields = msgspec.structs.fields(struct)
    if not fields:
        return "*No fields.*\n"
    rows = [f"| `{field.encode_name}`{'' if field.required else '?'} | {_kind(field.type)} |" for field in fields]
    return "| field | |\n|---|---|\n" + "\n".join(rows) + "\n"


def _kind(kind: Any) -> str:
    return _described(msgspec.inspect.type_info(kind))


def _described(info: Any) -> str:
    """A type as people say it."""
    match info:
        case msgspec.inspect.Metadata():
            return _described(info.type)
        case msgspec.inspect.UnionType():
            return " or ".join(_described(kind) for kind in info.types)
        case msgspec.inspect.StructType():
            return f"[{info.cls.__name__}](#{info.cls.__name__.lower()})"
        case msgspec.inspect.EnumType():
            return f"one of {info.cls.__name__}"
        case msgspec.inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in info.values)
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return f"list of {_described(info.item_type)}{_limits(info.min_length, info.max_length, 'entries')}"
        case msgspec.inspect.StrType():
            without = " without U+0000" if info.pattern == STORABLE else ""
            return f"text{_limits(info.min_length, info.max_length, 'characters')}{without}"
        case msgspec.inspect.IntType():
            return f"whole number{_range(info)}"
        case msgspec.inspect.FloatType():
            return f"number{_range(info)}"
        case msgspec.inspect.BoolType():
            return "`true` or `false`"
        case msgspec.inspect.NoneType():
            return "`null`"
        case _:
            raise TypeError(f"wire.py has no words for {info!r}")


def _limits(least: int | None, most: int | None, unit: str) -> str:
    if most is None:
        return ""
    return f", {least} to {most} {unit}" if least else f", at most {most} {unit}"


def _range(info: Any) -> str:
    least, most = info.ge if info.ge is not None else info.gt, info.le if info.le is not None else info.lt
    if least is None and most is None:
        return ""
    if most is None:
        return f", {_number(least)} or more"
    return f", {_number(least)} to {_number(most)}" if least is not None else f", at most {_number(most)}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _listed(kind: Iterable[Any]) -> str:
    return ", ".join(f"`{word.value}`" for word in kind)


def _name(struct: Any) -> str:
    """The event's, "" for an object that is part of others."""
    return str(getattr(struct, "event", ""))


def _structs() -> Iterator[Any]:
    """Those of the module, in the order in which it defines them."""
    for found in (vars(vocabulary) | vars(protocol)).values():
        if isinstance(found, type) and issubclass(found, vocabulary.Struct):
            yield found


def _shared() -> Iterator[Any]:
    """Structs without an event of their own that others contain."""
    bases = (vocabulary.Struct, protocol.Request, protocol.Notice, ConnectAuth, Reply)
    return (struct for struct in _structs() if struct not in bases and not _name(struct))


if __name__ == "__main__":
    print(text(), end="")
