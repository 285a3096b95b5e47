"""Boards: which GPIO line each button, LED and output is wired to, from `hw/boards/*.toml`."""

import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, get_args

import msgspec

from intercomd.config.tables import ButtonName, LedName, OutputName, Panel

Active = Literal["low", "high"]
Acoustic = Literal["speakerphone", "handset"]

Line = Annotated[int, msgspec.Meta(ge=2, le=27)]
"""BCM number. The 40-pin header has 0–27; 0 and 1 belong to the HAT's identification EEPROM."""

MAX_FILE_BYTES = 64 * 1024

_LINES = "each with a line from 2 to 27 (BCM number)"
ALLOWED = {
    "name": "lower-case letters, digits and hyphens",
    "title": "1 to 80 characters",
    "buttons": f"{', '.join(get_args(ButtonName))}, {_LINES}",
    "leds": f"{', '.join(get_args(LedName))}, {_LINES}",
    "outputs": f"{', '.join(get_args(OutputName))}, {_LINES}",
    "chip": "a label as `gpiodetect` shows it, or empty",
    "buttons_active": '"low" or "high"',
    "leds_active": '"low" or "high"',
    "outputs_active": '"low" or "high"',
    "acoustic": '"speakerphone" or "handset"',
    "built_in": f"a list of {', '.join((*get_args(ButtonName), *get_args(LedName)))}",
}
"""What a key may be, as messages say it."""


class BoardError(ValueError):
    """The board file has mistakes, or two names share a line. The text has all of them, one per line, each with the
    file and what is allowed."""


class Board(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A board as its file describes it. `chip` is the GPIO chip's label, "" for that of the Raspberry Pi's header;
    `acoustic` is what people speak into: a speakerphone hears its own loudspeaker. `built_in` are the buttons and LEDs
    that are on the board itself: nobody wires them."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,40}$")]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    buttons: dict[ButtonName, Line]
    leds: dict[LedName, Line] = {}
    outputs: dict[OutputName, Line] = {}
    chip: Annotated[str, msgspec.Meta(max_length=64)] = ""
    buttons_active: Active = "low"
    leds_active: Active = "high"
    outputs_active: Active = "high"
    acoustic: Acoustic = "speakerphone"
    built_in: tuple[ButtonName | LedName, ...] = ()


BARE_PI = Board(
    name="bare-pi",
    title="Raspberry Pi with push buttons and LEDs",
    buttons={"call": 17, "hangup": 27, "speaker": 22},
    leds={"ready": 5, "ringing": 6, "talking": 13, "error": 19, "microphone": 26},
)
"""The same as `hw/boards/bare-pi.toml`: the panel of a station that names no board file."""


def load_board(path: Path) -> Board:
    """Read and check a board file. Raises `BoardError`, also for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise BoardError(f"{path}: longer than {MAX_FILE_BYTES} bytes: this is no board file")
        tables = tomllib.loads(raw.decode())
    except OSError as error:
        raise BoardError(f"{path}: {error.strerror}: name a file like hw/boards/bare-pi.toml") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BoardError(f"{path}: not TOML: {error}") from error
    return _checked(tables, str(path))


def panel_board(panel: Panel) -> Board:
    """The board that the configuration's [panel] describes. Raises `BoardError`."""
    board = load_board(Path(panel.board_file)) if panel.board_file else BARE_PI
    chip = panel.chip_label or board.chip
    return msgspec.structs.replace(rewired(board, panel.buttons, panel.leds, panel.outputs), chip=chip)


def rewired(
    board: Board,
    buttons: Mapping[ButtonName, int],
    leds: Mapping[LedName, int],
    outputs: Mapping[OutputName, int] = MappingProxyType({}),
) -> Board:
    """The board with some lines replaced, as `[panel] buttons`, `leds` and `outputs` ask for. Raises `BoardError`."""
    tables = msgspec.to_builtins(board)
    tables["buttons"] |= buttons
    tables["leds"] |= leds
    tables["outputs"] |= outputs
    return _checked(tables, f"board {board.name} with [panel]")


def _checked(tables: dict[str, object], where: str) -> Board:
    mistakes = [*_mistakes(tables)]
    if mistakes:
        raise BoardError("\n".join(f"{where}: {mistake}" for mistake in mistakes))
    return msgspec.convert(tables, Board)


def _mistakes(tables: dict[str, object]) -> Iterator[str]:
    """Every mistake: msgspec stops at the first, so each key is converted by itself."""
    fields = {field.name: field for field in msgspec.structs.fields(Board)}
    for name in sorted(tables.keys() - fields.keys()):
        yield f"{name} is not known; allowed: {', '.join(fields)}"
    for name, field in fields.items():
        if name not in tables and field.required:
            yield f"{name} is missing; allowed: {ALLOWED[name]}"
        for key, value in _parts(name, tables):
            reason = _refusal(value, field.type)
            if reason:
                yield f"{key}: {reason}; allowed: {ALLOWED[name]}"
    yield from _shared(tables)


def _parts(name: str, tables: dict[str, object]) -> Iterator[tuple[str, object]]:
    """The key's value, a table entry by entry."""
    value = tables.get(name)
    if isinstance(value, dict):
        yield from ((f"{name}.{key}", {key: entry}) for key, entry in value.items())
    elif name in tables:
        yield name, value


def _refusal(value: object, kind: object) -> str:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error).split(" - at")[0]
    return ""


def _shared(tables: dict[str, object]) -> Iterator[str]:
    names: dict[int, list[str]] = defaultdict(list)
    for table in ("buttons", "leds", "outputs"):
        lines = tables.get(table)
        for name, line in lines.items() if isinstance(lines, dict) else ():
            if isinstance(line, int):
                names[line].append(f"{table}.{name}")
    for line, used in names.items():
        if len(used) > 1:
            yield f"line {line} is used for {' and '.join(used)}: each button, LED and output needs a line of its own"
