"""What can be wrong with a configuration, as values: one `Mistake` each, all of them in one `ConfigError`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """`where` is `table.key` (or the table, or "" for the whole file); `allowed` says what would be right."""

    where: str
    wrong: str
    allowed: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.wrong}" if self.where else self.wrong
        return f"{text}; allowed: {self.allowed}" if self.allowed else text


class ConfigError(Exception):
    """The configuration cannot be used. `str()` has one line per mistake, each beginning with the file."""

    def __init__(self, file: str, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(f"{file}: {mistake}" for mistake in mistakes))
        self.file = file
        self.mistakes = mistakes
