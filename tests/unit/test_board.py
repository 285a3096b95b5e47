"""Board files: what they give, and every mistake told at once with its place and what is allowed."""

from pathlib import Path
from typing import get_args

import pytest

from intercomd.adapters.gpio import Active as PinsActive
from intercomd.boards import board
from intercomd.boards.board import BARE_PI, BoardError, load_board, panel_board, rewired
from intercomd.config import Panel

BOARDS = sorted((Path(__file__).parents[2] / "hw" / "boards").glob("*.toml"))

GOOD = """
name = "doors-2"
title = "A door"
chip = "gpio-sim"
buttons_active = "high"
leds_active = "low"
[buttons]
call = 4
[leds]
ready = 5
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(text)
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(BoardError) as caught:
        load_board(path)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_shipped_boards_are_sound_and_named_as_their_file(path: Path) -> None:
    assert load_board(path).name == path.stem


def test_the_built_in_board_is_the_file() -> None:
    assert load_board(next(path for path in BOARDS if path.stem == "bare-pi")) == BARE_PI


def test_every_key(tmp_path: Path) -> None:
    loaded = load_board(written(tmp_path, GOOD))
    assert (loaded.chip, loaded.buttons_active, loaded.leds_active) == ("gpio-sim", "high", "low")
    assert (dict(loaded.buttons), dict(loaded.leds)) == ({"call": 4}, {"ready": 5})


def test_levels_are_those_of_the_pins() -> None:
    assert get_args(board.Active) == get_args(PinsActive)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = """
    title = ""
    colour = "red"
    leds_active = "sometimes"
    [buttons]
    call = 4
    bell = 5
    hangup = 40
    speaker = "six"
    [leds]
    ready = 4
    """
    path = written(tmp_path, text)
    found = mistakes(path)
    assert all(line.startswith(f"{path}: ") for line in found)
    assert sorted(line.removeprefix(f"{path}: ").split(":")[0] for line in found) == sorted(
        [
            "buttons.bell",
            "buttons.hangup",
            "buttons.speaker",
            "colour is not known; allowed",
            "leds_active",
            "line 4 is used for buttons.call and leds.ready",
            "name is missing; allowed",
            "title",
        ]
    )
    assert any("call, hangup, speaker" in line for line in found)


@pytest.mark.parametrize("line", [0, 1, 28, -1, "true", 4.5])
def test_lines_that_no_button_may_have(tmp_path: Path, line: object) -> None:
    assert "buttons.call" in mistakes(written(tmp_path, GOOD.replace("call = 4", f"call = {line}")))[0]


@pytest.mark.parametrize("text", ["[buttons", "\x00", "x" * 70_000, 'name = "a"\nname = "b"'])
def test_what_is_no_board_file(tmp_path: Path, text: str) -> None:
    assert str(tmp_path) in mistakes(written(tmp_path, text))[0]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    assert "No such file" in mistakes(tmp_path / "none.toml")[0]
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "not TOML" in mistakes(tmp_path / "binary")[0]
    assert "directory" in mistakes(tmp_path)[0]


def test_tables_that_are_no_tables(tmp_path: Path) -> None:
    assert "buttons" in mistakes(written(tmp_path, 'name = "a"\ntitle = "b"\nbuttons = 4'))[0]


def test_rewired() -> None:
    changed = rewired(BARE_PI, {"call": 23}, {"error": 24})
    assert changed.buttons == BARE_PI.buttons | {"call": 23}
    assert changed.leds == BARE_PI.leds | {"error": 24}
    with pytest.raises(BoardError, match=r"line 27 is used for buttons\.call and buttons\.hangup"):
        rewired(BARE_PI, {"call": 27}, {})


def test_an_output_shares_no_line_and_may_be_rewired() -> None:
    with_door = rewired(BARE_PI, {}, {}, {"door": 12})
    assert with_door.outputs == {"door": 12}
    with pytest.raises(BoardError, match=r"line 17 is used for buttons\.call and outputs\.door"):
        rewired(BARE_PI, {}, {}, {"door": 17})


def test_panel_board(tmp_path: Path) -> None:
    assert panel_board(Panel()) == BARE_PI
    path = str(written(tmp_path, GOOD))
    assert panel_board(Panel(board_file=path)).chip == "gpio-sim"
    changed = panel_board(Panel(board_file=path, chip_label="other", leds={"error": 6}))
    assert (changed.chip, dict(changed.leds)) == ("other", {"ready": 5, "error": 6})
    with pytest.raises(BoardError):
        panel_board(Panel(board_file=path, leds={"error": 5}))
