"""A call on the page that loses its other side, the hub, or its network, and comes back."""

import asyncio
import signal

from intercomd.demo.listen import SAME_VOICE, find, read_wav
from intercomd.demo.page_scene import VOICE
from intercomd.demo.resident import Resident
from intercomd.demo.sound import sentence
from tests.e2e.page.conftest import Open
from tests.e2e.page.scene import ON_THE_PAGE, SPEECH_S, Scene
from tests.e2e.page.witness import Witness

pytestmark = ON_THE_PAGE


async def test_a_station_that_is_killed_comes_back_into_the_call(scene: Scene, tenant: Resident) -> None:
    call_id = await scene.call(tenant)
    scene.house.supervisor.kill("door")
    await scene.in_epoch("door", 2)
    await tenant.phase("connected")
    assert "reconnecting" in await tenant.page.evaluate("window.phases")
    assert (await scene.phase("door", "connected"))["call"]["callId"] == call_id
    await scene.hear_each_other(tenant)
    await tenant.hang_up()
    await scene.phase("door", "idle")


async def test_a_station_that_was_called_is_killed_and_comes_back(scene: Scene, tenant: Resident) -> None:
    await tenant.call("flat")
    await scene.phase("flat", "ringing")
    await scene.ask("flat", "answer")
    await tenant.phase("connected")
    await scene.phase("flat", "connected")
    scene.house.supervisor.kill("flat")
    await scene.in_epoch("flat", 2)
    await tenant.phase("connected")
    await scene.ask("flat", "hangup")
    await tenant.phase("idle")


async def test_a_hub_that_dies_does_not_touch_the_call(scene: Scene, tenant: Resident, witness: Witness) -> None:
    witness.excused += ["WebSocket connection to"]
    call_id = await scene.call(tenant)
    async with scene.without_hub():
        await tenant.see('#ready[data-state="offline"]', state="attached")
        await scene.hear_each_other(tenant)
        await tenant.phase("connected")
    await tenant.see('#ready[data-state="yes"]', state="attached")
    status = await scene.see("door", lambda status: status["link"]["state"] == "registered")
    assert (status["call"]["callId"], status["call"]["epoch"], status["phase"]) == (call_id, 1, "connected")
    assert witness.names("webrtc_restart") == []
    await scene.ask("door", "hangup")
    await tenant.phase("idle")


async def test_a_page_that_hears_nothing_asks_for_a_new_connection(
    scene: Scene, tenant: Resident, witness: Witness
) -> None:
    call_id = await scene.call(tenant)
    scene.signal("door", signal.SIGSTOP)
    try:
        await tenant.phase("reconnecting", 4)
        async with asyncio.timeout(6):
            while not witness.names("webrtc_restart"):
                await asyncio.sleep(0.05)
    finally:
        scene.signal("door", signal.SIGCONT)
    await tenant.phase("connected")
    status = await scene.see("door", lambda status: status["phase"] == "connected" and status["call"]["epoch"] >= 2)
    assert status["call"]["callId"] == call_id
    await scene.hear_each_other(tenant)
    await tenant.hang_up()
    await scene.phase("door", "idle")


SLOW_AND_COUNTED = """const take = RTCPeerConnection.prototype.setRemoteDescription;
const add = RTCPeerConnection.prototype.addIceCandidate;
window.counted = { early: 0, late: 0 };
RTCPeerConnection.prototype.addIceCandidate = function (candidate) {
  window.counted[this.remoteDescription ? "late" : "early"] += 1;
  return add.call(this, candidate);
};
RTCPeerConnection.prototype.setRemoteDescription = async function (description) {
  await new Promise((resolve) => setTimeout(resolve, 500));
  return take.call(this, description);
};"""


async def test_two_pages_talk_and_candidates_that_overtake_the_offer_are_kept(open_page: Open) -> None:
    """Both trickle; here each description is taken half a second after its candidates have come."""
    tenant, neighbour = await open_page("tenant"), await open_page("neighbour", group="neighbours")
    for person in (tenant, neighbour):
        await person.context.add_init_script(SLOW_AND_COUNTED)
        await person.reload()
        await person.ready()
    await tenant.call("neighbours")
    await neighbour.phase("ringing_in")
    await neighbour.answer()
    await tenant.phase("connected")
    await neighbour.phase("connected")
    for person in (tenant, neighbour):
        counted = await person.page.evaluate("window.counted")
        assert counted["early"] == 0
        assert counted["late"] > 0
    heard = find(read_wav(sentence(VOICE)), await tenant.hear(SPEECH_S)).correlation
    assert heard >= SAME_VOICE
    await neighbour.hang_up()
    await tenant.phase("idle")
