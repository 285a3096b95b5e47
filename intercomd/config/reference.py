"""The README's reference of every key, made from the structs so that it cannot lie."""

import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from intercomd.config.loading import allowed
from intercomd.config.tables import Config, IceServer

BEGIN, END = "<!-- configuration:begin -->", "<!-- configuration:end -->"


def reference() -> str:
    """Markdown: one table of keys, defaults, allowed values and meanings for each table of the file."""
    parts = [_section(f"[{name}]", table) for name, table in typing.get_type_hints(Config).items()]
    return "\n".join([*parts, _section("[[ice.servers]]", IceServer)])


def rewrite(readme: Path) -> bool:
    """Put the reference between the markers; return whether the file changed. ValueError without markers."""
    before = readme.read_text()
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{readme} has no {BEGIN} … {END}")
    after = f"{head}{BEGIN}\n\n{reference()}\n{END}{tail}"
    if after != before:
        readme.write_text(after)
    return after != before


def _section(title: str, table: type[msgspec.Struct]) -> str:
    rows = "\n".join(_rows(table))
    summary = (table.__doc__ or "").strip()
    return f"#### `{title}`\n\n{summary}\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n{rows}\n"


def _rows(table: type[msgspec.Struct]) -> Iterator[str]:
    hints = typing.get_type_hints(table, include_extras=True)
    info = inspect.type_info(table)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        assert isinstance(field.type, inspect.Metadata), f"{table.__name__}.{field.name} has no description"
        meaning = (field.type.extra_json_schema or {})["description"]
        cells = (f"`{field.name}`", _default(field), allowed(hints[field.name]), meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: inspect.Field) -> str:
    value: Any = field.default
    if value is NODEFAULT:
        value = NODEFAULT if field.default_factory is NODEFAULT else field.default_factory()
    if value is NODEFAULT:
        return "(required)"
    return f"`{json.dumps(value) if value != {} else '{}'}`"
