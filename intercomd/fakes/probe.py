"""A `Probe` that asks no network: servers are what the test says they are."""

import asyncio
from dataclasses import dataclass

from intercomd.ports import Probed, Verdict


@dataclass(slots=True)
class FakeServer:
    """A server's knobs: `answers`, and whose credentials it takes (None: it asks for none, as STUN)."""

    round_trip_s: float = 0.02
    users: dict[str, str] | None = None
    answers: bool = True


class FakeProbe:
    """The `Probe` port. `servers` by URL; what is not there does not answer. `asked` in their order."""

    def __init__(self, servers: dict[str, FakeServer] | None = None) -> None:
        self.servers = servers or {}
        self.asked: list[str] = []

    async def __call__(self, url: str, username: str | None, credential: str | None) -> Probed:
        self.asked.append(url)
        await asyncio.sleep(0)
        if url.partition(":")[0] not in ("stun", "turn", "turns"):
            return Probed(Verdict.UNSUPPORTED, reason="aiortc does not speak this transport")
        server = self.servers.get(url)
        if server is None or not server.answers:
            return Probed(Verdict.UNREACHABLE, reason="it does not answer within 3 s")
        if server.users is not None and (username is None or server.users.get(username) != credential):
            return Probed(Verdict.REFUSED, reason="it refuses the credentials (401)")
        return Probed(Verdict.GOOD, server.round_trip_s)
