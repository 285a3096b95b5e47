"""The journal's message catalog, made from `errors.py` and the texts: `journalctl -x` prints it under each line.

`python -m intercomd.texts.catalog` writes it to standard output; `systemd/intercomd.catalog` is what is installed.
Format: https://systemd.io/CATALOG/. An entry with a language is taken for the locales that begin with it.
"""

import sys
from collections.abc import Iterator, Mapping

from intercomd.errors import ErrorCode
from intercomd.texts import LANGUAGES, Language, table, text

HEAD = """\
# intercomd's message catalog (journalctl -x). Made by `python -m intercomd.texts.catalog`: do not edit.
"""

_LABELS: Mapping[Language, tuple[str, str]] = {
    "en": ("Residents are told: {said}", "Code: {name}"),
    "zh": ("住户得到的提示：{said}", "代码：{name}"),
}


def catalog() -> str:
    """All entries: each code in English without a language, so that it serves every other locale, and in Chinese."""
    return HEAD + "".join(_entry(code, language) for code in ErrorCode for language in LANGUAGES)


def _entry(code: ErrorCode, language: Language) -> str:
    suffix = "" if language == "en" else f" {language}"
    head = f"-- {code.message_id.hex}{suffix}\nSubject: {_subject(code, language)}\nDefined-By: intercomd\n"
    return f"\n{head}\n" + "".join(f"{line}\n" for line in _body(code, language))


def _subject(code: ErrorCode, language: Language) -> str:
    return text(f"code.{code.name}", language).rstrip(".。")


def _body(code: ErrorCode, language: Language) -> Iterator[str]:
    said, name = _LABELS[language]
    advice = table(language).get(f"advice.{code.name}")
    if advice:
        yield advice
    if code.value.kind:
        yield said.format(said=text(f"error.{code.value.kind.value}", language))
    yield name.format(name=code.name)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # the image is built with LANG=C
    sys.stdout.write(catalog())
