"""Buttons and LEDs by gpiozero's pins, with a factory of our own (never `Device.pin_factory`, which is global).

Pins are used, not gpiozero's devices: `Button` and its `bounce_time` hold edges back, the core wants each raw one.
"""

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import RLock, Timer, current_thread
from types import MappingProxyType, ModuleType
from typing import Any, Literal

from gpiozero import exc

from intercomd.errors import ErrorCode
from intercomd.ports import PinsError

FactoryName = Literal["auto", "lgpio", "mock", "none"]
Active = Literal["low", "high"]
OnEdge = Callable[[str, bool, int], None]

HEADER_LABELS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
"""The chip behind the 40-pin header: Pi 5, Pi 4, and all before. Its number moves: it was 4 on a Pi 5 until kernel
6.6, and 0 since."""

DEV = Path("/dev")
_A_HEADER_OF_40_PINS = 0xA02082
"""As the revision code of a Pi 3 Model B has it."""
_STALE_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Backend:
    """An open pin factory, what it raises, and who holds a line that it cannot have (None: nobody else does)."""

    factory: Any
    refusals: tuple[type[Exception], ...]
    holder: Callable[[int], str | None]
    simulated: bool
    where: str


class GpioPins:
    """`ports.Pins` over the lines given by their numbers (BCM). Nothing is claimed before `start`."""

    def __init__(
        self,
        buttons: Mapping[str, int],
        leds: Mapping[str, int],
        factory: FactoryName = "auto",
        chip_label: str = "",
        buttons_active: Active = "low",
        leds_active: Active = "high",
        outputs: Mapping[str, int] = MappingProxyType({}),
        outputs_active: Active = "high",
    ) -> None:
        self._lines = {"output": dict(outputs), "LED": dict(leds), "button": dict(buttons)}
        self._factory_name = factory
        self._chip_label = chip_label
        self._level_pressed = buttons_active == "high"
        self._level_lit = leds_active == "high"
        self._level_on = outputs_active == "high"
        self._backend: _Backend | None = None
        self._opened = False
        self._refused: list[PinsError] = []
        self._buttons: dict[str, Any] = {}
        self._leds: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        self._timers: dict[str, Timer] = {}
        self._watchers: list[Callable[[float, bool], None]] = []  # gpiozero keeps weak references only
        self._on_edge: OnEdge | None = None
        self._lock = RLock()

    def __enter__(self) -> "GpioPins":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def outputs_off(self) -> None:
        """Claim the outputs and nothing else: one that a crash has left on goes off by it. `start` goes on from here,
        and tells what could not be had."""
        self._opened = True
        try:
            self._backend = _open_backend(self._factory_name, self._chip_label)
        except PinsError as error:
            self._refused = [error]
            return
        if self._backend is not None:
            self._refused = list(self._claim(self._backend, "output"))

    def start(self, on_edge: OnEdge) -> Sequence[PinsError]:
        """See `ports.Pins`. Without a chip or library that is the one error that is returned."""
        if not self._opened:
            self.outputs_off()
        refused, self._refused = self._refused, []
        if self._backend is None:
            return refused
        self._on_edge = on_edge
        return [*refused, *(error for kind in ("LED", "button") for error in self._claim(self._backend, kind))]

    def set_led(self, name: str, lit: bool) -> None:
        pin = self._leds.get(name)
        if pin is not None:
            pin.state = lit == self._level_lit

    def switch_on(self, output: str, for_s: float) -> None:
        with self._lock:
            pin = self._outputs.get(output)
            if pin is None:
                raise PinsError(
                    ErrorCode.GPIO_MISSING, f"there is no output {output} to be had: name its line in [panel] outputs"
                )
            self._cancel(output)
            # Before the line moves: nothing is switched on that nobody would switch off.
            timer = Timer(for_s, self._time_out, (output,))
            timer.daemon, timer.name = True, f"{output} off"
            timer.start()
            self._timers[output] = timer
            pin.state = self._level_on
            if bool(pin.state) != self._level_on:
                raise PinsError(ErrorCode.GPIO_BUSY, f"output {output} does not switch: something holds its line down")

    def _time_out(self, output: str) -> None:
        """In the timer's thread: a hung loop keeps no door open. A later order's time is its own."""
        with self._lock:
            if self._timers.get(output) is current_thread():
                self._outputs[output].state = not self._level_on

    def _cancel(self, output: str) -> None:
        timer = self._timers.pop(output, None)
        if timer is not None:
            timer.cancel()

    def levels(self) -> Mapping[str, bool]:
        """Lines that could be had; the others are missing here."""
        pressed = {name: bool(pin.state) == self._level_pressed for name, pin in self._buttons.items()}
        lit = {name: bool(pin.state) == self._level_lit for name, pin in self._leds.items()}
        return pressed | lit | {name: bool(pin.state) == self._level_on for name, pin in self._outputs.items()}

    def drive(self, button: str, pressed: bool) -> None:
        if self._backend is None or not self._backend.simulated:
            raise PinsError(
                ErrorCode.GPIO_MISSING,
                f'button {button} is no simulated one: only [panel] pin_factory = "mock" can be driven',
            )
        pin = self._buttons.get(button)
        if pin is None:
            raise PinsError(ErrorCode.GPIO_MISSING, f"there is no button {button} on this board")
        if pressed == self._level_pressed:
            pin.drive_high()
        else:
            pin.drive_low()

    def close(self) -> None:
        """No edge is told after this."""
        with self._lock:
            backend, self._backend, self._on_edge = self._backend, None, None
            self._opened = False
        if backend is None:
            return
        with self._lock:
            timers = list(self._timers.values())
            for name, output in self._outputs.items():
                self._cancel(name)
                output.state = not self._level_on
            self._outputs = {}
        for timer in timers:
            timer.join(1.0)
        for name in self._leds:
            self.set_led(name, False)
        for pin in self._buttons.values():
            pin.when_changed = None
        self._buttons, self._leds = {}, {}
        backend.factory.close()

    def _claim(self, backend: _Backend, kind: str) -> Iterator[PinsError]:
        claims = {"output": self._claim_output, "LED": self._claim_led, "button": self._claim_button}
        claim = claims[kind]
        for name, line in self._lines[kind].items():
            try:
                claim(backend, name, line)
            except backend.refusals as error:
                yield _refused(backend, f"{kind} {name}", line, error)

    def _claim_led(self, backend: _Backend, name: str, line: int) -> None:
        pin = backend.factory.pin(line)
        pin.output_with_state(not self._level_lit)
        self._leds[name] = pin

    def _claim_output(self, backend: _Backend, name: str, line: int) -> None:
        pin = backend.factory.pin(line)
        pin.output_with_state(not self._level_on)
        self._outputs[name] = pin

    def _claim_button(self, backend: _Backend, name: str, line: int) -> None:
        pin = backend.factory.pin(line)
        pin.input_with_pull("down" if self._level_pressed else "up")
        pin.edges = "both"
        watcher = partial(self._changed, name)
        self._watchers.append(watcher)
        pin.when_changed = watcher
        self._buttons[name] = pin

    def _changed(self, name: str, ticks_s: float, level: bool) -> None:
        """In lgpio's thread, or in that of whoever drives a simulated line."""
        with self._lock:
            if self._on_edge is not None:
                self._on_edge(name, bool(level) == self._level_pressed, _stamp_ns(ticks_s))


def _stamp_ns(ticks_s: float) -> int:
    """The edge's own time: lgpio hands on the kernel's stamp, CLOCK_MONOTONIC since Linux 5.7 (GPIO character device,
    `GPIO_V2_LINE_FLAG_EVENT_CLOCK_REALTIME` unset). A stamp of another clock is recognised by being far off."""
    now_ns = time.monotonic_ns()
    ticks_ns = int(ticks_s * 1e9)
    return ticks_ns if 0 <= now_ns - ticks_ns < _STALE_NS else now_ns


def _refused(backend: _Backend, what: str, line: int, error: Exception) -> PinsError:
    holder = backend.holder(line)
    if holder is None:
        return PinsError(
            ErrorCode.GPIO_MISSING,
            f"{what}: line {line} of {backend.where} cannot be had ({error}): choose another one in [panel]",
        )
    return PinsError(
        ErrorCode.GPIO_BUSY,
        f"{what}: line {line} of {backend.where} is held by {holder}: end it, or choose another line in [panel]",
    )


def _open_backend(name: FactoryName, chip_label: str) -> _Backend | None:
    """None where there shall be no pins. Raises `PinsError`."""
    chosen = os.environ.get("GPIOZERO_PIN_FACTORY", "lgpio").lower() if name == "auto" else name
    match chosen:
        case "none":
            return None
        case "mock":
            return _mock_backend()
        case "lgpio":
            return _lgpio_backend((chip_label,) if chip_label else HEADER_LABELS)
        case _:
            raise PinsError(
                ErrorCode.GPIO_MISSING,
                f"GPIOZERO_PIN_FACTORY={chosen} is not supported: use lgpio or mock, or set [panel] pin_factory",
            )


def _mock_backend() -> _Backend:
    from gpiozero.pins.mock import MockFactory, MockPin

    class Pin(MockPin):  # type: ignore[misc]
        """gpiozero's keeps every state that it ever had, for tests: ten for each call."""

        def clear_states(self) -> None:
            super().clear_states()
            self.states: deque[object] = deque(maxlen=1)

    factory = MockFactory(pin_class=Pin)
    return _Backend(factory, (exc.GPIOZeroError,), lambda _: None, simulated=True, where="the simulated chip")


def _lgpio_backend(labels: Sequence[str]) -> _Backend:
    lgpio = _lgpio()
    number, label = _chip(lgpio, labels)
    from gpiozero.pins.lgpio import LGPIOFactory

    class Factory(LGPIOFactory):  # type: ignore[misc]
        """gpiozero refuses every line of a board whose revision nobody tells: a Pi's own firmware does, U-Boot and
        UEFI do not. The chip was found by its label, so the revision decides nothing any more."""

        def _get_revision(self) -> int:
            try:
                return int(super()._get_revision())
            except exc.PinUnknownPi:
                return _A_HEADER_OF_40_PINS

    try:
        factory = Factory(chip=number)
        _ = factory.board_info  # read once, here, where its failure can be told
    except (exc.GPIOZeroError, lgpio.error) as error:
        raise PinsError(
            ErrorCode.GPIO_MISSING, f"/dev/gpiochip{number} ({label}) cannot be used by gpiozero: {error}"
        ) from error
    refusals = (exc.GPIOZeroError, lgpio.error, OSError)
    return _Backend(factory, refusals, partial(_holder, lgpio, number), simulated=False, where=label)


def _lgpio() -> ModuleType:
    """The module. Its import makes a FIFO in the working directory, which on a read-only root fails and elsewhere
    litters: it gets a directory of its own, which may vanish once both ends are open."""
    try:
        with _elsewhere():
            import lgpio
    except (ImportError, OSError) as error:
        raise PinsError(
            ErrorCode.GPIO_MISSING,
            f"the pin library lgpio cannot be loaded ({error}): install intercomd with its extra `device`, "
            'or set [panel] pin_factory = "none"',
        ) from error
    module: ModuleType = lgpio
    return module


@contextmanager
def _elsewhere() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="intercomd-gpio-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def _chip(lgpio: ModuleType, labels: Sequence[str]) -> tuple[int, str]:
    """Number and label of the first chip with one of these labels. Raises `PinsError`."""
    devices = sorted(DEV.glob("gpiochip*"))
    if not devices:
        raise PinsError(
            ErrorCode.GPIO_MISSING,
            'this machine has no GPIO chip (/dev/gpiochip*): set [panel] pin_factory = "none" or "mock"',
        )
    denied = [str(device) for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    found = {_label(lgpio, number): number for number in map(_number, devices)}
    for label in labels:
        if label in found:
            return found[label], label
    raise PinsError(ErrorCode.GPIO_MISSING, _no_chip(labels, sorted(filter(None, found)), denied))


def _no_chip(labels: Sequence[str], found: Sequence[str], denied: Sequence[str]) -> str:
    if denied:
        return f"{', '.join(denied)} may not be opened: put the daemon's user into the group gpio"
    return f"no GPIO chip is labelled {' or '.join(labels)}, there is {', '.join(found)}: set [panel] chip_label"


def _number(device: Path) -> int:
    return int(device.name.removeprefix("gpiochip"))


def _label(lgpio: ModuleType, number: int) -> str:
    """ "" for a chip that cannot be opened."""
    try:
        handle = lgpio.gpiochip_open(number)
    except lgpio.error:
        return ""
    try:
        return str(lgpio.gpio_get_chip_info(handle)[3])
    finally:
        lgpio.gpiochip_close(handle)


def _holder(lgpio: ModuleType, chip: int, line: int) -> str | None:
    """The kernel's name for the user of a line; None if it is free or unknown."""
    try:
        handle = lgpio.gpiochip_open(chip)
        try:
            _, _, flags, _, user = lgpio.gpio_get_line_info(handle, line)
        finally:
            lgpio.gpiochip_close(handle)
    except lgpio.error:
        return None
    return (str(user) or "an unnamed program") if flags & 1 else None
