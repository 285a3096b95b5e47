"""The page's modules put together into one text, when the hub starts. There is no build step.

What lies under `page/` is what an editor opens and what each test may load by itself. Browsers get it as one module,
because each request costs a round trip on a phone. Modules that can be joined so simply keep to a few rules; breaking
one is an error at start-up: imports stand at the beginning, one to a line, by name and from the same folder; `export`
stands before a declaration; names at the top level are unique among all modules; no text between backticks goes over
the end of a line; a comment has its lines for itself.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

_IMPORT: Final = re.compile(r'import \{ ((?:\w+, )*\w+) \} from "\./([\w./-]+)";$')
_EXPORT: Final = re.compile(r"^export (?=(?:async )?function|class|const|let)")
_DECLARED: Final = re.compile(r"(?:async function|function|class|const|let) (\w+)")


class PageError(Exception):
    """The page's files break a rule; the text says which, and where."""


def bundle(folder: Path, entry: str, located: Callable[[str], str]) -> str:
    """One module with everything that `entry` imports. What lies in a folder below stays a file of its own: `located`
    gives its URL. Raises `PageError`."""
    modules: dict[str, str] = {}
    outside: list[str] = []

    def add(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise PageError(f"page/{name} imports itself: {' > '.join((*importers, name))}")
        if name in modules:
            return
        imports, body = split(read(folder / name), name)
        for names, source in imports:
            if "/" in source:
                outside.append(f'import {{ {names} }} from "{located(source)}";')
            else:
                add(source, (*importers, name))
        modules[name] = body

    add(entry, ())
    _check_names(modules)
    return "\n".join([*outside, *(lean(body) for body in modules.values())]) + "\n"


def read(path: Path) -> str:
    """Raises `PageError`."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise PageError(f"{path}: {error}; install intercomd again") from error


def split(text: str, name: str) -> tuple[list[tuple[str, str]], str]:
    """A module's imports, as (names, source), and the rest without the word `export`. Raises `PageError`."""
    imports: list[tuple[str, str]] = []
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = _IMPORT.match(line)
        if found:
            imports.append((found[1], found[2]))
            continue
        bare = _EXPORT.sub("", line)
        if line.startswith(("import ", "export ")) and bare == line:
            raise PageError(f"page/{name}:{number}: an import or export in another form than hub/web/bundle.py takes")
        if line.count("`") % 2:
            raise PageError(f"page/{name}:{number}: a text between backticks that goes over the end of its line")
        body.append(bare)
    return imports, "\n".join(body)


def lean(text: str) -> str:
    """JavaScript or CSS without indentation, empty lines, and comments that have their lines for themselves."""
    kept: list[str] = []
    in_comment = False
    for line in map(str.strip, text.splitlines()):
        if in_comment or line.startswith("/*"):
            in_comment = not line.endswith("*/")
        elif line and not line.startswith("//"):
            kept.append(line)
    return "\n".join(kept)


def _check_names(modules: dict[str, str]) -> None:
    homes: dict[str, str] = {}
    for name, body in modules.items():
        for line in body.splitlines():
            found = _DECLARED.match(line)
            if found and homes.setdefault(found[1], name) != name:
                raise PageError(f"page/{name} and page/{homes[found[1]]} both declare {found[1]}")
