"""Every text in every language: none missing, none left over, none with other blanks to fill in."""

import string
import subprocess
import sys
from pathlib import Path

import pytest

from intercomd.config import Config
from intercomd.core.panel import LEDS
from intercomd.core.station import Shown
from intercomd.errors import ErrorCode, ErrorKind
from intercomd.ports import Verdict
from intercomd.texts import LANGUAGES, Language, both, language_of, table, text

PACKAGE = Path(__file__).parent.parent.parent / "intercomd"
BUTTONS = ("call", "hangup", "speaker")
DERIVED = {
    *(f"phase.{shown}" for shown in Shown if shown is not Shown.RINGING),
    "phase.ringing_caller",
    "phase.ringing_callee",
    *(f"error.{kind}" for kind in ErrorKind),
    *(f"code.{code.name}" for code in ErrorCode),
    *(f"advice.{code.name}" for code in ErrorCode if code.value.advice),
    *(f"led.{led}" for led in LEDS),
    *(f"button.{button}" for button in BUTTONS),
    *(f"spoken.{said}" for said in ("configuration", "file", *Config.__struct_fields__)),
}
"""Keys that the code makes from an enum's members."""

WORDS = {
    "ctl.link.": ("registered", "up", "down", "connecting", "refused"),
    "ctl.card.": ("ready", "missing", "busy", "denied"),
    "ctl.route.": ("speaker", "handset"),
    "ctl.store.": ("ok", "volatile", "failing"),
    "ctl.volume.": ("voice", "ring", "prompts"),
    "ctl.servers.": ("unknown", *Verdict),
}
"""Words of the status, by the key that `intercomctl` makes of them."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing(language: Language) -> None:
    wanted = DERIVED | {prefix + word for prefix, words in WORDS.items() for word in words}
    assert not wanted - table(language).keys()


def test_languages_have_the_same_keys() -> None:
    assert table("en").keys() == table("zh").keys()


def test_no_text_is_left_over() -> None:
    """What no enum stands for must be named in the source, whole or by its last part."""
    source = "\n".join(
        file.read_text()
        for file in PACKAGE.rglob("*")
        if file.suffix in {".py", ".js", ".html"} and "texts" not in file.parts
    )
    others = table("en").keys() - DERIVED - {prefix + word for prefix, words in WORDS.items() for word in words}
    source = source.replace("'", '"')
    assert not [key for key in others if f'"{key}"' not in source and f'"{key.partition(".")[2]}"' not in source]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_untidy(language: Language) -> None:
    for key, words in table(language).items():
        assert words, key
        assert words == words.strip(), key
        assert "\n" not in words, key


def _blanks(words: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}


def test_languages_have_the_same_blanks() -> None:
    for key in table("en"):
        if key.startswith("ctl."):
            assert _blanks(text(key, "en")) == _blanks(text(key, "zh")), key


def test_chinese_is_chinese() -> None:
    def chinese(words: str) -> bool:
        return any("\u4e00" <= character <= "\u9fff" for character in words)

    assert all(chinese(words) for words in table("zh").values())
    assert not any(chinese(words) for words in table("en").values())


def test_english_errors_are_those_of_the_catalogue() -> None:
    assert text("code.CARD_BUSY", "en") == ErrorCode.CARD_BUSY.value.text
    assert text("advice.CARD_BUSY", "en") == ErrorCode.CARD_BUSY.value.advice


def test_both() -> None:
    assert both("phase.connected") == {"en": "In a call", "zh": "通话中"}


def test_unknown_key() -> None:
    with pytest.raises(KeyError):
        text("phase.flying", "en")


@pytest.mark.parametrize(
    ("locale", "language"),
    [("zh_CN.UTF-8", "zh"), ("zh-Hans", "zh"), ("ZH", "zh"), ("en_GB.UTF-8", "en"), ("C", "en"), ("", "en")],
)
def test_language_of_a_locale(locale: str, language: Language) -> None:
    assert language_of(locale) == language


def test_one_language_is_loaded_at_a_time() -> None:
    script = "import sys; from intercomd.texts import text; text('phase.idle', 'zh')\n"
    script += "print('intercomd.texts.en' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True, timeout=60).strip() == "False"
