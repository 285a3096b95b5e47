"""A connection gathered ahead, while it rings: when the call is answered, its addresses and its relay are there."""

import asyncio
from collections.abc import Callable, Hashable

from intercomd.adapters.webrtc.peer import Peer
from intercomd.media.epoch import PeerError

FRESH_S = 20.0
"""Some NATs drop a mapping that is not used for 30 s (Linux does before an answer; RFC 4787 asks for 2 minutes): one
that old is made anew."""
LIMIT_S = 150.0
"""The longest that a spare is kept. A call that still rings then gathers when it is answered, as without one."""


class Spare:
    """`key`: what it was made for and with, servers and network. `discard` closes a peer in the background. There are
    never more than two peers at a time, the second one only while it gathers."""

    def __init__(
        self, key: Hashable, make: Callable[[], Peer], discard: Callable[[Peer], None],
        fresh_s: float = FRESH_S, limit_s: float = LIMIT_S,
    ) -> None:  # fmt: skip
        self.key = key
        self._make = make
        self._discard = discard
        self._fresh_s = fresh_s
        self._peer: Peer | None = make()
        self._next: Peer | None = None
        self._loop = asyncio.get_running_loop()
        self._ends_s = self._loop.time() + limit_s
        self._task = self._loop.create_task(self._keep(self._peer), name="spare connection")

    async def _keep(self, first: Peer) -> None:
        try:
            await first.gather()
            while (rest_s := self._ends_s - self._loop.time()) > 0:
                await asyncio.sleep(min(self._fresh_s, rest_s))
                self._next = self._make()
                await self._next.gather()
                old, self._peer, self._next = self._peer, self._next, None
                self._drop(old)
        except PeerError:
            pass
        self._drop_all()

    def _drop(self, peer: Peer | None) -> None:
        if peer is not None:
            self._discard(peer)

    def _drop_all(self) -> None:
        peers, self._peer, self._next = (self._peer, self._next), None, None
        for peer in peers:
            self._drop(peer)

    def take(self) -> Peer | None:
        """The connection, for good, gathered or about to be; None where its time was over. The spare is closed."""
        peer, self._peer = self._peer, None
        self.close()
        return peer

    def close(self) -> None:
        """Idempotent."""
        self._task.cancel()
        self._drop_all()
