"""A line that is followed in both directions: a button that is held to talk, the hook that a handset lies on.

A closing counts at its first edge, as everywhere on the panel; the opening only when the line has been open for a
while, so that a bouncing contact does not cut a word and a handset that is put down does not answer the next call.
Levels that are read back settle what a lost edge would leave wrong.
"""

import asyncio
from collections.abc import Callable, Mapping

OPEN_S = 0.06


class SettledLine:
    """On the event loop. `changed(closed)` is called once for each change; open, nothing told, at the beginning."""

    def __init__(self, name: str, changed: Callable[[bool], None]) -> None:
        self._name = name
        self._changed = changed
        self._closed = False
        self._opening: asyncio.TimerHandle | None = None

    def begin(self, levels: Mapping[str, bool]) -> None:
        """The line as the station finds it at its start: nothing has happened yet."""
        self._closed = levels.get(self._name, False)

    def edge(self, line: str, closed: bool) -> None:
        """A raw edge of any line."""
        if line != self._name:
            return
        self.close()
        if closed:
            self._set(True)
        elif self._closed:
            self._opening = asyncio.get_running_loop().call_later(OPEN_S, self._set, False)

    def reread(self, levels: Mapping[str, bool]) -> None:
        """The lines as they are now."""
        closed = levels.get(self._name, False)
        if self._opening is None and closed != self._closed:
            self._set(closed)

    def close(self) -> None:
        """Forget an opening that is pending."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None

    def _set(self, closed: bool) -> None:
        self._opening = None
        if closed != self._closed:
            self._closed = closed
            self._changed(closed)
