"""Calls in every phase, and short ways to ask the hub's reducer: for the tests of the switch and its rules."""

from intercomd.core.admission import Admission
from intercomd.core.legs import HubCall, Limits, Party
from intercomd.core.protocol import AcceptCall, EndCall, Reply, WebrtcAnswer, WebrtcRestart
from intercomd.core.switch import handle
from intercomd.core.switchboard import (
    Answer,
    CallRequest,
    Initiated,
    Requested,
    SwitchEffect,
    Tell,
    Vanished,
)
from intercomd.core.vocabulary import Sdp
from intercomd.ids import CallId, IdentityId, InstanceId


def party(identity: str, instance: str = "1") -> Party:
    return Party(IdentityId(identity), InstanceId(f"{identity}-{instance}"), identity.title())


DOOR, FLAT, FLAT_2, DESK, THIEF = party("door"), party("flat"), party("flat", "2"), party("desk"), party("thief")
CALL = CallId("c")
OFFER, ANSWER = Sdp("offer", "v=0 offer"), Sdp("answer", "v=0 answer")
Effects = tuple[SwitchEffect, ...]


def initiate(
    *free: Party,
    caller: Party = DOOR,
    recipient: str = "flat",
    members: tuple[str, ...] = (),
    now_s: float = 0.0,
    limits: Limits | None = None,
    admission: Admission | None = None,
) -> Initiated:
    rung = tuple(IdentityId(name) for name in members) or tuple(dict.fromkeys(party.identity for party in free))
    facts = admission or Admission(rung, free, recipient_name=recipient)
    return Initiated(now_s, CALL, caller, IdentityId(recipient), facts, limits or Limits())


def ringing(*free: Party, now_s: float = 0.0, limits: Limits | None = None) -> HubCall:
    call, _ = handle(None, initiate(*(free or (FLAT,)), now_s=now_s, limits=limits))
    assert call is not None
    return call


def request(call: HubCall | None, who: Party, what: CallRequest, now_s: float = 1.0) -> tuple[HubCall, Effects, Reply]:
    after, effects = handle(call, Requested(now_s, who.endpoint, what))
    reply = effects[-1]
    assert isinstance(reply, Answer)
    assert after is not None
    return after, effects, reply.reply


def connecting() -> HubCall:
    return request(ringing(), FLAT, AcceptCall(CALL))[0]


def connected() -> HubCall:
    return request(connecting(), FLAT, WebrtcAnswer(CALL, ANSWER, 1))[0]


def restarting() -> HubCall:
    return request(connected(), DOOR, WebrtcRestart(CALL, 1), 5.0)[0]


def away(who: Party) -> HubCall:
    after, _ = handle(connected(), Vanished(5.0, who.endpoint))
    assert after is not None
    return after


def ended() -> HubCall:
    return request(connected(), DOOR, EndCall(CALL), 5.0)[0]


def told(effects: Effects, who: Party) -> list[object]:
    return [effect.notice for effect in effects if isinstance(effect, Tell) and effect.to == who.endpoint]


def kinds(effects: Effects, who: Party) -> list[type]:
    return [type(notice) for notice in told(effects, who)]
