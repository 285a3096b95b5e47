"""An epoch: the life of one peer connection, from its first description to its end, under limits.

It knows neither calls nor the WebRTC library: a `Peer` carries out what it orders. Every wait is bounded, every way to
fail ends in one event with its reason. Runs on the event loop.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import process_time
from typing import Protocol

from intercomd.core.vocabulary import Candidate, Metrics, Sdp
from intercomd.media.description import DescriptionError, sanitised, takes_short_packets, usable
from intercomd.media.near_end import SentVoice
from intercomd.media.quality import BufferDelay, NetworkStats, Timing, metrics, smoothed_loss
from intercomd.media.sending import Report
from intercomd.media.voice import ReceivedVoice
from intercomd.media.watchdog import Limits, Pulse, Watchdog

_MAX_WAITING_CANDIDATES = 64
_WATCH_S = 0.1
_STATS_EVERY = 10
"""In turns of the watch: statistics once a second, and in each turn in which no voice came."""


class PeerError(Exception):
    """The connection will carry nothing; the text says why, without repeating any of a description."""


@dataclass(frozen=True, slots=True)
class EpochLimits:
    """How long coming up may take, and when silence is a loss."""

    connect_s: float = 10.0
    silence: Limits = field(default_factory=Limits)


class Peer(Protocol):
    """One peer connection. What fails raises `PeerError`."""

    @property
    def voice_packets(self) -> int:
        """Packets of voice received so far."""
        ...

    @property
    def checks(self) -> int:
        """Checks of consent (STUN, RFC 7675) that the peer has made so far."""
        ...

    @property
    def local_address(self) -> str | None:
        """Where the packets leave from, once there is a path."""
        ...

    @property
    def candidate_types(self) -> str | None:
        """Of the two ends of the path, ours first, once there is one."""
        ...

    async def describe(self) -> Sdp:
        """Gather candidates and make the local description: the offer, or the answer to what was taken."""
        ...

    async def take(self, sdp: Sdp) -> None:
        """The peer's description, sanitised."""
        ...

    async def add_candidate(self, candidate: Candidate | None) -> None:
        """A usable candidate, or None for the end of candidates."""
        ...

    async def statistics(self) -> tuple[NetworkStats, int]:
        """And the count of all packets received, RTP and RTCP."""
        ...

    def detach(self) -> None:
        """From now on no voice in either direction."""
        ...

    async def close(self) -> None:
        """Within 2 s. Idempotent."""
        ...


MakePeer = Callable[[Callable[[], None], Callable[[str], None]], Peer]
"""Called with what to call at the first packet of voice, and with a reason when the connection is over."""


@dataclass(frozen=True, slots=True)
class Described:
    """The local description is complete."""

    sdp: Sdp


@dataclass(frozen=True, slots=True)
class Up:
    """The first packet of voice has come, or the first after silence."""


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing has come for the first limit."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The epoch carries nothing: it never came up, it is over, or nothing has come for the second limit. After the last
    of these alone `Up` may follow: the connection is kept, and a short outage ends by itself."""

    reason: str


Word = Described | Up | Silent | Lost


class Epoch:
    def __init__(
        self, number: int, offerer: bool, make_peer: MakePeer, limits: EpochLimits,
        sent: SentVoice, received: ReceivedVoice, tell: Callable[["Epoch", Word], None],
    ) -> None:  # fmt: skip
        self.number = number
        self._offerer = offerer
        self._limits = limits
        self._sent = sent
        self._received = received
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._remote: asyncio.Future[Sdp] = self._loop.create_future()
        self._first: asyncio.Future[None] = self._loop.create_future()
        self._candidates: asyncio.Queue[Candidate | None] = asyncio.Queue(_MAX_WAITING_CANDIDATES)
        self._left_out = 0
        self._stage = ""
        self._failure: str | None = None
        self._watchdog = Watchdog(limits.silence)
        self._other_packets = 0
        self._network = NetworkStats()
        self._peer_loss = 0.0
        self._takes_short = False
        self._cpu_s, self._reported_s = process_time(), self._loop.time()
        self._timing = Timing(self._loop.time())
        self._peer = make_peer(self._hear_first, self.fail)
        self._tasks = [self._loop.create_task(self._live(), name=f"media epoch {number}")]
        self._tasks[0].add_done_callback(self._note_end)

    # ------------------------------------------------------------------------------------------- from the port

    def apply(self, sdp: Sdp) -> None:
        """The peer's description; the same one again does nothing."""
        if not self._remote.done():
            self._remote.set_result(sdp)
        elif self._failure is None and self._remote.result() != sdp:
            self.fail("the peer sent a second, different description; a running connection cannot be changed")

    def add_candidate(self, candidate: Candidate | None) -> None:
        """Kept until the peer's description is there; beyond 64 they are dropped."""
        if not self._candidates.full():
            self._candidates.put_nowait(candidate)

    def metrics(self) -> Metrics:
        """As of the last second's statistics."""
        received = self._received
        delay = BufferDelay(received.delay_s, received.target_s)
        return metrics(self._network, received.counts, delay, self._timing, self._loop.time())

    @property
    def local_address(self) -> str | None:
        return self._peer.local_address

    @property
    def candidate_types(self) -> str | None:
        return self._peer.candidate_types

    def detach(self) -> None:
        """No voice from or to this epoch any more."""
        self._peer.detach()

    async def close(self) -> None:
        """Within 2 s, whatever servers and peer do."""
        self.detach()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._peer.close()

    def fail(self, reason: str) -> None:
        """End this epoch; heard as `media_lost`."""
        if self._failure is not None:
            return
        self._failure = reason
        for waiter in (self._first, self._remote):
            if not waiter.done():
                waiter.set_exception(PeerError(reason))
                waiter.exception()  # taken note of: perhaps nobody waits for it any more

    # ---------------------------------------------------------------------------------------------------- life

    async def _live(self) -> None:
        reason = await self._come_up()
        if reason is None:
            reason = await self._watch()
        if self._watchdog.pulse is not Pulse.LOST:
            self._tell(self, Lost(reason))
        self._peer.detach()
        await self._peer.close()

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours must not leave a call without its watchdog: it is a loss, and the loop hears of it."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._tell(self, Lost(f"the media path failed by itself ({type(error).__name__})"))
            self._loop.call_exception_handler({"message": "an epoch's task failed", "exception": error, "task": task})

    async def _come_up(self) -> str | None:
        """None when the first packet of voice has come, else why none will."""
        try:
            async with asyncio.timeout(self._limits.connect_s):
                await self._negotiate()
                await self._first
        except TimeoutError:
            return f"no audio within {self._limits.connect_s:g} s: {self._stage}"
        except (PeerError, DescriptionError) as error:
            return str(error)
        return None

    async def _negotiate(self) -> None:
        if self._offerer:
            await self._describe()
        self._stage = f"the peer's {'answer' if self._offerer else 'offer'} did not come"
        await self._take(await self._remote)
        if not self._offerer:
            await self._describe()
        self._tasks.append(self._loop.create_task(self._feed_candidates()))
        self._stage = "no path to the peer was found, or it did not finish DTLS, or it sends nothing"

    async def _describe(self) -> None:
        self._stage = "no local description could be made"
        self._tell(self, Described(await self._peer.describe()))

    async def _take(self, sdp: Sdp) -> None:
        expected = "answer" if self._offerer else "offer"
        if sdp.type != expected:
            raise PeerError(f"the peer sent an {sdp.type} where an {expected} was due")
        self._stage = f"the peer's {sdp.type} was not taken"
        clean = sanitised(sdp.sdp)
        self._left_out += clean.left_out
        self._takes_short = takes_short_packets(clean.sdp)
        await self._peer.take(Sdp(sdp.type, clean.sdp))

    async def _feed_candidates(self) -> None:
        """An end of candidates is passed on only where all were usable (see `media/description.py`)."""
        while True:
            candidate = await self._candidates.get()
            if candidate is not None and not candidate.candidate:
                candidate = None  # how a browser writes the end of candidates (WebRTC 1.0 section 4.8.1.1)
            if candidate is None and self._left_out:
                continue
            if candidate is not None and not usable(candidate.candidate):
                self._left_out += 1
                continue
            try:
                await self._peer.add_candidate(candidate)
            except PeerError:
                self._left_out += 1

    # --------------------------------------------------------------------------------------------------- watching

    def _hear_first(self) -> None:
        if not self._first.done():
            self._timing = replace(self._timing, up_s=self._loop.time())
            self._watchdog.feed(self._loop.time(), 1)
            self._first.set_result(None)
            self._tell(self, Up())

    async def _watch(self) -> str:
        """Until the connection is over; says why."""
        turn = heard = 0
        while self._failure is None:
            await asyncio.sleep(_WATCH_S)
            if turn % _STATS_EVERY == 0 or self._peer.voice_packets == heard:
                await self._read_statistics()
            if turn % _STATS_EVERY == 0:
                self._report()
            turn, heard = turn + 1, self._peer.voice_packets
            self._judge(self._watchdog.feed(self._loop.time(), heard + self._other_packets, self._peer.checks))
        return self._failure

    async def _read_statistics(self) -> None:
        try:
            self._network, packets = await self._peer.statistics()
        except PeerError:  # figures are missing then, and RTCP is not counted; the call goes on
            return
        self._other_packets = max(self._other_packets, packets - self._peer.voice_packets)
        self._peer_loss = smoothed_loss(self._peer_loss, self._network.peer_loss)

    def _report(self) -> None:
        """Once a second, however often the statistics are read: what is sent is laid out by counting reports."""
        cpu_s, now_s = process_time(), self._loop.time()
        cpu_ratio = (cpu_s - self._cpu_s) / max(now_s - self._reported_s, _WATCH_S)
        self._cpu_s, self._reported_s = cpu_s, now_s
        network = self._network
        self._sent.report(
            Report(self._peer_loss, network.round_trip_s, network.peer_jitter_s, cpu_ratio, self._takes_short)
        )

    def _judge(self, pulse: Pulse | None) -> None:
        if pulse is Pulse.UP:
            self._tell(self, Up())
        elif pulse is Pulse.SILENT:
            self._tell(self, Silent())
        elif pulse is Pulse.LOST:
            # The connection stays: after a short outage audio is back before a new one could be negotiated.
            self._tell(self, Lost(f"no packet for {self._watchdog.lost_after_s:g} s"))
