"""Web Push without a network: the encryption of RFC 8291, who is written to, and a call that waits for a phone."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from intercomd.core.admission import Admission, admit
from intercomd.core.legs import HubCall, view
from intercomd.core.protocol import AcceptCall, RejectCall
from intercomd.core.switch import handle
from intercomd.core.switchboard import LeaseExpired, Returned, Unreached
from intercomd.core.vocabulary import EndReason, HubPhase
from intercomd.hub.push import webpush
from intercomd.hub.push.courier import Courier, Outcome, outcome_of
from intercomd.ids import IdentityId
from tests.unit.hub_calls import CALL, DESK, DOOR, FLAT, initiate, request

# RFC 8291, Appendix A.
TEXT = b"When I grow up, I want to be a watermelon"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
RECEIVER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SECRET = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
FLAT_ID, DESK_ID = IdentityId("flat"), IdentityId("desk")


def test_the_example_of_the_rfc() -> None:
    mine = ec.derive_private_key(int.from_bytes(webpush.decoded(SENDER), "big"), webpush.CURVE)
    body = webpush.encrypt(TEXT, webpush.keys(RECEIVER, SECRET), mine, webpush.decoded(SALT))
    assert webpush.encoded(body) == BODY


@pytest.mark.parametrize(
    ("point", "secret"), [("", SECRET), (RECEIVER, "AAAA"), (RECEIVER[:-4], SECRET), ("A" * 87, SECRET), ("ä", SECRET)]
)
def test_what_is_no_key_is_refused(point: str, secret: str) -> None:
    with pytest.raises(ValueError, match=r"(bytes|base64|point|string)"):
        webpush.keys(point, secret)


def test_the_signature_names_the_service_and_whom_to_write_to() -> None:
    key = ec.generate_private_key(webpush.CURVE)
    words = webpush.authorization(key, "https://push.example.net/x/y?z", "mailto:caretaker@example.net", 1000.0)
    claims = json.loads(webpush.decoded(words.split("t=")[1].split(",")[0].split(".")[1]))
    assert claims["aud"] == "https://push.example.net"
    assert claims["sub"] == "mailto:caretaker@example.net"
    assert 1000.0 < claims["exp"] <= 1000.0 + 24 * 3600


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example.net/x", "https://127.0.0.1/x", "https://10.0.0.7/x", "https://[::1]/x", "ftp://x/y",
        "https://[::ffff:192.168.1.1]/x", "https://169.254.169.254/latest", "https://push.example.net:8443/x",
        "https://127.1/x", "https://2130706433/x", "https://0x7f.1/x", "https://127.0.0.1./x", "https://%31%32%37.1/x",
        "https://user@push.example.net/x", "https:///x", "https://push.example.net/" + "x" * 3000,
    ],
)  # fmt: skip
async def test_the_hub_writes_to_no_neighbour(endpoint: str) -> None:
    courier = Courier()
    with pytest.raises(ValueError, match="an endpoint "):
        courier.check(endpoint)
    courier.check("https://push.example.net/x")


async def test_a_name_of_this_machine_is_not_written_to() -> None:
    courier = Courier()
    try:
        assert await courier.send("https://localhost/x", b"", {}) is Outcome.UNREACHABLE
    finally:
        await courier.close()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(201, "accepted"), (404, "gone"), (410, "gone"), (429, "overloaded"), (503, "overloaded"), (400, "refused")],
)
def test_what_a_push_service_means(status: int, outcome: str) -> None:
    assert outcome_of(status).value == outcome


# ------------------------------------------------------------------------------------------ a call that waits


def waking(*free: object, members: tuple[IdentityId, ...] = (FLAT_ID,)) -> HubCall:
    facts = Admission(members, tuple(free), wakeable=(FLAT_ID,))  # type: ignore[arg-type]
    call, _ = handle(None, initiate(admission=facts))
    assert call is not None
    return call


def test_without_a_device_but_with_a_phone_it_rings_and_the_page_answers() -> None:
    call = waking()
    assert (call.phase, call.woken, call.awaited) == (HubPhase.RINGING, (FLAT_ID,), (FLAT_ID,))
    seen = view(call, DOOR.endpoint)
    assert seen is not None
    assert seen.peer_present, "the caller hears it ring"
    opened, _ = handle(call, Returned(1.0, FLAT))
    assert opened is not None
    assert (opened.woken, opened.awaited) == ((FLAT_ID,), ())
    answered, _, reply = request(opened, FLAT, AcceptCall(CALL))
    assert reply.ok
    assert (answered.phase, answered.woken) == (HubPhase.CONNECTING, ())


def test_nobody_reached_is_nobody_there() -> None:
    call, _ = handle(waking(), Unreached(1.0, (FLAT_ID,)))
    assert call is not None
    assert (call.phase, call.end_reason) == (HubPhase.ENDED, EndReason.OFFLINE)


def test_what_rings_elsewhere_rings_on_when_a_phone_cannot_be_woken() -> None:
    call, _ = handle(waking(DESK, members=(FLAT_ID, DESK_ID)), Unreached(1.0, (FLAT_ID,)))
    assert call is not None
    assert (call.phase, call.woken, [leg.party for leg in call.ringing]) == (HubPhase.RINGING, (), [DESK])


def test_one_no_leaves_the_phone_of_somebody_else_ringing() -> None:
    call, _, _ = request(waking(DESK, members=(FLAT_ID, DESK_ID)), DESK, RejectCall(CALL))
    assert (call.phase, call.woken) == (HubPhase.RINGING, (FLAT_ID,))


def test_a_phone_that_nobody_takes_is_a_missed_call() -> None:
    call = waking()
    over, _ = handle(call, LeaseExpired(call.until_s))
    assert over is not None
    assert (over.phase, over.end_reason, over.woken) == (HubPhase.ENDED, EndReason.TIMEOUT, ())


def test_who_talks_or_wants_quiet_is_not_woken() -> None:
    everybody = lambda _: True  # noqa: E731
    other, _ = handle(None, initiate(FLAT, caller=DESK))
    assert other is not None
    busy = admit({FLAT.endpoint: other}, {}, DOOR.endpoint, [FLAT_ID], reachable=everybody)
    assert (busy.busy, busy.wakeable) == (True, ())
    quiet = admit({}, {}, DOOR.endpoint, [FLAT_ID], silence=everybody, reachable=everybody)
    assert (quiet.quiet, quiet.wakeable) == (True, ())
    assert admit({}, {}, DOOR.endpoint, [FLAT_ID], reachable=everybody).wakeable == (FLAT_ID,)
