"""ICE servers for clients: the configured ones, and TURN with credentials that are made for each answer, as coturn's
`use-auth-secret` takes them: they name who uses the relay, and end by themselves."""

import base64
import hashlib
import hmac
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from intercomd.core.vocabulary import IceServer
from intercomd.ids import IdentityId


@dataclass(frozen=True, slots=True)
class IceOffer:
    """`secret` is shared with the TURN server. Without `turn_urls` only the `configured` servers are offered."""

    configured: Sequence[IceServer] = ()
    turn_urls: Sequence[str] = ()
    secret: str = ""
    lifetime_s: int = 3600
    wall: Callable[[], float] = time.time
    """The TURN server judges the expiry by its wall clock, so the hub's steady clock is not the one to ask."""

    def servers(self, identity: IdentityId) -> list[IceServer]:
        """For one identity, with credentials that live for `lifetime_s` from now."""
        if not self.turn_urls:
            return list(self.configured)
        username = f"{math.floor(self.wall()) + self.lifetime_s}:{identity}"
        signature = hmac.digest(self.secret.encode(), username.encode(), hashlib.sha1)
        turn = IceServer(list(self.turn_urls), username, base64.b64encode(signature).decode())
        return [*self.configured, *self._stun(), turn]

    def _stun(self) -> list[IceServer]:
        """A TURN server answers STUN, too (RFC 8656 section 1), on the same port without TLS."""
        plain = (url.partition("?")[0] for url in self.turn_urls if url.startswith("turn:"))
        urls = list(dict.fromkeys("stun:" + url.removeprefix("turn:") for url in plain))
        return [IceServer(urls)] if urls else []
