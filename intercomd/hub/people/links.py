"""Links that are handed to people. A code stands behind `#`, which browsers do not send to servers or proxies."""

import io
import socket

import segno

from intercomd.config import Hub
from intercomd.hub.people.administrators import Purpose


def public_url(hub: Hub, port: int | None = None) -> str:
    """Where people reach the hub, without a slash at the end. `port`: the one it listens on, if it is known better
    than by the settings."""
    if hub.public_url:
        return hub.public_url.rstrip("/")
    host = socket.gethostname() if hub.listen in ("0.0.0.0", "::") else hub.listen  # noqa: S104
    return f"{'https' if hub.uses_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port or hub.port}"


def invitation(url: str, code: str) -> str:
    """A resident's."""
    return f"{url}/#{code}"


def administrator(url: str, code: str, purpose: Purpose) -> str:
    """`#set-up=CODE` or `#password=CODE`."""
    return f"{url}/admin#{purpose.value}={code}"


def qr(text: str) -> str:
    """As SVG: black on white with its quiet zone (ISO/IEC 18004), as large as its place."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        out, kind="svg", xmldecl=False, nl=False, omitsize=True, border=4, light="#fff"
    )
    return out.getvalue().decode()
