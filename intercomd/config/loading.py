"""Reading the file and checking every key by its struct's types. msgspec stops at the first mistake; a person
wants them all at once, so each key is converted by itself, and the whole only when nothing was wrong."""

import difflib
import json
import os
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import inspect, structs

from intercomd.config.credentials import hub_url
from intercomd.config.crosschecks import cross_mistakes
from intercomd.config.mistakes import ConfigError, Mistake
from intercomd.config.tables import Config, Station

Part = Literal["device", "hub", "pair"]
"""`pair`: a station that has no token yet, so that only types and ranges are checked."""
MAX_FILE_BYTES = 256 * 1024
MAX_SHOWN_CHARS = 60


def load(path: Path | str, part: Part | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read, check and return the configuration.

    Types and ranges of every table are always checked; files, secrets and contradictions only for the `part`
    that will run here, or without one for the parts whose table (`[station]`, `[hub]`) stands in the file.
    Raises `ConfigError` with every mistake.
    """
    document = _parse(Path(path))
    mistakes = tuple(_key_mistakes("", document, Config))
    if mistakes:
        raise ConfigError(str(path), mistakes)
    config = msgspec.convert(document, Config, strict=True)
    parts = (part,) if part else _parts_in(document)
    if "hub_url" not in document.get("station", {}):
        config = _with_paired_hub(config, environ)
    mistakes = tuple(cross_mistakes(config, parts, environ))
    if mistakes:
        raise ConfigError(str(path), mistakes)
    return _with_environment(config, environ)


def salvage(path: Path | str) -> Config:
    """What can be used of a file that has mistakes: every key that is right by itself, defaults for all others. For
    telling of the mistakes by the station's own lamps and loudspeaker. Never raises."""
    try:
        document = _parse(Path(path))
    except ConfigError:
        return Config()
    hints = typing.get_type_hints(Config, include_extras=True)
    tables = {name: table for name, table in document.items() if name in hints and isinstance(table, dict)}
    for name, table in tables.items():
        wrong = {mistake.where.split(".")[1].split("[")[0] for mistake in _key_mistakes(name, table, hints[name])}
        tables[name] = {key: value for key, value in table.items() if key not in wrong}
    return msgspec.convert(tables, Config, strict=True)


def allowed(hint: Any) -> str:
    """What a key of this type may be, in words."""
    info = inspect.type_info(hint)
    if isinstance(info, inspect.Metadata):
        if info.extra and "allowed" in info.extra:
            return str(info.extra["allowed"])
        info = info.type
    return _type_words(info)


def _parts_in(document: Mapping[str, Any]) -> tuple[str, ...]:
    parts = tuple(part for part, table in (("device", "station"), ("hub", "hub")) if table in document)
    return parts or ("device",)


def _with_paired_hub(config: Config, environ: Mapping[str, str]) -> Config:
    url = hub_url(environ)
    if not url:
        return config
    mistakes = tuple(_key_mistakes("station", {"hub_url": url}, Station))
    if mistakes:
        raise ConfigError("the credential hub-url", mistakes)
    return structs.replace(config, station=structs.replace(config.station, hub_url=url))


def _with_environment(config: Config, environ: Mapping[str, str]) -> Config:
    socket = environ.get("INTERCOMD_CONTROL")
    if not socket:
        return config
    return structs.replace(config, station=structs.replace(config.station, control_socket=socket))


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _whole_file(path, f"the file cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise _whole_file(path, f"the file is larger than {MAX_FILE_BYTES // 1024} KiB: not a configuration")
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise _whole_file(path, f"line {line} is not UTF-8 text: save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _whole_file(path, f"not TOML: {error}") from error


def _whole_file(path: Path, wrong: str) -> ConfigError:
    return ConfigError(str(path), (Mistake("", wrong),))


def _key_mistakes(where: str, value: Any, hint: Any) -> Iterator[Mistake]:
    """Every mistake in `value`, which stands at `where` and should be of the type `hint`."""
    info = inspect.type_info(hint)
    bare = info.type if isinstance(info, inspect.Metadata) else info
    if isinstance(bare, inspect.StructType):
        yield from _struct_mistakes(where, value, bare)
    elif isinstance(bare, inspect.ListType) and isinstance(value, list) and value:
        (item,) = typing.get_args(_without_meta(hint))
        for index, entry in enumerate(value):
            yield from _key_mistakes(f"{where}[{index}]", entry, item)
    elif isinstance(bare, inspect.DictType) and isinstance(value, dict):
        key_hint, value_hint = typing.get_args(_without_meta(hint))
        names = typing.get_args(key_hint)
        yield from _unknown_keys(where, value, names)
        for name in names:
            if name in value:
                yield from _key_mistakes(f"{where}.{name}", value[name], value_hint)
    else:
        yield from _leaf_mistakes(where, value, hint)


def _struct_mistakes(where: str, value: Any, info: inspect.StructType) -> Iterator[Mistake]:
    if not isinstance(value, dict):
        yield Mistake(where, f"is {_shown(where, value)}", f"a table: `[{where}]` on a line of its own, its keys below")
        return
    hints = typing.get_type_hints(info.cls, include_extras=True)
    yield from _unknown_keys(where, value, tuple(hints))
    for field in info.fields:
        inner = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            yield from _key_mistakes(inner, value[field.name], hints[field.name])
        elif field.required:
            yield Mistake(inner, "is missing", allowed(hints[field.name]))


def _unknown_keys(where: str, value: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[Mistake]:
    for name in value:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            kind = "key" if where else "table"
            yield Mistake(f"{where}.{name}" if where else name, f"unknown {kind}{hint}", _or(known))


def _leaf_mistakes(where: str, value: Any, hint: Any) -> Iterator[Mistake]:
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError:
        yield Mistake(where, f"is {_shown(where, value)}", allowed(hint))


def _without_meta(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def _shown(where: str, value: Any) -> str:
    """The value as it stands in the file; never that of a key that might hold a secret by mistake."""
    if where.endswith("_file"):
        return "something else"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"


def _type_words(info: inspect.Type) -> str:
    match info:
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return _or(value if isinstance(value, int) else json.dumps(value) for value in values)
        case inspect.IntType() | inspect.FloatType():
            return _range_words(info)
        case inspect.StrType(max_length=longest):
            return f"text of at most {longest} characters" if longest else "text"
        case inspect.ListType(item_type=inspect.StructType()):
            return f"at most {info.max_length} tables"
        case inspect.ListType(min_length=shortest, max_length=longest):
            return f"a list of {shortest or 0} to {longest}"
        case inspect.DictType(key_type=inspect.LiteralType(values=names)):
            return f"a table with {_or(names)}, each a line from 2 to 27"
        case _:
            raise TypeError(f"no words for {info}: tables.py uses a type that loading.py does not know")


def _range_words(info: inspect.IntType | inspect.FloatType) -> str:
    kind = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    return f"{kind} from {info.ge:g} to {info.le:g}"


def _or(words: Iterable[object]) -> str:
    listed = [str(word) for word in words]
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"
