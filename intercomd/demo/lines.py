"""What a panel knows of its station's pins, put together from two streams: edges, which are at once, and statuses,
which tell all levels but may be older than the last edge."""

from collections.abc import Iterator, Mapping


class Lines:
    """Levels by line name. A status corrects a line only when it disagrees twice in a row: the first time it may
    have been on its way while the edge overtook it."""

    def __init__(self) -> None:
        self._levels: dict[str, bool] = {}
        self._doubted: dict[str, bool] = {}

    def edge(self, line: str, value: bool) -> bool:
        """Take an edge; True if it is news."""
        self._doubted.pop(line, None)
        news = self._levels.get(line) is not value
        self._levels[line] = value
        return news

    def status(self, levels: Mapping[str, bool]) -> Iterator[tuple[str, bool]]:
        """Take the levels of a status; yields the lines that change by it."""
        for line, value in levels.items():
            known = self._levels.get(line)
            if known is value:
                self._doubted.pop(line, None)
            elif known is None or self._doubted.get(line) is value:
                self.edge(line, value)
                yield line, value
            else:
                self._doubted[line] = value

    def levels(self) -> Mapping[str, bool]:
        return dict(self._levels)

    def forget(self) -> None:
        """The daemon is gone: its pins drive nothing."""
        self._levels.clear()
        self._doubted.clear()
