"""The page's pure parts, each module loaded by itself in Chromium: the call's rules, the protocol's words, the texts,
the quality figures. What crosses is JSON: a list of events, and the state and the orders that came of them."""

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from intercomd.core.protocol import NOTICES, PROTOCOL_VERSION, REQUESTS, Code
from intercomd.core.station import Shown
from intercomd.core.vocabulary import EndReason, HubPhase
from intercomd.errors import ErrorKind
from intercomd.hub.web.assets import FOLDER
from intercomd.media.emodel import burst_ratio, mos
from tests.e2e.page.scene import ON_THE_PAGE

pytestmark = ON_THE_PAGE

CALL = {"callId": "c1", "callerId": "door", "callerName": "Door", "recipientId": "tenant"}
INCOMING = {**CALL, "seq": 1, "ringTimeout": 30}
DIAL = {"type": "dial", "peer": "flat", "name": "Flat", "id": "c1"}
LINKED = {"type": "linked", "me": "tenant", "calls": [], "clock": 0}
MICROPHONE = {"type": "microphone"}
STATE = {**CALL, "phase": "connecting", "epoch": 1, "seq": 2, "peerPresent": True}

RUN = """async (events) => {
  const { handle, shown, NO_CALL } = await import("/call.js");
  let state = NO_CALL;
  let effects = [];
  const all = [];
  for (const event of events) {
    [state, effects] = handle(state, event);
    all.push(effects);
  }
  return { state, shown: shown(state.call), effects: all.at(-1), all: all.flat() };
}"""


class Rules:
    def __init__(self, page: Page) -> None:
        self.page = page

    async def after(self, *events: dict[str, Any]) -> dict[str, Any]:
        """The state, its shown phase, the last event's effects and all effects."""
        return dict(await self.page.evaluate(RUN, list(events)))

    async def value(self, module: str, expression: str) -> Any:
        return await self.page.evaluate(f"async () => {{ const m = await import('/{module}'); return {expression}; }}")


@pytest_asyncio.fixture(loop_scope="session", scope="package")
async def rules(chromium: Browser) -> AsyncIterator[Rules]:
    async def serve(route: Route) -> None:
        name = route.request.url.rpartition("//")[2].partition("/")[2]
        if name:
            await route.fulfill(path=FOLDER / name, content_type="text/javascript")
        else:
            await route.fulfill(body="<!doctype html>", content_type="text/html")

    page = await chromium.new_page()
    await page.route("http://modules.test/**", serve)
    await page.goto("http://modules.test/")
    yield Rules(page)
    await page.close()


def notice(name: str, seq: int, **data: Any) -> dict[str, Any]:
    return {"type": "notice", "name": name, "data": {"callId": "c1", "seq": seq, **data}}


def replied(name: str, *, ok: bool = True, **reply: Any) -> dict[str, Any]:
    return {"type": "replied", "name": name, "data": {"callId": "c1", "epoch": 1}, "reply": {"ok": ok, **reply}}


def timer(kind: str, epoch: int = 0, call: str = "c1") -> dict[str, Any]:
    return {"type": "timer", "kind": kind, "epoch": epoch, "call": call}


RINGING = (LINKED, {"type": "notice", "name": "incoming_call", "data": INCOMING})
ANSWERED = (*RINGING, {"type": "answer"}, MICROPHONE, replied("accept_call", call=STATE))
TALKING = (*ANSWERED, {"type": "up", "epoch": 1, "now": 1000})
DIALLED = (LINKED, DIAL, MICROPHONE)
RUNG = (*DIALLED, replied("initiate_call", call={**CALL, "phase": "ringing"}), notice("call_initiated", 2))


def sent(result: dict[str, Any], *, last: bool = True) -> list[str]:
    return [effect["name"] for effect in result["effects" if last else "all"] if effect["do"] == "send"]


def orders(result: dict[str, Any]) -> list[str]:
    return [effect["do"] for effect in result["effects"]]


# ------------------------------------------------------------------------------------------------ STUN and TURN

RENEW = """(async () => {
    const heard = [], asked = [];
    const link = new m.Link("i", { known: () => [], servers: (all) => heard.push(all[0].username), changed() {} });
    link.socket = {};
    link.state = "registered";
    const iceServers = [{ urls: ["turn:t"], username: "1900003600:tenant", credential: "x" }];
    link.issued({ iceServers: [{ ...iceServers[0], username: "1900000600:tenant" }], serverTime: 1900000000 });
    link.request = async (name) => { asked.push(name); return { ok: true, iceServers, serverTime: 1900000000 }; };
    await link.beat(false);
    link.renewAt = performance.now() - 1;
    await link.beat(false);
    link.let("beat");
    return [asked, heard, Math.round((link.renewAt - performance.now()) / 1000)];
})()"""


async def test_turn_credentials_are_renewed_before_half_their_life(rules: Rules) -> None:
    asked, heard, next_s = await rules.value("link.js", f"await {RENEW}")
    assert asked == ["heartbeat", "heartbeat", "resync"]
    assert heard == ["1900000600:tenant", "1900003600:tenant"]
    assert next_s == 1620


@pytest.mark.parametrize(
    ("username", "server_time", "renewal_ms"),
    [
        ("1900000600:tenant", 1900000000, 270_000),
        ("1900000600:tenant", 1800000000, 270_000),  # the clocks differ: ten minutes are assumed
        ("tenant", 1900000000, None),
        (None, 1900000000, None),
    ],
)
async def test_how_long_credentials_are_good_for(
    rules: Rules, username: str | None, server_time: int, renewal_ms: int | None
) -> None:
    reply = json.dumps({"iceServers": [{"urls": ["turn:t"], "username": username}], "serverTime": server_time})
    found = await rules.value("protocol.js", f"[m.renewalMs({reply})].map((ms) => ms === Infinity ? null : ms)[0]")
    assert found == renewal_ms


# --------------------------------------------------------------------------------------- words that both sides use


async def test_events_codes_and_reasons_are_those_of_the_protocol(rules: Rules) -> None:
    assert await rules.value("protocol.js", "m.PROTOCOL") == PROTOCOL_VERSION
    assert set(await rules.value("protocol.js", "m.REQUESTS")) <= set(REQUESTS)
    assert set(await rules.value("protocol.js", "m.NOTICES")) == set(NOTICES)
    refusals = await rules.value("protocol.js", "m.REFUSALS")
    assert set(refusals) <= set(Code)
    assert set(refusals.values()) <= set(EndReason)
    reasons = set(await rules.value("errors.js", "Object.keys(m.KIND_OF)"))
    ours = {"microphone_denied", "microphone_missing", "microphone_failed"}
    ordinary = {EndReason.COMPLETED, EndReason.CANCELLED, EndReason.ANSWERED_ELSEWHERE, EndReason.CALLER_GONE}
    ordinary.add(EndReason.TALK_LIMIT)
    assert reasons - ours == set(EndReason) - ordinary
    assert set(await rules.value("errors.js", "m.KINDS")) == set(ErrorKind)
    assert set(await rules.value("errors.js", "Object.values(m.KIND_OF)")) == set(ErrorKind)


async def test_phases_are_shown_by_the_guides_names(rules: Rules) -> None:
    phases = ["permission", "dialling", "calling", "ringing_out", "ringing_in", "connecting", "connected",
              "reconnecting", "ending"]  # fmt: skip
    shown = {await rules.value("call.js", f"m.shown({{phase: '{phase}'}})") for phase in phases}
    assert shown | {await rules.value("call.js", "m.shown(null)")} == set(Shown)


async def test_both_languages_have_the_same_texts(rules: Rules) -> None:
    texts = await rules.value("texts.js", "m.TEXTS")
    assert set(texts["en"]) == set(texts["zh"])
    for key, english in texts["en"].items():
        holes = {part.split("}")[0] for part in english.split("{")[1:]}
        assert holes == {part.split("}")[0] for part in texts["zh"][key].split("{")[1:]}, key
    for kind in ErrorKind:
        assert f"error.{kind}" in texts["en"]


async def test_a_better_line_has_a_better_score(rules: Rules) -> None:
    good, slow, lossy, dead = await rules.value(
        "quality.js", "[m.mos(0.06, 0), m.mos(0.4, 0), m.mos(0.06, 0.1), m.mos(2, 1)]"
    )
    assert 4.3 < good < 4.5
    assert 1 <= dead < lossy < good
    assert dead < slow < good


async def test_the_page_and_the_stations_score_alike(rules: Rules) -> None:
    points = list(itertools.product((0.0, 0.09, 0.1, 0.15, 0.2, 0.4, 2.0), (0.0, 0.01, 0.1, 0.5, 1.0), (1.0, 1.6, 2.0)))
    scores = await rules.value("quality.js", f"{json.dumps(points)}.map((point) => m.mos(...point))")
    assert scores == pytest.approx([mos(*point) for point in points])
    gaps = list(itertools.product((0, 480, 960, 4800), (0, 1, 3), (0.0, 0.05, 0.5)))
    ratios = await rules.value("quality.js", f"{json.dumps(gaps)}.map((gap) => m.burstRatio(...gap))")
    assert ratios == pytest.approx([burst_ratio(*gap) for gap in gaps])


# --------------------------------------------------------------------------------------------------- being called


async def test_ringing_asks_for_nothing(rules: Rules) -> None:
    ringing = await rules.after(*RINGING)
    assert ringing["shown"] == "ringing"
    assert orders(ringing) == ["cancel", "timer"]


async def test_the_microphone_comes_before_the_word_to_the_hub(rules: Rules) -> None:
    asking = await rules.after(*RINGING, {"type": "answer"})
    assert (asking["shown"], orders(asking)) == ("permission", ["microphone"])
    accepted = await rules.after(*RINGING, {"type": "answer"}, MICROPHONE)
    assert sent(accepted) == ["accept_call"]
    assert accepted["shown"] == "connecting"


async def test_a_second_resident_may_still_answer_while_this_one_is_asked(rules: Rules) -> None:
    elsewhere = notice("call_cancelled", 2, reason="answered_elsewhere")
    over = await rules.after(*RINGING, {"type": "answer"}, elsewhere)
    assert over["state"]["call"] is None
    assert over["state"]["failure"] is None
    assert {"do": "microphone", "open": False} in over["effects"]
    late = await rules.after(*RINGING, {"type": "answer"}, elsewhere, MICROPHONE)
    assert late["effects"] == [{"do": "microphone", "open": False}], "permission that comes too late opens nothing"


async def test_a_forbidden_microphone_speaks_for_this_device_alone(rules: Rules) -> None:
    denied = {"type": "noMicrophone", "reason": "microphone_denied"}
    still = await rules.after(*RINGING, {"type": "answer"}, denied)
    assert still["shown"] == "ringing"
    assert sent(still, last=False) == []
    assert still["state"]["failure"]["kind"] == "NotAllowedError"
    again = await rules.after(*RINGING, {"type": "answer"}, denied, {"type": "retry", "id": "x"})
    assert again["effects"] == [{"do": "microphone", "open": True}]
    assert again["state"]["failure"] is None


@pytest.mark.parametrize(
    ("events", "verb"),
    [
        (RINGING, "reject_call"),
        (ANSWERED, "end_call"),
        (TALKING, "end_call"),
        (DIALLED, "cancel_call"),
        (RUNG, "cancel_call"),
    ],
)
async def test_hanging_up_has_its_word_in_every_phase(rules: Rules, events: tuple[Any, ...], verb: str) -> None:
    ending = await rules.after(*events, {"type": "hangup"})
    assert sent(ending) == [verb]
    assert ending["shown"] == "ending"
    assert ending["state"]["buried"][0]["id"] == "c1"
    done = await rules.after(*events, {"type": "hangup"}, replied(verb))
    assert done["shown"] == "idle"
    unheard = await rules.after(*events, {"type": "hangup"}, timer("ending"))
    assert unheard["shown"] == "idle"


async def test_an_incoming_call_of_the_past_is_ended_again(rules: Rules) -> None:
    hung_up = (*TALKING, {"type": "unlinked"}, {"type": "hangup"})
    assert sent(await rules.after(*hung_up)) == [], "nothing is sent while there is no connection"
    back = await rules.after(*hung_up, {**LINKED, "calls": [STATE]})
    assert sent(back) == ["end_call"]
    assert back["state"]["call"] is None


@pytest.mark.parametrize(
    ("reason", "told"),
    [("timeout", "told.missed"), ("cancelled", "told.missed"), ("answered_elsewhere", "told.elsewhere")],
)
async def test_who_does_not_answer_is_told_and_not_alarmed(rules: Rules, reason: str, told: str) -> None:
    over = await rules.after(*RINGING, notice("call_cancelled", 2, reason=reason))
    assert over["state"]["failure"] is None
    assert [effect["text"] for effect in over["effects"] if effect["do"] == "tell"] == [told]
    assert "jingle" not in orders(over)


def waits(result: dict[str, Any]) -> list[float]:
    return [effect["seconds"] for effect in result["effects"] if effect["do"] == "timer" and effect["kind"] == "ring"]


async def test_who_waits_knows_its_place_and_waits_as_long_as_the_hub_lets_it(rules: Rules) -> None:
    queued = (*DIALLED, notice("call_queued", 2, position=3, ringTimeout=330))
    first = await rules.after(*queued)
    assert (first["state"]["call"]["queue"], first["shown"], waits(first)) == (3, "connecting", [345])
    moved = await rules.after(*queued, replied("initiate_call", call=CALL), notice("call_queued", 3, position=1))
    assert moved["state"]["call"]["queue"] == 1
    rings = await rules.after(*queued, notice("call_initiated", 3, ringTimeout=20))
    assert (rings["state"]["call"]["queue"], rings["shown"], waits(rings)) == (None, "ringing", [120])
    back = {**LINKED, "calls": [{**CALL, "callerId": "tenant", "phase": "ringing", "queuePosition": 2}]}
    reloaded = await rules.after(back)
    assert (reloaded["state"]["call"]["queue"], reloaded["shown"]) == (2, "connecting")


async def test_a_talk_is_warned_of_its_end_and_prolonged(rules: Rules) -> None:
    warning = {**notice("talk_limit", 3, leftS=30), "now": 5000}
    warned = await rules.after(*TALKING, warning)
    assert warned["state"]["call"]["endsAt"] == 35_000
    assert warned["effects"] == [{"do": "jingle", "name": "warning"}]
    assert sent(await rules.after(*TALKING, warning, {"type": "prolong"})) == ["prolong_call"]
    longer = await rules.after(*TALKING, warning, notice("talk_limit", 4, leftS=300, prolonged=True))
    assert (longer["state"]["call"]["endsAt"], longer["effects"]) == (None, [])
    over = await rules.after(*TALKING, warning, notice("call_ended", 4, reason="talk_limit"))
    assert over["state"]["failure"] is None
    assert [effect["text"] for effect in over["effects"] if effect["do"] == "tell"] == ["told.limit"]


async def test_a_page_that_is_reloaded_late_in_a_limited_talk_says_when_it_ends(rules: Rules) -> None:
    warning = {**notice("talk_limit", 3, leftS=20), "now": 5000}
    back = {**LINKED, "calls": [{**STATE, "phase": "connected"}]}
    assert (await rules.after(warning, back))["state"]["call"]["endsAt"] == 25_000
    other = {**back, "calls": [{**STATE, "callId": "c2", "phase": "connected"}]}
    assert (await rules.after(warning, other))["state"]["call"]["endsAt"] is None
    longer = notice("talk_limit", 4, leftS=300, prolonged=True)
    assert (await rules.after(warning, longer, back))["state"]["call"]["endsAt"] is None


async def test_what_was_heard_before_is_not_heard_again(rules: Rules) -> None:
    replay = await rules.after(*TALKING, notice("call_ended", 3, reason="completed"))
    assert replay["shown"] == "idle"
    stale = await rules.after(*TALKING, notice("webrtc_restart", 5, epoch=2), notice("call_ended", 4, reason="x"))
    assert stale["shown"] == "reconnecting"


# ------------------------------------------------------------------------------------------------------- calling


async def test_dialling_asks_first_and_then_dials(rules: Rules) -> None:
    assert orders(await rules.after(LINKED, DIAL)) == ["microphone"]
    dialled = await rules.after(*DIALLED)
    assert (dialled["shown"], sent(dialled)) == ("initializing", ["initiate_call"])
    rung = await rules.after(*RUNG)
    assert rung["shown"] == "ringing"


async def test_dialling_without_a_hub_fails_by_name_and_sends_nothing(rules: Rules) -> None:
    failed = await rules.after(DIAL, MICROPHONE, timer("dial"))
    assert failed["state"]["failure"]["kind"] == "NetworkError"
    assert sent(failed, last=False) == []
    retry = await rules.after(DIAL, MICROPHONE, timer("dial"), LINKED, {"type": "retry", "id": "c2"}, MICROPHONE)
    assert sent(retry) == ["initiate_call"]
    assert retry["state"]["call"]["id"] == "c2"


async def test_a_dial_that_nobody_heard_is_asked_again(rules: Rules) -> None:
    lost = {"type": "unanswered", "name": "initiate_call", "data": {"callId": "c1", "recipientId": "flat"}}
    assert sent(await rules.after(*DIALLED, lost)) == ["initiate_call"]
    fresh = await rules.after(*DIALLED, {"type": "unlinked"}, LINKED)
    assert sent(fresh) == ["initiate_call"], "and after a new connection: it is idempotent at the hub"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("user_offline", "NetworkError"), ("busy", "UnknownError"), ("timeout", "TimeoutError"),
     ("not_allowed", "NotAllowedError"), ("do_not_disturb", "UnknownError")],
)  # fmt: skip
async def test_every_refusal_has_its_name(rules: Rules, reason: str, kind: str) -> None:
    failed = await rules.after(*DIALLED, notice("call_failed", 3, reason=reason))
    assert (failed["state"]["failure"]["kind"], failed["state"]["failure"]["reason"]) == (kind, reason)
    by_reply = await rules.after(
        *DIALLED, replied("initiate_call", call={**CALL, "phase": "ended", "endReason": reason})
    )
    assert by_reply["state"]["failure"]["kind"] == kind


async def test_glare_the_other_sides_call_is_answered(rules: Rules) -> None:
    theirs = {**CALL, "callId": "c9", "callerId": "flat", "callerName": "Flat", "phase": "ringing"}
    met = await rules.after(*DIALLED, replied("initiate_call", call=theirs))
    assert (met["state"]["call"]["id"], met["state"]["call"]["role"]) == ("c9", "callee")
    assert sent(met) == ["accept_call"]


async def test_who_answers_for_a_group_is_named(rules: Rules) -> None:
    accepted = notice("call_accepted", 4, accepterId="kitchen", accepterName="Kitchen", epoch=1)
    begun = await rules.after(*RUNG, accepted)
    assert begun["state"]["call"]["name"] == "Kitchen"
    assert {"do": "media", "epoch": 1, "offerer": True} in begun["effects"]


# ------------------------------------------------------------------------------------------- losing and recovering


async def test_a_lost_epoch_is_left_by_asking_the_hub(rules: Rules) -> None:
    silent = await rules.after(*TALKING, {"type": "silent", "epoch": 1})
    assert (silent["shown"], orders(silent)) == ("reconnecting", [])
    lost = await rules.after(*TALKING, {"type": "lost", "epoch": 1})
    assert sent(lost) == ["webrtc_restart"]
    renewed = await rules.after(*TALKING, {"type": "lost", "epoch": 1}, notice("webrtc_restart", 9, epoch=2))
    assert {"do": "media", "epoch": 2, "offerer": False} in renewed["effects"]
    again = await rules.after(*TALKING, {"type": "lost", "epoch": 1}, {"type": "up", "epoch": 1, "now": 2})
    assert again["shown"] == "connected", "after a short outage the old connection is as good"


async def test_old_epochs_change_nothing(rules: Rules) -> None:
    renewed = (*TALKING, notice("webrtc_restart", 9, epoch=2))
    for stale in (
        {"type": "lost", "epoch": 1}, {"type": "up", "epoch": 1, "now": 1}, timer("connect", 1), timer("retry", 1),
        {"type": "described", "epoch": 1, "sdp": {"type": "answer", "sdp": ""}},
        {"type": "candidate", "epoch": 1, "candidate": None}, notice("webrtc_restart", 10, epoch=2),
        notice("webrtc_offer", 10, epoch=1, sdp={}), timer("connect", 2, call="another"),
    ):  # fmt: skip
        result = await rules.after(*renewed, stale)
        assert result["effects"] == [], stale
        assert result["shown"] == "reconnecting"


async def test_three_attempts_then_one_named_reason(rules: Rules) -> None:
    events = list(TALKING)
    for attempt in range(1, 4):
        events.append({"type": "lost", "epoch": attempt})
        if attempt > 1:
            events.append(timer("retry", attempt))
        events.append(notice("webrtc_restart", 10 + attempt, epoch=attempt + 1))
    given_up = await rules.after(*events, {"type": "lost", "epoch": 4})
    assert given_up["state"]["failure"]["reason"] == "media_failed"
    [goodbye] = [effect for effect in given_up["effects"] if effect["do"] == "send"]
    assert goodbye["data"] == {"callId": "c1", "reason": "media_failed"}


async def test_nothing_is_attempted_while_the_peer_is_away(rules: Rules) -> None:
    away = notice("call_state", 8, state={**STATE, "phase": "interrupted", "peerPresent": False})
    waiting = await rules.after(*TALKING, away, {"type": "lost", "epoch": 1})
    assert sent(waiting) == []
    assert [effect["kind"] for effect in waiting["effects"] if effect["do"] == "timer"] == ["absent"]
    back = notice("call_state", 9, state={**STATE, "phase": "interrupted", "peerPresent": True})
    assert sent(await rules.after(*TALKING, away, {"type": "lost", "epoch": 1}, back)) == ["webrtc_restart"]
    gone = await rules.after(*TALKING, away, {"type": "lost", "epoch": 1}, timer("absent"))
    assert gone["state"]["failure"]["reason"] == "peer_lost"


async def test_a_hub_that_is_away_does_not_touch_the_call(rules: Rules) -> None:
    talking = await rules.after(*TALKING, {"type": "unlinked"})
    assert (talking["shown"], talking["effects"]) == ("connected", [])
    back = await rules.after(*TALKING, {"type": "unlinked"}, {**LINKED, "calls": [{**STATE, "phase": "connected"}]})
    assert (back["shown"], back["effects"]) == ("connected", [])
    over = await rules.after(*TALKING, {"type": "unlinked"}, LINKED)
    assert over["shown"] == "idle", "the hub knows it no more"


async def test_an_answer_that_the_hub_never_heard_is_given_again(rules: Rules) -> None:
    pressed = (*RINGING, {"type": "answer"}, MICROPHONE, {"type": "unlinked"})
    back = await rules.after(*pressed, {**LINKED, "calls": [{**CALL, "phase": "ringing", "epoch": 0, "seq": 3}]})
    assert sent(back) == ["accept_call"]
    heard = await rules.after(*pressed, {**LINKED, "calls": [STATE]})
    assert "webrtc_restart" in sent(heard), "it had arrived: the epoch under way is in doubt"


async def test_a_reloaded_page_takes_up_its_call(rules: Rules) -> None:
    for phase in HubPhase.CONNECTING, HubPhase.CONNECTED, HubPhase.INTERRUPTED:
        found = {**STATE, "phase": phase, "epoch": 3, "answeredAt": 5000, "callerId": "tenant", "calleeId": "flat"}
        back = await rules.after({**LINKED, "calls": [found], "clock": 1000})
        call = back["state"]["call"]
        assert (call["role"], call["peer"], call["epoch"], call["answeredAt"]) == ("caller", "flat", 3, 4_000_000)
        assert back["shown"] == "reconnecting"
        assert sent(back) == ["webrtc_restart"]
        assert orders(back)[0] == "jingle", "a tone before the microphone opens"
        assert {"do": "microphone", "open": True} not in back["effects"]
        opened = await rules.after({**LINKED, "calls": [found]}, timer("microphone", 3))
        assert opened["effects"] == [{"do": "microphone", "open": True}]


async def test_before_the_resync_nothing_is_said_about_unknown_calls(rules: Rules) -> None:
    """The peer of a reloaded page may ask for a restart before the page knows that it is in a call."""
    early = await rules.after(notice("webrtc_restart", 7, epoch=2))
    assert early["effects"] == []
    later = await rules.after(LINKED, notice("webrtc_restart", 7, epoch=2))
    assert sent(later) == ["end_call"]
