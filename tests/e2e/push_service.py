"""A push service and the browsers behind it, for tests: it takes messages as RFC 8030 has it, and reads them as the
browser would, with the subscription's private key."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from intercomd.hub.push import webpush

LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came, decrypted; `claims` are those that the sender has signed, `sender` its public point."""

    headers: dict[str, str]
    claims: dict[str, Any]
    sender: str
    payload: dict[str, Any]


class Phone:
    """One subscription."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._key = ec.generate_private_key(webpush.CURVE)
        self._auth = os.urandom(webpush.SECRET_BYTES)

    @property
    def subscription(self) -> dict[str, Any]:
        point = webpush.encoded(webpush.point_of(self._key))
        return {"endpoint": self.endpoint, "keys": {"p256dh": point, "auth": webpush.encoded(self._auth)}}

    def read(self, body: bytes) -> dict[str, Any]:
        salt, length = body[:16], body[20]
        sender = body[21 : 21 + length]
        shared = self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(webpush.CURVE, sender))
        info = b"WebPush: info\0" + webpush.point_of(self._key) + sender
        key, nonce = webpush.derived(shared, self._auth, info, salt)
        text = AESGCM(key).decrypt(nonce, body[21 + length :], None)
        assert text[-1:] == b"\x02", "the last record (RFC 8188, 2)"
        found: dict[str, Any] = json.loads(text[:-1])
        return found


class PushService:
    """`statuses`: what it answers, one after the other; then 201."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.asked = 0
        self.received: list[Received] = []
        self._phones: dict[str, Phone] = {}
        self._changed = asyncio.Condition()

    def phone(self, name: str) -> Phone:
        phone = self._phones[f"/{name}"] = Phone(f"{self.url}/{name}")
        return phone

    async def take(self, count: int) -> list[Received]:
        """Wait until so many have come."""
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)
        return list(self.received)

    async def _post(self, request: web.Request) -> web.Response:
        self.asked += 1
        status = self.statuses.pop(0) if self.statuses else 201
        if status == 201:
            phone = self._phones[request.path]
            claims, sender = verified(request.headers["Authorization"], f"{urlsplit(self.url).netloc}")
            payload = phone.read(await request.read())
            async with self._changed:
                self.received.append(Received(dict(request.headers), claims, sender, payload))
                self._changed.notify_all()
        return web.Response(status=status)

    @classmethod
    @asynccontextmanager
    async def serving(cls) -> AsyncIterator[Self]:
        service, app = cls(), web.Application()
        app.router.add_post("/{name}", service._post)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield service
        finally:
            await runner.cleanup()


def verified(authorization: str, host: str) -> tuple[dict[str, Any], str]:
    """The claims, and who has signed them. Raises `InvalidSignature`."""
    scheme, _, rest = authorization.partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert scheme == "vapid"
    signed, _, signature = fields["t"].rpartition(".")
    raw = webpush.decoded(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public = ec.EllipticCurvePublicKey.from_encoded_point(webpush.CURVE, webpush.decoded(fields["k"]))
    public.verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))
    claims: dict[str, Any] = json.loads(webpush.decoded(signed.split(".")[1]))
    assert urlsplit(claims["aud"]).netloc == host
    return claims, fields["k"]
