"""The wiring of a board as a drawing: `python -m intercomd.boards.wiring hw/boards/NAME.toml >hw/wiring/NAME.svg`.

The 40-pin header stands in the middle, seen from above with pin 1 at the top left. What is wired to an odd pin is drawn
to its left, to an even pin to its right; each side has its own common line.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from intercomd.boards.board import Board, BoardError, load_board
from intercomd.texts import text

PIN_OF_LINE = {
    2: 3, 3: 5, 4: 7, 5: 29, 6: 31, 7: 26, 8: 24, 9: 21, 10: 19, 11: 23, 12: 32, 13: 33, 14: 8, 15: 10,
    16: 36, 17: 11, 18: 12, 19: 35, 20: 38, 21: 40, 22: 15, 23: 16, 24: 18, 25: 22, 26: 37, 27: 13,
}  # fmt: skip
"""Physical pin of each BCM line."""
GROUND_PINS = (6, 9, 14, 20, 25, 30, 34, 39)
OTHER_PINS = {1: "3.3 V", 17: "3.3 V", 2: "5 V", 4: "5 V", 27: "ID", 28: "ID"}
LED_COLOURS = {
    "ready": ("green", "#2e9e4f"),
    "ringing": ("yellow", "#e0a800"),
    "talking": ("green", "#2e9e4f"),
    "error": ("red", "#d03030"),
    "microphone": ("orange", "#e07020"),
}
COLOURS = {"button": "#3060c0", "output": "#8040a0"}

TOP, ROW, PART_ROW = 120, 26, 64
HEIGHT = TOP + 20 * ROW + 50
WIRED_WIDTH, BARE_WIDTH = 640, 110
"""Of a side with parts and of one without. The header's middle is x = 0."""
STYLE = """
text{font:13px system-ui,"Noto Sans CJK SC","Noto Sans",sans-serif;fill:#1c2430}
.title{font-size:20px;font-weight:600}.name{font-size:15px;font-weight:600}.small{font-size:11px;fill:#5a6575}
.pin{font-size:10px;text-anchor:middle}.wire{fill:none;stroke-width:2}.part{fill:none;stroke:#1c2430;stroke-width:2}
.common{fill:none;stroke:#1c2430;stroke-width:2.5}.supply{stroke:#c02020}
""".strip().replace("\n", "")

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
Kind = Literal["button", "led", "output"]


@dataclass(frozen=True, slots=True)
class Part:
    """A button, an LED or an output at its place in the drawing."""

    name: str
    kind: Kind
    line: int
    y: float
    to_ground: bool
    built_in: bool = False

    @property
    def pin(self) -> int:
        return PIN_OF_LINE[self.line]

    @property
    def colour(self) -> str:
        return LED_COLOURS[self.name][1] if self.kind == "led" else COLOURS[self.kind]


def drawing(board: Board) -> str:
    """The SVG document."""
    left, right = (WIRED_WIDTH if parts(board, side) else BARE_WIDTH for side in SIDES)
    width = left + right
    body = "\n".join((*_head(board, -left), *_header(board), *_side(board, "left"), *_side(board, "right")))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-left} 0 {width} {HEIGHT}" width="{width}" '
        f'height="{HEIGHT}" role="img" aria-label="Wiring of {escape(board.title)}">\n<style>{STYLE}</style>\n'
        f'<rect x="{-left}" width="{width}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def parts(board: Board, side: Side) -> list[Part]:
    """What is wired to this side of the header, from the top, evenly spread."""
    wired: list[tuple[int, Kind, str]] = [(line, "button", name) for name, line in board.buttons.items()]
    wired += [(line, "led", name) for name, line in board.leds.items()]
    wired += [(line, "output", name) for name, line in board.outputs.items()]
    here = sorted((PIN_OF_LINE[line], line, kind, name) for line, kind, name in wired if _side_of(line) == side)
    first_y = TOP + 10 * ROW - PART_ROW * (len(here) - 1) / 2
    ground = {"button": board.buttons_active == "low", "led": board.leds_active == "high", "output": True}
    return [
        Part(name, kind, line, first_y + PART_ROW * i, ground[kind], name in board.built_in)
        for i, (_, line, kind, name) in enumerate(here)
    ]


def _side_of(line: int) -> Side:
    return "left" if PIN_OF_LINE[line] % 2 else "right"


def _x(side: Side, distance: float) -> float:
    """A place as far from the middle as `distance`, on either side."""
    return -distance if side == "left" else distance


def _row_y(pin: int) -> float:
    return TOP + ((pin + 1) // 2 - 0.5) * ROW


def _pin_x(pin: int) -> float:
    return _x("left" if pin % 2 else "right", 15)


def _head(board: Board, left: float) -> Iterator[str]:
    yield f'<text class="title" x="{left + 30}" y="40">{escape(board.title)}</text>'
    yield (
        f'<text class="small" x="{left + 30}" y="64">Board {escape(board.name)}. Header seen from above, pin 1 at the '
        "top left. Wire it with the power off; no line may see more than 3.3 V.</text>"
    )


def _header(board: Board) -> Iterator[str]:
    lines = (*board.buttons.values(), *board.leds.values(), *board.outputs.values())
    used = {PIN_OF_LINE[line]: f"GPIO {line}" for line in lines}
    labels = dict.fromkeys(GROUND_PINS, "GND") | OTHER_PINS | used
    yield f'<rect x="{-32}" y="{TOP - 6}" width="64" height="{20 * ROW + 12}" rx="6" fill="#2b2f36"/>'
    for pin in range(1, 41):
        x, y = _pin_x(pin), _row_y(pin)
        fill = "#f4d35e" if pin in used else "#8fa3b8" if pin in GROUND_PINS else "#d9dde3"
        shape = (
            f'<rect x="{x - 9}" y="{y - 9}" width="18" height="18"' if pin == 1 else f'<circle cx="{x}" cy="{y}" r="9"'
        )
        yield f'{shape} fill="{fill}"/><text class="pin" x="{x}" y="{y + 3.5}">{pin}</text>'
        if pin in labels:
            side: Side = "left" if pin % 2 else "right"
            anchor = "end" if side == "left" else "start"
            yield f'<text class="small" x="{_x(side, 40)}" y="{y - 4}" text-anchor="{anchor}">{labels[pin]}</text>'


def _side(board: Board, side: Side) -> Iterator[str]:
    here = parts(board, side)
    for part in here:
        yield from _wire(part, side)
        yield from _drawn(part, side)
        yield from _label(part, side)
    for ground in (True, False):
        common = [part for part in here if part.to_ground == ground and not part.built_in]
        if common:
            yield from _common(common, side, ground)


def _wire(part: Part, side: Side) -> Iterator[str]:
    """From the pin to the resistor. The order of pins is that of parts, so wires do not cross."""
    x0, x1, y = _x(side, 24), _x(side, 220), _row_y(part.pin)
    bend = (x0 + x1) / 2
    path = f"M{x0} {y}H{_x(side, 92)}C{bend} {y} {bend} {part.y} {x1} {part.y}H{_x(side, 236)}"
    yield f'<path class="wire" d="{path}" stroke="{part.colour}"/>'


def _resistor(side: Side, y: float, value: str) -> str:
    x = _x(side, 258)
    return (
        f'<rect class="part" x="{x - 22}" y="{y - 7}" width="44" height="14"/>'
        f'<text class="small" x="{x}" y="{y - 11}" text-anchor="middle">{value}</text>'
    )


def _drawn(part: Part, side: Side) -> Iterator[str]:
    if part.built_in:
        yield _box(part, side, "on the board")
    elif part.kind == "output":
        # With its own transistor: a line drives no coil. The opener's supply is never the Pi's.
        yield _box(part, side, "relay module: IN")
    else:
        yield from (_button(part, side) if part.kind == "button" else _led(part, side))


def _box(part: Part, side: Side, words: str) -> str:
    x = _x(side, 303)
    return (
        f'<rect class="part" x="{x - 67}" y="{part.y - 16}" width="134" height="32" rx="5"/>'
        f'<text class="small" x="{x}" y="{part.y + 4}" text-anchor="middle">{words}</text>'
    )


def _button(part: Part, side: Side) -> Iterator[str]:
    """1 kΩ, then the button; a capacitor from the Pi's end of the resistor to the common line's potential."""
    y, near, far = part.y, _x(side, 305), _x(side, 345)
    yield _resistor(side, y, "1 kΩ")
    yield f'<path class="part" d="M{_x(side, 280)} {y}H{near}M{far} {y}H{_x(side, 370)}M{near} {y}L{far} {y - 13}"/>'
    yield f'<circle cx="{near}" cy="{y}" r="3"/><circle cx="{far}" cy="{y}" r="3"/>'
    left, right = sorted((_x(side, 228), _x(side, 356)))
    middle, low = (left + right) / 2, y + 24
    around = f"M{left} {y}V{low}H{middle - 4}M{middle + 4} {low}H{right}V{y}"
    yield f'<path class="part" stroke-dasharray="3 3" d="{around}"/>'
    yield f'<path class="part" d="M{middle - 4} {low - 8}V{low + 8}M{middle + 4} {low - 8}V{low + 8}"/>'
    yield f'<text class="small" x="{middle + 12}" y="{low + 13}">100 nF</text>'


def _led(part: Part, side: Side) -> Iterator[str]:
    """330 Ω, then the LED: its triangle points where the current goes, its bar is the cathode (the short leg)."""
    y = part.y
    outward = -1 if side == "left" else 1
    flow = outward if part.to_ground else -outward
    x = _x(side, 325)
    tip, base = x + 11 * flow, x - 11 * flow
    yield _resistor(side, y, "330 Ω")
    yield f'<path class="part" d="M{_x(side, 280)} {y}H{_x(side, 314)}M{_x(side, 336)} {y}H{_x(side, 370)}"/>'
    yield f'<path d="M{base} {y - 11}V{y + 11}L{tip} {y}Z" fill="{part.colour}" stroke="#1c2430" stroke-width="1.5"/>'
    yield f'<path class="part" d="M{tip} {y - 11}V{y + 11}"/>'


def _label(part: Part, side: Side) -> Iterator[str]:
    anchor, x = ("end", _x(side, 388)) if side == "left" else ("start", _x(side, 388))
    key = f"{part.kind}.{part.name}"
    what = f"{LED_COLOURS[part.name][0]} LED" if part.kind == "led" else part.kind
    yield (
        f'<text class="name" x="{x}" y="{part.y - 3}" text-anchor="{anchor}">'
        f"{escape(text(key, 'en'))} · {escape(text(key, 'zh'))}</text>"
    )
    detail = f"{part.name} ({what}): GPIO {part.line}, pin {part.pin}"
    yield f'<text class="small" x="{x}" y="{part.y + 14}" text-anchor="{anchor}">{detail}</text>'


def _common(common: Sequence[Part], side: Side, ground: bool) -> Iterator[str]:
    """The line that all these share, down to ground or up to 3.3 V."""
    x, ys = _x(side, 370), [part.y for part in common]
    if ground:
        y = _row_y(_ground_pin([part.pin for part in common], side))
        path, colour = f"M{x} {min(y, *ys)}V{max(y, *ys)}M{x} {y}H{_x(side, 24)}", ""
    else:  # around the top of the header, away from the 5 V beside it
        path, colour = f"M{x} {max(ys)}V{TOP - 24}H{_pin_x(1)}V{_row_y(1) - 9}", " supply"
    yield f'<path class="common{colour}" d="{path}"/>'
    yield "".join(f'<circle cx="{x}" cy="{y}" r="4"/>' for y in ys)


def _ground_pin(used: Sequence[int], side: Side) -> int:
    """One beside the rows in use where there is one, so that the line crosses no wire."""
    here = [pin for pin in GROUND_PINS if (pin % 2 == 1) == (side == "left")]
    outside = [pin for pin in here if pin > max(used) or pin < min(used)]
    return max(outside or here, key=lambda pin: (pin > max(used), -abs(pin - max(used))))


def main(arguments: Sequence[str]) -> int:
    """0 done, 1 a faulty board file, 2 wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m intercomd.boards.wiring BOARD.toml >BOARD.svg\n")
        return 2
    try:
        svg = drawing(load_board(Path(arguments[0])))
    except BoardError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(svg.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
