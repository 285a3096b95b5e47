"""One suite for `FakePins` and for `GpioPins` over gpiozero's MockFactory; then what only real pins can do wrong."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, PinState

from intercomd.adapters import gpio
from intercomd.adapters.gpio import GpioPins
from intercomd.errors import ErrorCode
from intercomd.fakes.pins import FakePins
from intercomd.ports import Pins, PinsError

BUTTONS = {"call": 17, "hangup": 27, "speaker": 22}
LEDS = {"ready": 5, "ringing": 6, "talking": 13, "error": 19, "microphone": 26}
OUTPUTS = {"door": 12}
ALL = {*BUTTONS, *LEDS, *OUTPUTS}


def within(limit_s: float, check: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + limit_s
    while not check():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True


class Edges(list[tuple[str, bool, int]]):
    def __call__(self, button: str, pressed: bool, at_ns: int) -> None:
        self.append((button, pressed, at_ns))

    @property
    def seen(self) -> list[tuple[str, bool]]:
        return [(button, pressed) for button, pressed, _ in self]


MAKERS: dict[str, Callable[[], Pins]] = {
    "fake": lambda: FakePins(BUTTONS, LEDS),
    "mock": lambda: GpioPins(BUTTONS, LEDS, factory="mock", outputs=OUTPUTS),
    "mock-inverted": lambda: GpioPins(
        BUTTONS, LEDS, "mock", buttons_active="high", leds_active="low", outputs=OUTPUTS, outputs_active="low"
    ),
}


@pytest.fixture(params=MAKERS)
def pins(request: pytest.FixtureRequest) -> Iterator[Pins]:
    made = MAKERS[request.param]()
    yield made
    made.close()


def test_all_lines_are_claimed_and_at_rest(pins: Pins) -> None:
    assert pins.start(Edges()) == []
    assert pins.levels() == dict.fromkeys(ALL, False)


def test_every_raw_edge_is_told_with_its_time(pins: Pins) -> None:
    edges = Edges()
    pins.start(edges)
    before_ns = time.monotonic_ns()
    for pressed in (True, False, True, True, False):
        pins.drive("hangup", pressed)
    after_ns = time.monotonic_ns()
    assert edges.seen == [("hangup", True), ("hangup", False), ("hangup", True), ("hangup", False)]
    times = [at_ns for _, _, at_ns in edges]
    # A float of seconds carries the stamp through gpiozero: it may round by some hundred nanoseconds.
    assert times == sorted(times)
    assert before_ns - 1000 <= times[0] <= times[-1] <= after_ns


def test_levels_follow_buttons_and_leds(pins: Pins) -> None:
    pins.start(Edges())
    pins.drive("call", True)
    pins.set_led("ringing", True)
    pins.set_led("ringing", True)
    assert {name for name, active in pins.levels().items() if active} == {"call", "ringing"}
    pins.drive("call", False)
    pins.set_led("ringing", False)
    assert not any(pins.levels().values())


def test_unknown_led_is_ignored_and_unknown_button_refused(pins: Pins) -> None:
    pins.start(Edges())
    pins.set_led("disco", True)
    with pytest.raises(PinsError, match="window") as caught:
        pins.drive("window", True)
    assert caught.value.code is ErrorCode.GPIO_MISSING
    assert set(pins.levels()) == ALL


def test_close_is_idempotent_and_nothing_is_told_after_it(pins: Pins) -> None:
    edges = Edges()
    pins.start(edges)
    pins.set_led("talking", True)
    pins.close()
    pins.close()
    pins.set_led("talking", True)
    assert pins.levels() == {}
    with pytest.raises(PinsError):
        pins.drive("call", True)
    assert edges == []


def test_an_output_is_on_until_its_time_is_over(pins: Pins) -> None:
    pins.start(Edges())
    for_s = 30.0 if isinstance(pins, FakePins) else 0.2
    pins.switch_on("door", for_s)
    assert pins.levels()["door"]
    if isinstance(pins, FakePins):
        pins.time_out()
    assert within(2.0, lambda: not pins.levels()["door"])


def test_an_output_that_is_on_goes_off_with_the_pins(pins: Pins) -> None:
    pins.start(Edges())
    pins.switch_on("door", 30.0)
    pins.close()
    with pytest.raises(PinsError, match="door"):
        pins.switch_on("door", 1.0)


def test_an_output_that_is_not_there_is_refused(pins: Pins) -> None:
    pins.start(Edges())
    with pytest.raises(PinsError, match="gate"):
        pins.switch_on("gate", 1.0)


def test_close_before_start(pins: Pins) -> None:
    pins.close()
    assert pins.levels() == {}


def test_edges_from_another_thread(pins: Pins) -> None:
    edges = Edges()
    pins.start(edges)
    threads = [threading.Thread(target=lambda: [pins.drive("call", bool(i % 2)) for i in range(1, 51)]) for _ in "1"]
    for thread in threads:
        thread.start()
    for _ in range(50):
        pins.levels()
        pins.set_led("error", True)
        pins.set_led("error", False)
    for thread in threads:
        thread.join(5.0)
    assert len(edges) == 50


REFUSAL = PinsError(ErrorCode.GPIO_BUSY, "held")


class Held(Exception):
    """As `lgpio.error`."""


class StubbornFactory(MockFactory):
    """A chip on which some lines are taken: claiming them raises, as lgpio does."""

    def pin(self, name: int, *args: Any, **kwargs: Any) -> Any:
        if name in (LEDS["error"], BUTTONS["speaker"]):
            raise Held("GPIO busy")
        return super().pin(name, *args, **kwargs)


def stubborn(monkeypatch: pytest.MonkeyPatch, holder: str | None) -> tuple[GpioPins, StubbornFactory]:
    factory = StubbornFactory()
    backend = gpio._Backend(factory, (Held,), lambda _: holder, simulated=True, where="pinctrl-bcm2711")
    monkeypatch.setattr(gpio, "_open_backend", lambda *_: backend)
    return GpioPins(BUTTONS, LEDS, outputs=OUTPUTS), factory


@pytest.mark.parametrize("kind", ["fake", "mock"])
def test_lines_that_cannot_be_had_leave_the_others_working(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pins: Pins = (
        FakePins(refused={"error": REFUSAL, "speaker": REFUSAL})
        if kind == "fake"
        else stubborn(monkeypatch, "another-daemon")[0]
    )
    edges = Edges()
    errors = pins.start(edges)
    assert [error.code for error in errors] == [ErrorCode.GPIO_BUSY] * 2
    assert set(pins.levels()) == ALL - {"error", "speaker"}
    pins.set_led("error", True)
    pins.set_led("ready", True)
    pins.drive("call", True)
    assert pins.levels()["ready"]
    assert edges.seen == [("call", True)]
    with pytest.raises(PinsError):
        pins.drive("speaker", True)
    pins.close()


def test_a_busy_line_is_named_with_its_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    pins, _ = stubborn(monkeypatch, '"lcd-backlight"')
    texts = [str(error) for error in pins.start(Edges())]
    assert any(all(part in text for part in ("LED error", "19", "lcd-backlight", "pinctrl-bcm2711")) for text in texts)
    assert any("button speaker" in text and "22" in text for text in texts)
    pins.close()


def test_a_line_without_holder_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    pins, _ = stubborn(monkeypatch, None)
    errors = pins.start(Edges())
    assert {error.code for error in errors} == {ErrorCode.GPIO_MISSING}
    assert "GPIO busy" in str(errors[0])
    pins.close()


def test_a_simulated_line_does_not_keep_what_it_was() -> None:
    """gpiozero's own mock pins do, all of it, for as long as the process lives."""
    with GpioPins(BUTTONS, LEDS, factory="mock") as pins:
        pins.start(Edges())
        for turn in range(100):
            pins.drive("call", turn % 2 == 0)
            pins.set_led("ready", turn % 2 == 0)
        assert sum(isinstance(thing, PinState) for thing in gc.get_objects()) < 20


def test_a_line_that_is_not_on_the_header() -> None:
    with GpioPins({"call": 17, "hangup": 50}, {}, factory="mock") as pins:
        (error,) = pins.start(Edges())
        assert error.code is ErrorCode.GPIO_MISSING
        assert "hangup" in str(error)
        assert set(pins.levels()) == {"call"}


def test_close_puts_leds_out_and_releases_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pins, factory = stubborn(monkeypatch, "x")
    pins.start(Edges())
    led = factory.pin(LEDS["ready"])
    pins.set_led("ready", True)
    led.clear_states()
    pins.close()
    assert [state for _, state in led.states] == [True, False]
    assert led.function == "input"
    assert factory.pins == {}


def test_what_a_crash_left_on_goes_off_by_being_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    pins, factory = stubborn(monkeypatch, "x")
    relay = factory.pin(OUTPUTS["door"])
    relay.output_with_state(True)
    pins.start(Edges())
    assert not relay.state
    pins.close()


def test_outputs_go_off_before_the_rest_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    pins, factory = stubborn(monkeypatch, "x")
    relay = factory.pin(OUTPUTS["door"])
    relay.output_with_state(True)
    pins.outputs_off()
    assert not relay.state
    assert set(pins.levels()) == set(OUTPUTS)
    assert len(pins.start(Edges())) == 2, "the lines that are taken are told once"
    pins.switch_on("door", 30.0)
    assert relay.state
    pins.close()


def test_a_second_order_begins_anew_and_the_line_is_low_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pins, factory = stubborn(monkeypatch, "x")
    pins.start(Edges())
    relay = factory.pin(OUTPUTS["door"])
    pins.switch_on("door", 0.05)
    pins.switch_on("door", 30.0)
    assert not within(0.2, lambda: not relay.state), "the first order's time ended the second one"
    pins.close()
    assert not relay.state


def test_a_line_that_does_not_switch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pins, factory = stubborn(monkeypatch, "x")
    pins.start(Edges())
    monkeypatch.setattr(type(factory.pin(OUTPUTS["door"])), "_set_state", lambda *_: None)
    with pytest.raises(PinsError, match="does not switch"):
        pins.switch_on("door", 0.05)
    pins.close()


def test_the_global_factory_is_left_alone() -> None:
    with GpioPins(BUTTONS, LEDS, factory="mock") as pins:
        pins.start(Edges())
        assert Device.pin_factory is None


def test_auto_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    with GpioPins(BUTTONS, LEDS) as pins:
        assert pins.start(Edges()) == []
        pins.drive("call", True)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "pigpio")
    with GpioPins(BUTTONS, LEDS) as pins:
        (error,) = pins.start(Edges())
    assert "pigpio" in str(error)


def test_no_pins_at_all() -> None:
    with GpioPins(BUTTONS, LEDS, factory="none") as pins:
        assert pins.start(Edges()) == []
        assert pins.levels() == {}
        pins.set_led("ready", True)
        with pytest.raises(PinsError, match="simulated"):
            pins.drive("call", True)


def test_an_edge_stamped_by_another_clock_gets_the_time_of_its_arrival() -> None:
    before_ns = time.monotonic_ns()
    assert before_ns <= gpio._stamp_ns(time.time()) <= time.monotonic_ns()


WITHOUT_CHIP = """
import json, os, sys
from pathlib import Path
from intercomd.adapters import gpio

gpio.DEV = Path(sys.argv[1])
with gpio.GpioPins({"call": 17}, {}, factory="lgpio") as pins:
    errors = pins.start(print)
print(json.dumps([[error.code.name, str(error)] for error in errors]), os.getcwd())
"""


def test_without_a_chip_the_error_says_what_to_do(tmp_path: Path) -> None:
    """In a process of its own, since lgpio's thread ends with the process. Its FIFO is not left behind."""
    dev, cwd = tmp_path / "dev", tmp_path / "cwd"
    dev.mkdir()
    cwd.mkdir()
    command = [sys.executable, "-c", WITHOUT_CHIP, str(dev)]
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=cwd, env=path, capture_output=True, text=True, timeout=60, check=True)
    printed, _, where = done.stdout.strip().rpartition(" ")
    ((code, text),) = json.loads(printed)
    assert code == ErrorCode.GPIO_MISSING.name
    assert "pin_factory" in text
    assert where == str(cwd)
    assert list(cwd.iterdir()) == []


def test_without_the_library_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a Python for which there is no wheel: None in sys.modules makes the import fail."""
    monkeypatch.setitem(sys.modules, "lgpio", None)
    with GpioPins(BUTTONS, LEDS, factory="lgpio") as pins:
        (error,) = pins.start(Edges())
    assert error.code is ErrorCode.GPIO_MISSING
    assert "extra `device`" in str(error)
