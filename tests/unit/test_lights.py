"""LED patterns."""

import asyncio

import pytest

from intercomd.core.effects import Light
from intercomd.device.lights import Lights, lit

FLASHES = {Light.FLASH_1: 1, Light.FLASH_2: 2, Light.FLASH_3: 3, Light.FLASH_4: 4, Light.FLASH_5: 5}


@pytest.mark.parametrize("light", [light for light in Light if light is not Light.OFF])
def test_every_pattern_begins_lit(light: Light) -> None:
    assert lit(light, 0), "the first edge is the event's"


@pytest.mark.parametrize(("light", "count"), FLASHES.items())
def test_the_error_led_counts_out_the_kind(light: Light, count: int) -> None:
    cycle = [lit(light, tick) for tick in range(2 * count + 8)]
    rises = sum(1 for before, now in zip([False, *cycle], cycle, strict=False) if now and not before)
    assert rises == count
    assert not any(cycle[-8:]), "a second of darkness between two counts"
    assert [lit(light, tick + len(cycle)) for tick in range(len(cycle))] == cycle


async def test_only_changes_reach_the_pins_and_a_pattern_keeps_its_rhythm() -> None:
    calls: list[tuple[str, bool]] = []
    lights = Lights(lambda name, level: calls.append((name, level)))
    lights.show({"ready": Light.ON, "ringing": Light.FAST})
    lights.show({"ready": Light.ON, "ringing": Light.FAST})
    assert calls == [("ready", True), ("ringing", True)]
    lights._tick()
    assert calls[-1] == ("ringing", False)
    lights.show({"ready": Light.ON, "ringing": Light.OFF})
    assert calls[-1] == ("ringing", False)
    assert lights._timer is None, "nothing blinks: no timer"
    lights.close()
    await asyncio.sleep(0)
