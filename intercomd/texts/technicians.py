"""The technicians' table of every code, made from `errors.py` and the texts.

`python -m intercomd.texts.technicians FILE` rewrites what stands between the two marks in FILE (systemd/README.md).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from intercomd.errors import ErrorCode, Priority, Remedy
from intercomd.texts import LANGUAGES, Language, table, text

BEGIN, END = "<!-- codes:begin -->", "<!-- codes:end -->"

_HEADS: dict[Language, tuple[str, str, str]] = {
    "en": ("### Every code", "code", "what happened; what to do"),
    "zh": ("### 全部代码", "代码", "发生了什么；如何处理"),
}
_PARTS: dict[Language, tuple[str, str, str]] = {
    "en": ("Faults", "Residents are told: {said}", "Milestones: no fault, nothing to do"),
    "zh": ("故障", "住户得到的提示：{said}", "运行记录：并非故障，无需处理"),
}
_LEVELS: dict[Priority, str] = {
    Priority.ERROR: "err",
    Priority.WARNING: "warning",
    Priority.NOTICE: "notice",
    Priority.INFO: "info",
}


def tables() -> str:
    """Both languages, each with its faults first."""
    return "\n".join("\n".join(_language(language)) for language in LANGUAGES)


def _language(language: Language) -> Iterator[str]:
    head, code, words = _HEADS[language]
    faults, _, milestones = _PARTS[language]
    yield from (head, "")
    for title, kinds in ((faults, _faults()), (milestones, _milestones())):
        yield from (f"#### {title}", "", f"| {code} | `-p` | {words} |", "|---|---|---|")
        yield from (_row(one, language) for one in kinds)
        yield ""


def _faults() -> list[ErrorCode]:
    return [code for code in ErrorCode if code.value.remedy is not Remedy.NONE or code.value.advice]


def _milestones() -> list[ErrorCode]:
    faults = _faults()
    return [code for code in ErrorCode if code not in faults]


def _row(code: ErrorCode, language: Language) -> str:
    parts = [f"**{text(f'code.{code.name}', language)}**"]
    parts += [table(language)[key] for key in (f"advice.{code.name}",) if key in table(language)]
    if code.value.kind is not None:
        said = text(f"error.{code.value.kind.value}", language)
        parts.append(f"*{_PARTS[language][1].format(said=said)}*")
    return f"| `{code.name}` | {_LEVELS[code.value.priority]} | {' '.join(parts).replace('|', '&#124;')} |"


def rewritten(document: str) -> str:
    """The document with a fresh table. Raises ValueError where its marks are missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} and {END} must stand in the file")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name)
        file.write_text(rewritten(file.read_text(encoding="utf-8")), encoding="utf-8")
