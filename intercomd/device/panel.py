"""The panel's shell: raw edges become presses (`core/buttons.py`), lights become levels (`device/lights.py`)."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from intercomd.core.buttons import (
    ButtonAction,
    ButtonEvent,
    Buttons,
    Edge,
    Held,
    Pressed,
    Reread,
    Tick,
    due_s,
    handle,
    watching,
)
from intercomd.core.effects import Light
from intercomd.device.lights import Lights
from intercomd.ports import Pins, PinsError

REREAD_S = 0.25
"""How often levels are read back: the kernel keeps few edges per line, and the dead time swallows some."""

OFF_SLACK_S = 0.05
"""An output goes off in a thread of its own; it is looked at a little later."""


class Panel:
    """Buttons and LEDs on the event loop. `on_press(button)` and `on_hold(button)` are called for what counts,
    `on_edge(line, value, at_ns)` for each raw button edge and each LED change."""

    def __init__(
        self,
        pins: Pins,
        buttons: Sequence[str],
        on_press: Callable[[str], None],
        on_hold: Callable[[str], None],
        on_edge: Callable[[str, bool, int], None],
        *,
        dead_s: float,
        hold_s: float,
    ) -> None:
        self._pins = pins
        self._names = frozenset(buttons)
        self._on_press = on_press
        self._on_hold = on_hold
        self._on_edge = on_edge
        self._limits = (dead_s, hold_s)
        self._buttons = Buttons()
        self._lights = Lights(self._set_led)
        self._reread: asyncio.TimerHandle | None = None
        self._idle = True

    def start(self) -> Sequence[PinsError]:
        """Claim the lines; what cannot be had is returned."""
        loop = asyncio.get_running_loop()

        def edge(button: str, pressed: bool, at_ns: int) -> None:
            loop.call_soon_threadsafe(self._edge, button, pressed, at_ns)

        refused = self._pins.start(edge)
        self._buttons = watching(self._levels(), time.monotonic(), *self._limits)
        self._schedule(loop)
        return refused

    def show(self, lights: Mapping[str, Light], *, idle: bool) -> None:
        """The view's lights; `idle` decides whether a hold counts."""
        self._idle = idle
        self._lights.show(lights)

    @property
    def patterns(self) -> Mapping[str, Light]:
        return self._lights.patterns

    def levels(self) -> Mapping[str, bool]:
        """Every line, read back."""
        return self._pins.levels()

    def drive(self, button: str, pressed: bool) -> None:
        """Move a simulated button. Raises `PinsError` on real pins and for unknown names."""
        self._pins.drive(button, pressed)

    def switch_on(self, output: str, for_s: float) -> None:
        """Off again by itself. Raises `PinsError`."""
        self._pins.switch_on(output, for_s)
        self._on_edge(output, True, time.monotonic_ns())
        asyncio.get_running_loop().call_later(for_s + OFF_SLACK_S, self._look_at, output)

    def close(self) -> None:
        if self._reread is not None:
            self._reread.cancel()
        self._lights.close()
        self._pins.close()

    def _look_at(self, output: str) -> None:
        """Its time is over, unless it was switched on once more."""
        if self._pins.levels().get(output) is False:
            self._on_edge(output, False, time.monotonic_ns())

    def _levels(self) -> dict[str, bool]:
        return {name: level for name, level in self._pins.levels().items() if name in self._names}

    def _set_led(self, name: str, lit: bool) -> None:
        self._pins.set_led(name, lit)
        self._on_edge(name, lit, time.monotonic_ns())

    def _edge(self, button: str, pressed: bool, at_ns: int) -> None:
        self._on_edge(button, pressed, at_ns)
        self._step(Edge(button, pressed, at_ns / 1e9))

    def _read_again(self) -> None:
        self._step(Reread(self._levels(), time.monotonic()))
        self._step(Tick(time.monotonic(), self._idle))

    def _step(self, event: ButtonEvent) -> None:
        self._buttons, actions = handle(self._buttons, event)
        self._schedule(asyncio.get_running_loop())
        for action in actions:
            self._act(action)

    def _act(self, action: ButtonAction) -> None:
        match action:
            case Pressed(button):
                self._on_press(button)
            case Held(button):
                self._on_hold(button)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._reread is not None:
            self._reread.cancel()
        due = due_s(self._buttons)
        wait_s = REREAD_S if due is None else min(REREAD_S, max(0.0, due - time.monotonic()))
        self._reread = loop.call_later(wait_s, self._read_again)
