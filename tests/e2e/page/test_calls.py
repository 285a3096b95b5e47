"""Calls between the page, in Chromium, and real stations."""

from intercomd.demo.listen import SAME_VOICE
from intercomd.demo.resident import Resident
from tests.e2e.page.scene import ON_THE_PAGE, Scene
from tests.e2e.page.witness import Witness

pytestmark = ON_THE_PAGE


async def test_the_door_calls_and_both_hear_each_other(scene: Scene, tenant: Resident, witness: Witness) -> None:
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    assert await tenant.page.inner_text("#call-name") == "door"
    assert await tenant.page.inner_text("#announce") == "door is calling"
    assert await tenant.page.evaluate("window.asked") == 0, "the microphone is asked for only when it is needed"
    await tenant.answer()
    await tenant.phase("connected")
    await scene.phase("door", "connected")
    await scene.hear_each_other(tenant)
    assert "ms" in await tenant.page.inner_text("#quality-word")
    await scene.ask("door", "hangup")
    await tenant.phase("idle")
    assert witness.names("accept_call", "end_call", "reject_call") == ["accept_call"]
    await tenant.see('#calls li:has-text("door")')
    assert "Incoming" in await tenant.page.inner_text("#calls li")


async def test_mute_is_silence_for_the_door_and_no_loss(scene: Scene, tenant: Resident) -> None:
    await scene.call(tenant)
    await tenant.mute()
    assert await tenant.page.get_attribute("#mute", "aria-pressed") == "true"
    _, room = await scene.talk(tenant)
    assert room < SAME_VOICE, "control: the door must not hear who is muted"
    assert (await scene.phase("door", "connected"))["call"]["epoch"] == 1
    await tenant.mute()
    await scene.hear_each_other(tenant)
    await tenant.hang_up()
    await tenant.phase("idle")
    await scene.phase("door", "idle")


async def test_the_page_calls_the_flat_and_hangs_up(scene: Scene, tenant: Resident, witness: Witness) -> None:
    await tenant.call("flat")
    await scene.phase("flat", "ringing")
    await tenant.phase("ringing_out")
    await scene.ask("flat", "answer")
    await tenant.phase("connected")
    await scene.phase("flat", "connected")
    await scene.hear_each_other(tenant, "flat")
    await tenant.hang_up()
    await tenant.phase("idle")
    await scene.phase("flat", "idle")
    assert witness.names("initiate_call", "end_call", "cancel_call") == ["initiate_call", "end_call"]
    assert "call_metrics" in witness.names("call_metrics")


async def test_a_declined_call_is_a_rejected_one_for_the_door(scene: Scene, tenant: Resident) -> None:
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    await tenant.decline()
    await tenant.phase("idle")
    status = await scene.see("door", lambda status: status["error"] is not None)
    assert status["error"]["code"] == "CALL_REJECTED"


async def test_a_caller_who_gives_up_is_a_missed_call(scene: Scene, tenant: Resident) -> None:
    await scene.ask("door", "call", peer="tenant")
    await tenant.phase("ringing_in")
    await scene.ask("door", "hangup")
    await tenant.phase("idle")
    await tenant.see("#toast")
    assert await tenant.page.inner_text("#toast") == "You missed a call from door."
    await tenant.see('#calls li[data-missed="true"]')


async def test_hang_up_while_it_rings_at_the_flat(scene: Scene, tenant: Resident, witness: Witness) -> None:
    await tenant.call("flat")
    await scene.phase("flat", "ringing")
    await tenant.hang_up()
    await scene.phase("flat", "idle")
    await tenant.phase("idle")
    assert witness.names("cancel_call", "end_call") == ["cancel_call"]


async def test_a_flat_that_declines_is_told_and_can_be_tried_again(scene: Scene, tenant: Resident) -> None:
    await tenant.call("flat")
    await scene.phase("flat", "ringing")
    await scene.ask("flat", "hangup")
    await tenant.see("#error")
    assert await tenant.page.inner_text("#error-text") == "flat declined the call."
    await tenant.click("error-retry")
    await scene.phase("flat", "ringing")
    await tenant.hang_up()
    await scene.phase("flat", "idle")


async def test_a_busy_flat_is_told(scene: Scene, tenant: Resident) -> None:
    await scene.ask("kitchen", "call", peer="flat")
    await scene.phase("flat", "ringing")
    await scene.ask("flat", "answer")
    await scene.phase("kitchen", "connected")
    await tenant.call("flat")
    await tenant.see("#error")
    assert await tenant.page.inner_text("#error-text") == "flat is in another call."
    assert await tenant.page.get_attribute("#error", "data-kind") == "UnknownError"
    await tenant.click("error-ok")
    await tenant.see("#error", state="hidden")
    await scene.phase("flat", "connected")


async def test_the_whole_home_rings_and_the_first_answer_wins(scene: Scene, tenant: Resident) -> None:
    await tenant.call("home")
    await scene.phase("flat", "ringing")
    await scene.phase("kitchen", "ringing")
    await scene.ask("kitchen", "answer")
    await tenant.phase("connected")
    await scene.phase("flat", "idle")
    assert await tenant.page.inner_text("#call-name") == "kitchen"
    await scene.ask("kitchen", "hangup")
    await tenant.phase("idle")


async def test_volume_is_kept(tenant: Resident) -> None:
    volume = "document.getElementById('far').volume"
    await tenant.page.evaluate(
        """() => { const slider = document.getElementById("volume"); slider.value = "0.4";
                   slider.dispatchEvent(new Event("input")); }"""
    )
    assert await tenant.page.evaluate(volume) == 0.4
    await tenant.reload()
    await tenant.ready()
    assert await tenant.page.evaluate(volume) == 0.4
