"""LEDs: a light's pattern becomes levels in time. Only patterns that blink cost a timer."""

import asyncio
from collections.abc import Callable, Mapping

from intercomd.core.effects import Light

TICK_S = 0.125

_FLASHES = {Light.FLASH_1: 1, Light.FLASH_2: 2, Light.FLASH_3: 3, Light.FLASH_4: 4, Light.FLASH_5: 5}


def lit(light: Light, ticks: int) -> bool:
    """Whether the LED is lit `ticks` (of 125 ms) after the pattern began. Every pattern but OFF begins lit."""
    match light:
        case Light.OFF:
            return False
        case Light.ON:
            return True
        case Light.SLOW:
            return ticks % 8 < 4
        case Light.FAST:
            return ticks % 2 == 0
        case _:
            flashes = _FLASHES[light]
            position = ticks % (2 * flashes + 8)
            return position < 2 * flashes and position % 2 == 0


class Lights:
    """Drives LEDs by `set_led(name, lit)` on the event loop. `close()` stops the timer; the pins put out the LEDs."""

    def __init__(self, set_led: Callable[[str, bool], None]) -> None:
        self._set_led = set_led
        self._patterns: dict[str, tuple[Light, int]] = {}
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def patterns(self) -> Mapping[str, Light]:
        return {name: light for name, (light, _) in self._patterns.items()}

    def show(self, lights: Mapping[str, Light]) -> None:
        """Change what has changed, at once; a pattern that goes on keeps its rhythm."""
        for name, light in lights.items():
            if self._patterns.get(name, (None, 0))[0] is not light:
                self._patterns[name] = (light, self._ticks)
                self._set_led(name, lit(light, 0))
        blinking = any(light not in (Light.OFF, Light.ON) for light, _ in self._patterns.values())
        if blinking and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        elif not blinking:
            self.close()

    def _tick(self) -> None:
        self._ticks += 1
        for name, (light, since) in self._patterns.items():
            self._set_led(name, lit(light, self._ticks - since))
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
