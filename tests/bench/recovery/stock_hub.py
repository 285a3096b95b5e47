"""The stock pair's hub: python-socketio as its examples have it, passing each message on to the other one.

python -m tests.bench.recovery.stock_hub ADDRESS PORT
"""

import sys
from typing import Any

import socketio
from aiohttp import web


def application() -> web.Application:
    """With the library's own ping times."""
    hub = socketio.AsyncServer(async_mode="aiohttp")

    @hub.event  # type: ignore[untyped-decorator]
    async def signal(sid: str, data: Any) -> None:
        await hub.emit("signal", data, skip_sid=sid)

    app = web.Application()
    hub.attach(app)
    return app


if __name__ == "__main__":
    web.run_app(application(), host=sys.argv[1], port=int(sys.argv[2]), print=None)
