"""What a resident sees and does of queues, quiet and the talk limit: the page, a real hub, real stations."""

from collections.abc import AsyncIterator

import pytest_asyncio

from intercomd.demo.house import House
from intercomd.demo.resident import Resident
from intercomd.hub.people import estate
from intercomd.hub.people.directory import Busy, Policy
from intercomd.hub.storage.database import Database
from tests.e2e.page.scene import ON_THE_PAGE, Scene

pytestmark = ON_THE_PAGE

TALK_S = 12.0
"""Its warning comes at half time."""


async def set_busy(house: House, busy: Busy) -> None:
    database = Database(f"sqlite+aiosqlite:///{house.household.hub_database}")
    await database.open()
    try:
        await estate.set_policy(database, "flat", Policy(busy=busy))
    finally:
        await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def patient_hub(scene: Scene) -> AsyncIterator[None]:
    """The flat lets callers wait, and nobody talks for longer than `TALK_S` without wishing so."""
    config = scene.house.household.hub_config
    usual = config.read_text()
    async with scene.without_hub():
        await set_busy(scene.house, Busy.QUEUE)
        config.write_text(f"{usual}\ntalk_limit_s = {TALK_S}\n")
    yield
    async with scene.without_hub():
        await set_busy(scene.house, Busy.REFUSE)
        config.write_text(usual)


async def test_who_does_not_want_to_be_disturbed_is_not_rung(scene: Scene, tenant: Resident) -> None:
    await tenant.click("quiet")
    await tenant.see('#ready[data-state="quiet"]')
    await scene.ask("door", "call", peer="tenant")
    await scene.see("door", lambda status: (status["error"] or {}).get("code") is not None)
    assert await tenant.page.get_attribute("#call", "hidden") is not None
    await tenant.page.reload()
    await tenant.see('#ready[data-state="quiet"]')
    await scene.quiet()
    await tenant.click("ready-act")
    await tenant.see('#ready[data-state="yes"], #ready[data-state="silent"]')
    await scene.call(tenant)
    await tenant.hang_up()
    await tenant.phase("idle")


async def test_a_caller_waits_its_turn_and_a_talk_is_prolonged(
    patient_hub: None, scene: Scene, tenant: Resident
) -> None:
    await tenant.see('#ready[data-state="yes"]')
    await scene.quiet()
    await scene.ask("door", "call", peer="flat")
    await scene.phase("flat", "ringing")
    await scene.ask("flat", "answer")
    await scene.phase("door", "connected")
    await tenant.call("flat")
    await tenant.see('#call-status:has-text("You are next")')
    await scene.ask("door", "hangup")
    await tenant.phase("ringing_out")
    await scene.phase("flat", "ringing")
    await scene.ask("flat", "answer")
    await tenant.phase("connected")
    await tenant.see('#call-hint:has-text("ends in")')
    await tenant.click("prolong")
    await tenant.see("#prolong", state="hidden")
    await tenant.see('#call-hint:has-text("ends in")')
    await tenant.reload()
    await tenant.see('#call-hint:has-text("ends in")')
    await tenant.phase("idle")
    assert "time limit" in await tenant.page.inner_text("#toast-text")
    await scene.phase("flat", "idle")
