"""Several tabs, several phones, and tabs that are reloaded, copied or closed in the middle of a call."""

import time

from intercomd.demo.resident import Resident
from tests.e2e.page.conftest import GRACE_S, Open
from tests.e2e.page.scene import ON_THE_PAGE, Scene
from tests.e2e.page.witness import Witness

pytestmark = ON_THE_PAGE

INSTANCE = "sessionStorage.getItem('intercom.instance')"


async def test_two_tabs_ring_and_the_other_stops_at_once(scene: Scene, tenant: Resident, witness: Witness) -> None:
    tab = await tenant.another_tab()
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    await tab.phase("ringing_in")
    await tab.answer()
    await tenant.phase("idle", 2)
    assert await tenant.page.inner_text("#toast") == "Answered on another device."
    await tab.phase("connected")
    await scene.phase("door", "connected")
    assert witness.names("accept_call", "reject_call", "end_call") == ["accept_call"]
    await tab.hang_up()
    await scene.phase("door", "idle")


async def test_two_phones_of_one_resident_ring_and_one_declines_for_both(
    scene: Scene, tenant: Resident, open_page: Open
) -> None:
    laptop = await open_page("tenant", viewport={"width": 1280, "height": 800})
    await tenant.ready()
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    await laptop.phase("ringing_in")
    await laptop.decline()
    await tenant.phase("idle", 2)
    await scene.see("door", lambda status: status["error"] is not None)


async def test_a_tab_that_opens_while_it_rings_rings_too(scene: Scene, tenant: Resident) -> None:
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    late = Resident(tenant.context, await tenant.context.new_page())
    await late.page.goto(tenant.page.url)
    await late.phase("ringing_in")
    await late.answer()
    await late.phase("connected")
    await tenant.phase("idle")
    await late.hang_up()
    await scene.phase("door", "idle")


async def test_a_reloaded_tab_still_rings(scene: Scene, tenant: Resident) -> None:
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    await tenant.reload()
    await tenant.phase("ringing_in")
    await tenant.answer()
    await tenant.phase("connected")
    await scene.phase("door", "connected")
    await tenant.hang_up()
    await scene.phase("door", "idle")


async def test_a_callee_who_reloads_is_back_in_the_call(scene: Scene, tenant: Resident) -> None:
    call_id = await scene.call(tenant)
    instance = await tenant.page.evaluate(INSTANCE)
    await tenant.reload()
    await tenant.phase("connected")
    assert await tenant.page.evaluate(INSTANCE) == instance
    status = await scene.see("door", lambda status: status["phase"] == "connected" and status["call"]["epoch"] == 2)
    assert status["call"]["callId"] == call_id
    await scene.hear_each_other(tenant)
    assert await tenant.page.inner_text("#call-name") == "door"
    await tenant.hang_up()
    await scene.phase("door", "idle")


async def test_a_caller_who_reloads_is_back_in_the_call(scene: Scene, tenant: Resident) -> None:
    await tenant.call("flat")
    await scene.phase("flat", "ringing")
    await tenant.reload()
    await tenant.phase("ringing_out")
    await scene.ask("flat", "answer")
    await tenant.phase("connected")
    call_id = (await scene.phase("flat", "connected"))["call"]["callId"]
    await tenant.reload()
    await tenant.phase("connected")
    status = await scene.see("flat", lambda status: status["phase"] == "connected" and status["call"]["epoch"] == 2)
    assert status["call"]["callId"] == call_id
    assert await tenant.page.inner_text("#call-name") == "flat"
    await tenant.hang_up()
    await scene.phase("flat", "idle")


async def test_a_copied_tab_has_another_name_and_leaves_the_call_alone(scene: Scene, tenant: Resident) -> None:
    await scene.call(tenant)
    async with tenant.context.expect_page() as opened:
        # What "Duplicate tab" does: the new one begins with the memory of the old one.
        await tenant.page.evaluate("window.open(location.href)")
    copy = Resident(tenant.context, await opened.value)
    await copy.page.wait_for_load_state()
    await copy.page.evaluate(
        "(name) => sessionStorage.setItem('intercom.instance', name)", await tenant.page.evaluate(INSTANCE)
    )
    await copy.reload()
    await copy.ready()
    assert await copy.page.evaluate(INSTANCE) != await tenant.page.evaluate(INSTANCE)
    await tenant.phase("connected")
    assert (await scene.phase("door", "connected"))["call"]["epoch"] == 1
    await tenant.hang_up()
    await scene.phase("door", "idle")


async def test_a_closed_tab_ends_the_call_after_its_grace(scene: Scene, tenant: Resident) -> None:
    await scene.call(tenant)
    await tenant.page.close()
    closed_s = time.monotonic()
    status = await scene.see("door", lambda status: status["phase"] == "idle")
    assert GRACE_S - 1 < time.monotonic() - closed_s < GRACE_S + 5
    assert status["error"]["code"] == "PEER_LOST"


async def test_a_call_that_was_ended_without_the_hub_stays_ended_when_the_page_is_opened_again(
    scene: Scene, tenant: Resident, witness: Witness
) -> None:
    witness.excused += ["WebSocket connection to", "Failed to load resource"]
    await scene.call(tenant)
    address = tenant.page.url
    async with scene.without_hub():
        await tenant.see('#ready[data-state="offline"]', state="attached")
        await tenant.phase("connected")
        await tenant.hang_up()
        await tenant.phase("idle")
        await tenant.page.goto("about:blank")
        assert witness.names("end_call") == []
    await tenant.page.goto(address)
    await tenant.ready()
    await scene.phase("door", "idle")
    # Told with the resync, and perhaps again: the station may ask for a new epoch before the hub has heard of the end.
    assert set(witness.names("end_call", "webrtc_restart")) == {"end_call"}
    assert len({payload["callId"] for name, payload in witness.said if name == "end_call"}) == 1
