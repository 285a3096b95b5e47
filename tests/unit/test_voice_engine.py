"""What `[audio] processing` comes to: by the board, by what is installed, and as it is told."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from intercomd.boards.board import BARE_PI, load_board
from intercomd.config import Audio
from intercomd.device.run import voice_engine

BOARDS = Path(__file__).parents[2] / "hw" / "boards"
HANDSET = load_board(BOARDS / "handset.toml")


@dataclass
class Package:
    found: bool
    asked: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> object | None:
        self.asked.append(name)
        return self if self.found else None


def test_a_speakerphone_has_its_echo_cancelled_unless_it_is_told_otherwise() -> None:
    assert voice_engine(Audio(), BARE_PI, canceller=True) == "livekit"
    assert voice_engine(Audio(), load_board(BOARDS / "usb-speakerphone.toml"), canceller=True) == "livekit"


def test_without_a_canceller_a_speakerphone_is_half_duplex() -> None:
    assert voice_engine(Audio(), BARE_PI, canceller=False) == "half-duplex"


@pytest.mark.parametrize("canceller", [True, False])
def test_a_handset_and_push_to_talk_have_no_echo(canceller: bool) -> None:
    assert voice_engine(Audio(push_to_talk=True), BARE_PI, canceller=canceller) == "none"
    assert voice_engine(Audio(), HANDSET, canceller=canceller) == "none"


@pytest.mark.parametrize("engine", ["livekit", "half-duplex", "none"])
@pytest.mark.parametrize("board", [BARE_PI, HANDSET], ids=["speakerphone", "handset"])
def test_what_is_told_is_done(engine: str, board: object) -> None:
    """Also livekit where there is none: then the journal names what to install, and calls are half duplex."""
    audio = Audio(processing=engine)  # type: ignore[arg-type]
    assert voice_engine(audio, board, canceller=False) == engine  # type: ignore[arg-type]


@pytest.mark.parametrize("found", [True, False])
def test_whether_livekit_is_installed_is_found_without_loading_it(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    from intercomd.adapters import livekit_apm

    package = Package(found)
    monkeypatch.setattr(livekit_apm, "find_spec", package)
    assert livekit_apm.installed() is found
    assert package.asked == ["livekit.rtc"]
