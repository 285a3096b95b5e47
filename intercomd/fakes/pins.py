"""A panel in memory."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from intercomd.errors import ErrorCode
from intercomd.ports import PinsError

OnEdge = Callable[[str, bool, int], None]


class FakePins:
    """`ports.Pins`. `refused` are lines that cannot be had, by their names; `lit` is every change of an LED."""

    def __init__(
        self,
        buttons: Iterable[str] = ("call", "hangup", "speaker"),
        leds: Iterable[str] = ("ready", "ringing", "talking", "error", "microphone"),
        refused: Mapping[str, PinsError] | None = None,
    ) -> None:
        self.refused = dict(refused or {})
        self.lit: list[tuple[str, bool]] = []
        self._names = (tuple(buttons), tuple(leds))
        self._buttons: dict[str, bool] = {}
        self._leds: dict[str, bool] = {}
        self._on_edge: OnEdge | None = None

    def start(self, on_edge: OnEdge) -> Sequence[PinsError]:
        buttons, leds = self._names
        self._buttons = dict.fromkeys((name for name in buttons if name not in self.refused), False)
        self._leds = dict.fromkeys((name for name in leds if name not in self.refused), False)
        self._on_edge = on_edge
        return [error for name, error in self.refused.items() if name in (*buttons, *leds)]

    def set_led(self, name: str, lit: bool) -> None:
        if name in self._leds and self._leds[name] != lit:
            self._leds[name] = lit
            self.lit.append((name, lit))

    def levels(self) -> Mapping[str, bool]:
        return self._buttons | self._leds

    def drive(self, button: str, pressed: bool) -> None:
        if button not in self._buttons:
            raise PinsError(ErrorCode.GPIO_MISSING, f"there is no button {button} on this board")
        if self._buttons[button] == pressed:
            return
        self._buttons[button] = pressed
        if self._on_edge is not None:
            self._on_edge(button, pressed, time.monotonic_ns())

    def close(self) -> None:
        for name in tuple(self._leds):
            self.set_led(name, False)
        self._buttons, self._leds, self._on_edge = {}, {}, None
