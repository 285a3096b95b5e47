"""The door on the page: a button where the door may be opened, and words for what has really happened."""

import signal

from intercomd.demo.house import House
from intercomd.demo.resident import Resident
from intercomd.hub.admin import _ask
from intercomd.hub.office import Order, socket_path
from intercomd.hub.people.rights import Action
from tests.e2e.page.conftest import Open
from tests.e2e.page.scene import ON_THE_PAGE, Scene, Status
from tests.e2e.page.witness import Witness

pytestmark = ON_THE_PAGE


def is_open(status: Status) -> bool:
    return bool(status["panel"]["outputs"]["door"])


def is_shut(status: Status) -> bool:
    return not is_open(status)


async def allow(house: House, who: str, action: Action) -> None:
    result = await _ask(socket_path(house.household.hub_database), Order("allow", who, action=action, object="door"))
    assert result.ok, result.message


async def told(person: Resident, state: str) -> str:
    await person.see(f'#door-told[data-door="{state}"]')
    return await person.page.inner_text("#door-told")


async def test_in_a_call_the_door_is_opened_and_said_to_be(scene: Scene, open_page: Open, house: House) -> None:
    await scene.see("door", is_shut)
    person = await open_page("owner")
    await allow(house, "owner", Action.DOOR_IN_CALL)
    await person.reload()
    await person.ready()
    await scene.ask("door", "call", peer="owner")
    await person.phase("ringing_in")
    assert not await person.page.is_visible("#open-door"), "a right for calls counts once both talk"
    await person.answer()
    await person.phase("connected")
    await person.click("open-door")
    assert await told(person, "opened") == "The door at door is open."
    await scene.see("door", is_open)
    await person.hang_up()
    await person.phase("idle")
    assert await person.page.locator(".unlock:visible").count() == 0


async def test_who_may_not_has_no_button(scene: Scene, open_page: Open) -> None:
    person = await open_page("clara")
    await scene.call(person, name="clara")
    assert not await person.page.is_visible("#open-door")
    await person.hang_up()


async def test_outside_a_call_it_is_opened_from_the_list(
    scene: Scene, open_page: Open, house: House, witness: Witness
) -> None:
    await scene.see("door", is_shut)
    person = await open_page("dora")
    await allow(house, "dora", Action.DOOR)
    await person.reload()
    await person.see('#stations .unlock[aria-label="Open the door at door"]')
    await person.page.click("#stations .unlock:visible")
    await person.see('#toast:has-text("The door at door is open.")')
    await scene.see("door", is_open)
    assert witness.names("open_door", "initiate_call") == ["open_door"]


async def test_a_station_that_does_not_answer_is_not_called_open(scene: Scene, open_page: Open, house: House) -> None:
    await scene.see("door", is_shut)
    person = await open_page("emma", locale="zh-CN")
    await allow(house, "emma", Action.DOOR)
    await person.reload()
    await person.see("#stations .unlock:visible")
    scene.signal("door", signal.SIGSTOP)
    try:
        await person.page.click("#stations .unlock:visible")
        await person.see('#toast:has-text("门可能已经打开")')
    finally:
        scene.signal("door", signal.SIGCONT)
    await scene.see("door", lambda status: status["link"]["state"] == "registered")
    assert is_shut(await scene.see("door", lambda _: True))
