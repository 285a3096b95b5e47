"""What people read, in their language. Keys are `group.name`:

- `phase.*`: the shown phases, `ringing` apart for the caller and the callee;
- `error.*`: the five `ErrorKind`s in residents' words, by the kind's value;
- `code.*` and `advice.*`: what happened and what to do, by the `ErrorCode`'s name (advice where it has one);
- `fault.*`: what a station with a faulty configuration writes, `spoken.*`: what it says (`speaking`);
- `door.*`: what came of opening somebody else's door, by the protocol's code;
- `button.*`, `led.*`, `page.*`: the panel's labels; `ctl.*`: what `intercomctl` writes.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


@cache
def table(language: Language) -> Mapping[str, str]:
    """All texts of a language. The module is imported at first use: most processes speak one language."""
    texts: Mapping[str, str] = import_module(f"intercomd.texts.{language}").TEXTS
    return texts


def text(key: str, language: Language) -> str:
    """The text. Raises KeyError for a key that is not in the table."""
    return table(language)[key]


def both(key: str) -> dict[str, str]:
    """The text in every language, as the status shows it: `{"en": ..., "zh": ...}`."""
    return {language: text(key, language) for language in LANGUAGES}


def language_of(locale: str) -> Language:
    """The language of a POSIX locale or a language tag (`zh_CN.UTF-8`, `zh-Hans`); English for all others."""
    return "zh" if locale.lower().startswith("zh") else "en"
