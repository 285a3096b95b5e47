"""The suite's two lists of exceptions, each entry with its reason: `warnings.txt` (third-party warnings, by exact
message) and `known_missing.txt` (capabilities that the CI machine is known not to have)."""

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class AllowedWarning:
    category: type[Warning]
    message: str
    reason: str

    @property
    def pattern(self) -> str:
        """`warnings` matches a regular expression from the start: this one matches the exact message only."""
        return re.escape(self.message) + r"\Z"


@cache
def allowed_warnings(file: Path = HERE / "warnings.txt") -> tuple[AllowedWarning, ...]:
    """Raises ValueError for a line that is not `Category: message` under a `#` line with its reason."""
    return tuple(AllowedWarning(_category(name), message, reason) for name, message, reason in _entries(file))


@cache
def known_missing(file: Path = HERE / "known_missing.txt") -> dict[str, str]:
    """Capability and why the CI machine lacks it."""
    return {name: f"{reason} {rest}".strip() for name, rest, reason in _entries(file)}


def _entries(file: Path) -> Iterator[tuple[str, str, str]]:
    reason: list[str] = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            reason = []
        elif line.startswith("#"):
            reason.append(line.lstrip("# "))
        else:
            name, _, rest = line.partition(": ")
            if not reason:
                raise ValueError(f"{file.name}:{number}: no reason: put a line beginning with # above it")
            yield name.strip(), rest.strip(), " ".join(reason)


def _category(name: str) -> type[Warning]:
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(module) if module else builtins, attribute)
    if not (isinstance(found, type) and issubclass(found, Warning)):
        raise TypeError(f"warnings.txt: {name} is not a warning's class")
    return found
