"""What one part of `make bench-audio` hands over: rows for the table, and the series that its plots are drawn from."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.bench.report import Row


@dataclass(frozen=True, slots=True)
class Measured:
    """`series` is JSON: lists, mappings, numbers, strings; seconds, milliseconds, decibels as its keys say."""

    rows: list[Row]
    series: Mapping[str, object] = field(default_factory=dict)


Part = Callable[[], Awaitable[Measured]]
"""Prints its own progress; sets itself a limit; raises what it cannot measure, and the caller reports that."""
