"""The wiring drawing: the shipped file is what the board makes, and what it says is right."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from gpiozero.pins.pi import PiBoardInfo

from intercomd.boards.board import BARE_PI, load_board
from intercomd.boards.wiring import GROUND_PINS, HEIGHT, OTHER_PINS, PIN_OF_LINE, drawing, parts

HW = Path(__file__).parents[2] / "hw"
BOARDS = sorted((HW / "boards").glob("*.toml"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_the_drawing_is_up_to_date(path: Path) -> None:
    drawn = HW / "wiring" / f"{path.stem}.svg"
    command = f"python -m intercomd.boards.wiring {path.relative_to(HW.parent)} >{drawn.relative_to(HW.parent)}"
    assert drawn.read_text() == drawing(load_board(path)), f"run `{command}`"


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_part_of_every_board_is_drawn_inside_the_picture(path: Path) -> None:
    board = load_board(path)
    drawn = [part for side in ("left", "right") for part in parts(board, side)]  # type: ignore[arg-type]
    assert {part.name for part in drawn} == {*board.buttons, *board.leds, *board.outputs}
    assert all(90 < part.y < HEIGHT - 20 for part in drawn)


@pytest.mark.parametrize("revision", [0xA02082, 0xC03111, 0xC04170, 0x902120], ids=["3B", "4B", "5B", "Zero2W"])
def test_the_header_is_the_pi_s(revision: int) -> None:
    """Compared with gpiozero's own tables of each model."""
    pins = PiBoardInfo.from_revision(revision).headers["J8"].pins
    lines = {info.name: number for number, info in pins.items()}
    assert {f"GPIO{line}": pin for line, pin in PIN_OF_LINE.items()} == {
        name: number for name, number in lines.items() if re.fullmatch("GPIO([2-9]|1[0-9]|2[0-7])", name)
    }
    assert set(GROUND_PINS) == {number for number, info in pins.items() if info.name == "GND"}
    assert {1, 17} == {number for number, info in pins.items() if info.name == "3V3"}
    assert {pin for pin, label in OTHER_PINS.items() if label == "5 V"} == {2, 4}


def texts(svg: str) -> str:
    return " ".join(
        "".join(element.itertext()) for element in ET.fromstring(svg).iter() if element.tag.endswith("text")
    )


def test_every_part_is_named_with_its_line_and_pin() -> None:
    shown = texts(drawing(BARE_PI))
    for name, line in (*BARE_PI.buttons.items(), *BARE_PI.leds.items()):
        assert re.search(rf"{name} \(.*?\): GPIO {line}, pin {PIN_OF_LINE[line]}\b", shown)


def test_parts_stand_in_the_order_of_their_pins() -> None:
    board = msgspec.structs.replace(BARE_PI, buttons={"call": 23, "hangup": 27, "speaker": 25})
    assert [part.name for part in parts(board, "right")] == ["call", "speaker"]
    for side in ("left", "right"):
        pins = [part.pin for part in parts(board, side)]
        assert pins == sorted(pins)


def test_an_active_low_led_hangs_on_the_supply() -> None:
    board = msgspec.structs.replace(BARE_PI, leds_active="low")
    assert {part.kind: part.to_ground for part in parts(board, "left")} == {"button": True, "led": False}
    assert 'class="common supply"' in drawing(board)
    assert 'class="common supply"' not in drawing(BARE_PI)


def test_what_is_on_the_board_is_not_to_be_wired() -> None:
    board = msgspec.structs.replace(BARE_PI, built_in=("call", "hangup", "speaker"))
    assert texts(drawing(board)).count("on the board") == 3
    assert "1 kΩ" not in texts(drawing(board))


def test_an_output_goes_to_a_relay_module_never_to_a_coil() -> None:
    board = msgspec.structs.replace(BARE_PI, outputs={"door": 12})
    assert "relay module" in texts(drawing(board))
    assert "door (output): GPIO 12, pin 32" in texts(drawing(board))


def test_a_title_cannot_break_the_drawing() -> None:
    board = msgspec.structs.replace(BARE_PI, title='<script>"&')
    assert '<script>"&' in texts(drawing(board))


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "intercomd.boards.wiring", *arguments]
        return subprocess.run(command, cwd=HW.parent, capture_output=True, timeout=60, check=False)

    done = run("hw/boards/bare-pi.toml")
    assert (done.returncode, done.stdout.decode()) == (0, drawing(BARE_PI))
    assert run().returncode == 2
    faulty = run(str(tmp_path / "none.toml"))
    assert faulty.returncode == 1
    assert b"No such file" in faulty.stderr
