"""A journal in memory."""

from collections.abc import Mapping

from intercomd.adapters.journal import line_of
from intercomd.errors import ErrorCode


class FakeJournal:
    """`ports.Journal` that keeps its lines, as the fields that journald would get."""

    def __init__(self, common: Mapping[str, str | int | float] | None = None) -> None:
        self.lines: list[dict[str, str]] = []
        self._common = dict(common or {})

    def report(self, code: ErrorCode, message: str = "", **fields: str | int | float) -> None:
        self.lines.append(line_of(code, message, {**self._common, **fields}))

    @property
    def codes(self) -> list[ErrorCode]:
        return [ErrorCode[line["ERROR_CODE"]] for line in self.lines]

    def flush(self, limit_s: float = 0.0) -> bool:  # noqa: ARG002  (nothing waits)
        return True

    def close(self) -> None:
        """Nothing to write."""
