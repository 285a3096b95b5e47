"""baresip, an intercom's worth of SIP in C, as an anchor for delay and cost: plain RTP without encryption or ICE."""

import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

NOTE = ""


def missing() -> str:
    """Why it cannot be measured here; empty if it can."""
    if shutil.which("baresip") is None:
        return "baresip is not installed (apt install baresip-core)"
    return "not yet"


@asynccontextmanager
async def call(
    caller: tuple[str, str], callee: tuple[str, str], env: Mapping[str, str]
) -> AsyncIterator[Sequence[int]]:
    yield ()
