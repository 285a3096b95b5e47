"""Draws what an installer does with a card: hw/pictures/card.svg. Standard library only.

python hw/pictures/draw.py
"""

from pathlib import Path
from xml.sax.saxutils import escape

PLACE = Path(__file__).parent / "card.svg"
WIDTH, HEIGHT, GAP = 230, 250, 14
INK, PALE, GREEN, RED = "#222", "#e8eef4", "#2a8a3a", "#c22"
STEPS = (
    ("1", "Flash", "烧录"),
    ("2", "Write two files", "写两个文件"),
    ("3", "Card in, power on", "插卡，通电"),
    ("4", "Green: ready", "绿灯：就绪"),
)


def box(x: float, y: float, wide: float, high: float, fill: str = "none", round_: float = 6) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" rx="{round_}" fill="{fill}" stroke="{INK}" '
        'stroke-width="2"/>'
    )


def line(x: float, y: float, to_x: float, to_y: float, colour: str = INK, wide: float = 2) -> str:
    return f'<path d="M{x} {y}L{to_x} {to_y}" stroke="{colour}" stroke-width="{wide}" fill="none"/>'


def text(x: float, y: float, words: str, size: int = 14, anchor: str = "middle", colour: str = INK) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def dot(x: float, y: float, fill: str, radius: float = 7) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{fill}" stroke="{INK}" stroke-width="1.5"/>'


def sd_card(x: float, y: float, label: str = "") -> str:
    shape = f'<path d="M{x} {y}h34l14 14v46h-48z" fill="{PALE}" stroke="{INK}" stroke-width="2"/>'
    contacts = "".join(line(x + 8 + 8 * index, y + 5, x + 8 + 8 * index, y + 15, INK, 3) for index in range(4))
    return shape + contacts + text(x + 24, y + 46, label, 11)


def flash() -> str:
    laptop = box(22, 80, 90, 60, PALE) + line(10, 148, 124, 148, INK, 6)
    arrow = line(130, 112, 152, 112, INK, 3) + f'<path d="M152 105l10 7l-10 7z" fill="{INK}"/>'
    return laptop + text(67, 106, ".img.xz", 14) + text(67, 124, "Imager", 12) + arrow + sd_card(168, 82, "4 GB")


def files() -> str:
    sheets = []
    for index, (name, inside) in enumerate(
        (("intercomd.toml", 'name = "door"'), ("pairing.txt", "intercom-pairing …"))
    ):
        y = 76 + 72 * index
        sheets.append(box(70, y, 146, 60, "#fff", 2) + text(80, y + 22, name, 14, "start"))
        sheets.append(text(80, y + 44, inside, 12, "start", "#555"))
    return sd_card(12, 96, "FAT") + "".join(sheets)


def power() -> str:
    pi = box(30, 84, 130, 84, "#d8efd8") + box(40, 92, 100, 12, "#333", 2) + box(124, 130, 36, 26, "#bbb", 2)
    slot = sd_card(4, 108)
    plug = line(96, 168, 96, 190, INK, 4) + text(96, 208, "5 V", 13)
    return slot + pi + plug


def ready() -> str:
    lamps = ((GREEN, "ready 就绪", True), ("#fff", "ringing 振铃", False), ("#fff", "talking 通话", False))
    drawn = [box(28, 70, 182, 128, PALE, 10)]
    for index, (colour, words, _) in enumerate(lamps):
        drawn.append(dot(46, 92 + 26 * index, colour) + text(62, 97 + 26 * index, words, 13, "start"))
    drawn.append(dot(46, 176, RED) + text(62, 174, "fast: *-error.txt", 12, "start", RED))
    drawn.append(text(62, 190, "快闪：看 *-error.txt", 12, "start", RED))
    return "".join(drawn)


def picture() -> str:
    """The whole drawing, as SVG."""
    panels = []
    for index, ((number, english, chinese), draw) in enumerate(zip(STEPS, (flash, files, power, ready), strict=True)):
        x = GAP + index * (WIDTH + GAP)
        head = dot(20, 24, INK, 13) + text(20, 29, number, 15, "middle", "#fff") + text(40, 22, english, 15, "start")
        frame = box(0, 0, WIDTH, HEIGHT - 2 * GAP, "#fff", 8)
        panels.append(
            f'<g transform="translate({x} {GAP})">{frame}{head}{text(40, 42, chinese, 14, "start")}{draw()}</g>'
        )
    wide = GAP + len(STEPS) * (WIDTH + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {HEIGHT}" width="{wide}" height="{HEIGHT}" '
        f'font-family="sans-serif">\n<title>A card becomes a station: flash, write two files, power on, ready</title>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PLACE.write_text(picture())
