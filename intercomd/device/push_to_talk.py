"""Push-to-talk: one button opens the microphone for as long as it is held.

A press counts at its first edge, as everywhere on the panel; the release only when the line has been open for a while,
so that a bouncing contact does not cut a word. Levels that are read back end what a lost edge would leave open.
"""

import asyncio
from collections.abc import Callable, Mapping

BUTTON = "speaker"
"""Every board has it, and who must hold a button to talk has no use for a loudspeaker toggle."""
RELEASED_S = 0.06


class PushToTalk:
    """On the event loop. `talk(pressed)` is called once for each change."""

    def __init__(self, talk: Callable[[bool], None]) -> None:
        self._talk = talk
        self._pressed = False
        self._releasing: asyncio.TimerHandle | None = None

    def edge(self, line: str, pressed: bool) -> None:
        """A raw edge of any line."""
        if line != BUTTON:
            return
        self.close()
        if pressed:
            self._set(True)
        elif self._pressed:
            self._releasing = asyncio.get_running_loop().call_later(RELEASED_S, self._set, False)

    def reread(self, levels: Mapping[str, bool]) -> None:
        """The lines as they are now."""
        if self._pressed and self._releasing is None and not levels.get(BUTTON, False):
            self._set(False)

    def close(self) -> None:
        """Forget a release that is pending."""
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None

    def _set(self, pressed: bool) -> None:
        self._releasing = None
        if pressed != self._pressed:
            self._pressed = pressed
            self._talk(pressed)
