"""A panel in memory."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from intercomd.errors import ErrorCode
from intercomd.ports import PinsError

OnEdge = Callable[[str, bool, int], None]


class FakePins:
    """`ports.Pins`. `refused` are lines that cannot be had, by their names; `lit` is every change of an LED,
    `switched` every order to an output with its seconds; an output is on until `time_out`."""

    def __init__(
        self,
        buttons: Iterable[str] = ("call", "hangup", "speaker"),
        leds: Iterable[str] = ("ready", "ringing", "talking", "error", "microphone"),
        refused: Mapping[str, PinsError] | None = None,
        outputs: Iterable[str] = ("door",),
    ) -> None:
        self.refused = dict(refused or {})
        self.lit: list[tuple[str, bool]] = []
        self.switched: list[tuple[str, float]] = []
        self._names = (tuple(buttons), tuple(leds), tuple(outputs))
        self._buttons: dict[str, bool] = {}
        self._leds: dict[str, bool] = {}
        self._outputs: dict[str, bool] = {}
        self._on_edge: OnEdge | None = None

    def start(self, on_edge: OnEdge) -> Sequence[PinsError]:
        buttons, leds, outputs = self._names
        self._buttons = dict.fromkeys((name for name in buttons if name not in self.refused), False)
        self._leds = dict.fromkeys((name for name in leds if name not in self.refused), False)
        self._outputs = dict.fromkeys((name for name in outputs if name not in self.refused), False)
        self._on_edge = on_edge
        return [error for name, error in self.refused.items() if name in (*buttons, *leds, *outputs)]

    def set_led(self, name: str, lit: bool) -> None:
        if name in self._leds and self._leds[name] != lit:
            self._leds[name] = lit
            self.lit.append((name, lit))

    def switch_on(self, output: str, for_s: float) -> None:
        if output not in self._outputs:
            raise PinsError(ErrorCode.GPIO_MISSING, f"there is no output {output} on this board")
        self._outputs[output] = True
        self.switched.append((output, for_s))

    def time_out(self) -> None:
        """The time of every output is over."""
        self._outputs = dict.fromkeys(self._outputs, False)

    def levels(self) -> Mapping[str, bool]:
        return self._buttons | self._leds | self._outputs

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
        self._buttons, self._leds, self._outputs, self._on_edge = {}, {}, {}, None
