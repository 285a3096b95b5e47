"""Messages that a browser's push service passes on and cannot read: encryption by RFC 8291 (in the coding of RFC 8188),
and the signature by which the service knows this hub again (VAPID, RFC 8292).

Pure: keys, salt and time come from outside."""

import base64
import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE: Final = ec.SECP256R1()
RECORD_BYTES: Final = 4096
"""What every push service must take (RFC 8030, 7.2): one record, with its tag and delimiter."""
MAX_PAYLOAD_BYTES: Final = 2048
SIGNED_FOR_S: Final = 12 * 3600.0
"""RFC 8292 allows a day; the clocks of both need not agree."""
POINT_BYTES: Final = 65
SECRET_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Keys:
    """Of a subscription: the browser's public point (uncompressed, 65 bytes) and its secret (16 bytes)."""

    p256dh: bytes
    auth: bytes


def keys(p256dh: str, auth: str) -> Keys:
    """From base64url. Raises `ValueError` for what is no key."""
    point, secret = decoded(p256dh), decoded(auth)
    if len(point) != POINT_BYTES or len(secret) != SECRET_BYTES:
        raise ValueError(f"p256dh must be {POINT_BYTES} bytes and auth {SECRET_BYTES}, in base64url")
    ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
    return Keys(point, secret)


def encrypt(payload: bytes, to: Keys, mine: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """The body of one message. `mine` and `salt` (16 bytes) are for this message only."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} fit into a push message")
    ours = point_of(mine)
    shared = mine.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, to.p256dh))
    content_key, nonce = derived(shared, to.auth, b"WebPush: info\0" + to.p256dh + ours, salt)
    header = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return header + AESGCM(content_key).encrypt(nonce, payload + b"\x02", None)


def derived(shared: bytes, auth: bytes, info: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """The content's key and nonce (RFC 8291, 3.4)."""
    secret = _hkdf(auth, shared, info, 32)
    return (
        _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16),
        _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12),
    )


def authorization(key: ec.EllipticCurvePrivateKey, endpoint: str, subject: str, now_s: float) -> str:
    """The header by which the push service of `endpoint` knows who sends (RFC 8292, 3)."""
    url = urlsplit(endpoint)
    claims = {"aud": f"{url.scheme}://{url.netloc}", "exp": round(now_s + SIGNED_FOR_S), "sub": subject}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return f"vapid t={signed}.{signature}, k={encoded(point_of(key))}"


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Its public half, uncompressed."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def encoded(raw: bytes) -> str:
    """Base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Raises `ValueError`."""
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)


def _hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)
