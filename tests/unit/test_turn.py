"""ICE servers as the hub issues them."""

import base64
import hmac

from intercomd.core.vocabulary import IceServer
from intercomd.hub.turn import IceOffer
from intercomd.ids import IdentityId

DOOR, FLAT = IdentityId("door"), IdentityId("flat")
STUN = IceServer(["stun:s.example"])
URLS = ["turn:t.example:3478?transport=udp", "turn:t.example:3478?transport=tcp", "turns:t.example"]


def offer(**changed: object) -> IceOffer:
    settings = {"configured": [STUN], "turn_urls": URLS, "secret": "north", "lifetime_s": 600, "wall": lambda: 1000.9}
    return IceOffer(**{**settings, **changed})  # type: ignore[arg-type]


def test_credentials_name_their_end_and_their_user() -> None:
    configured, stun, turn = offer().servers(DOOR)
    assert configured == STUN
    assert stun == IceServer(["stun:t.example:3478"]), "a TURN server answers STUN, too; not behind TLS"
    assert turn.urls == URLS
    assert turn.username == "1600:door"
    assert turn.credential == base64.b64encode(hmac.digest(b"north", b"1600:door", "sha1")).decode()


def test_each_answer_and_each_identity_has_its_own() -> None:
    now_s = [1000.0]
    fresh = offer(wall=lambda: now_s[0])
    first = fresh.servers(DOOR)[-1]
    now_s[0] += 60
    assert {fresh.servers(DOOR)[-1].username, fresh.servers(FLAT)[-1].username} == {"1660:door", "1660:flat"}
    assert fresh.servers(DOOR)[-1].credential != first.credential


def test_without_turn_there_are_the_configured_servers() -> None:
    assert offer(turn_urls=()).servers(DOOR) == [STUN]
