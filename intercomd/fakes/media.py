"""A `Media` without a network: two of them are joined by exchanging their descriptions, as two stations would.

Voice that is pushed into one end comes out of the other after a few periods, as with the real one; events come in the
same order and never from within a method. Knobs drop packets, hold everything back, never connect, or break.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from intercomd.core.vocabulary import Candidate, IceServer, Metrics, Sdp
from intercomd.media.jitter import Counts
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm, VoiceSink, VoiceSource
from intercomd.media.periods import PeriodRing
from intercomd.media.quality import BufferDelay, NetworkStats, Timing, metrics
from intercomd.ports import MediaListener

_PEER_CLOSED_GRACE_S = 0.5
_MAX_WAITING_CANDIDATES = 64
_PERIODS_PER_PACKET = 2
_PREFIX = "v=0 fake "

_tokens = itertools.count(1)
_ends: WeakValueDictionary[str, "_End"] = WeakValueDictionary()


class _Source:
    """The far end's voice."""

    def __init__(self, buffer_ms: int) -> None:
        self.ring = PeriodRing(buffer_ms)
        self.heard = self.concealed = 0
        self.first_voice_ns: int | None = None

    def pull(self) -> Pcm:
        period = self.ring.pull()
        if period is None:
            return SILENCE
        if self.first_voice_ns is None and period.any():
            self.first_voice_ns = time.monotonic_ns()
        return period


class _Sink:
    """The near end's voice, to whichever end is joined."""

    def __init__(self) -> None:
        self.to: Callable[[Pcm], None] | None = None

    def push(self, period: Pcm) -> None:
        to = self.to
        if to is not None:
            to(period)


class _End:
    """One end of a connection, for one epoch."""

    def __init__(self, media: "FakeMedia", epoch: int, offerer: bool) -> None:
        self.media = media
        self.epoch = epoch
        self.offerer = offerer
        self.token = f"{next(_tokens)}"
        self.remote: Sdp | None = None
        self.peer: _End | None = None
        self.over = self.up = False
        self.candidates: list[Candidate | None] = []
        self.sent = 0
        loop = asyncio.get_running_loop()
        self.timing = Timing(loop.time())
        self.timers = [loop.call_later(media.connect_limit_s, self._give_up)]
        _ends[self.token] = self

    def describe(self) -> None:
        sdp = Sdp("offer" if self.offerer else "answer", _PREFIX + self.token)
        self.media.tell(self, lambda listener: listener.described(self.epoch, sdp))

    def take(self, sdp: Sdp) -> None:
        if self.remote is not None:
            if sdp != self.remote:
                self.lose("the peer sent a second, different description; a running connection cannot be changed")
            return
        self.remote = sdp
        expected = "answer" if self.offerer else "offer"
        other = _ends.get(sdp.sdp.removeprefix(_PREFIX))
        if sdp.type != expected:
            self.lose(f"the peer sent an {sdp.type} where an {expected} was due")
        elif other is None:
            self.lose("the peer's description has no audio section")
        elif self.offerer:
            self.join(other)
        else:
            self.describe()

    def join(self, other: "_End") -> None:
        if self.media.connects and other.media.connects and not other.over:
            self.peer, other.peer = other, self
            self.come_up()
            other.come_up()

    def come_up(self) -> None:
        self.up = True
        self._cancel_timers()
        self.timing = Timing(self.timing.started_s, asyncio.get_running_loop().time())
        self.media.listen(self)
        self.media.tell(self, lambda listener: listener.media_up(self.epoch))

    def send(self, period: Pcm) -> None:
        """In the capture thread of this end."""
        peer, number = self.peer, self.sent // _PERIODS_PER_PACKET
        self.sent += 1
        if peer is not None and self.media.passes:
            lost = self.media.drops(number)
            peer.media.hear(peer, SILENCE if lost else period.copy(), lost=lost)

    def hush(self) -> None:
        """The other end sends nothing any more, not even reports."""
        media, loop = self.media, asyncio.get_running_loop()
        self.timers = [
            loop.call_later(media.silent_s, media.tell, self, lambda listener: listener.media_silent(self.epoch)),
            loop.call_later(
                media.lost_s, media.tell, self,
                lambda listener: listener.media_lost(self.epoch, f"no packet for {media.lost_s:g} s"),
            ),
        ]  # fmt: skip

    def return_(self) -> None:
        """The other end sends again."""
        spoke = any(timer.when() <= asyncio.get_running_loop().time() for timer in self.timers)
        self._cancel_timers()
        if spoke and not self.over:
            self.media.tell(self, lambda listener: listener.media_up(self.epoch))

    def _give_up(self) -> None:
        self.lose(f"no audio within {self.media.connect_limit_s:g} s: no path to the peer was found")

    def lose(self, reason: str) -> None:
        if not self.over:
            self.end()
            self.media.tell(self, lambda listener: listener.media_lost(self.epoch, reason))

    def end(self) -> None:
        """This end closes; the other one hears of it."""
        self.over = True
        self._cancel_timers()
        peer, self.peer = self.peer, None
        if peer is not None and not peer.over:
            loop = asyncio.get_running_loop()
            peer.timers.append(loop.call_later(_PEER_CLOSED_GRACE_S, peer.lose, "the peer closed the connection"))

    def _cancel_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers = []


class FakeMedia:
    """The `Media` port. Knobs: `connects`, `drops`, `passes`, `lose`."""

    def __init__(
        self,
        listener: MediaListener | None = None,
        *,
        buffer_ms: int = 40,
        connect_limit_s: float = 10.0,
        silent_s: float = 1.0,
        lost_s: float = 3.0,
    ) -> None:
        self.connect_limit_s = connect_limit_s
        self.silent_s = silent_s
        self.lost_s = lost_s
        self.connects = True
        """False: no path to any peer is ever found."""
        self.drops: Callable[[int], bool] = lambda _: False
        """Whether the packet of 20 ms with this number, sent by this end, is lost on the way."""
        self.prepared: Sequence[IceServer] | None = None
        """With which servers a connection stands ready."""
        self.local_address: str | None = None
        """What the port's property says."""
        self._passes = True
        self._listener = listener
        self._source = _Source(buffer_ms)
        self._sink = _Sink()
        self._current: _End | None = None

    def set_listener(self, listener: MediaListener) -> None:
        """Who hears of events."""
        self._listener = listener

    @property
    def passes(self) -> bool:
        """False: nothing that this end sends arrives, not even reports. To be set on the event loop."""
        return self._passes

    @passes.setter
    def passes(self, passes: bool) -> None:
        changed, self._passes = passes != self._passes, passes
        peer = self._current.peer if self._current is not None else None
        if changed and peer is not None:
            if passes:
                peer.return_()
            else:
                peer.hush()

    @property
    def candidates(self) -> Sequence[Candidate | None]:
        """What the running epoch was given."""
        return self._current.candidates if self._current is not None else ()

    def lose(self, reason: str) -> None:
        """The running connection breaks."""
        if self._current is not None:
            self._current.lose(reason)

    # ------------------------------------------------------------------------------------------------- the port

    def prepare(self, ice_servers: Sequence[IceServer]) -> None:
        """Noted for the test to see; there is nothing to gather."""
        if self._current is None:
            self.prepared = tuple(ice_servers)

    def start(self, epoch: int, offerer: bool, ice_servers: Sequence[IceServer]) -> None:  # noqa: ARG002
        """Begin an epoch; the last one ends. Servers are not needed here."""
        self.stop()
        self._current = _End(self, epoch, offerer)
        self._source.first_voice_ns = None
        if offerer:
            self._current.describe()

    def apply(self, epoch: int, sdp: Sdp) -> None:
        """The peer's description."""
        if self._current is not None and self._current.epoch == epoch and not self._current.over:
            self._current.take(sdp)

    def add_candidate(self, epoch: int, candidate: Candidate | None) -> None:
        """Kept for the test to see; it changes nothing."""
        end = self._current
        if end is not None and end.epoch == epoch and len(end.candidates) < _MAX_WAITING_CANDIDATES:
            end.candidates.append(candidate)

    def stop(self) -> None:
        """End the epoch; nothing is prepared any more."""
        self.prepared = None
        end, self._current = self._current, None
        if end is not None:
            end.end()
            self._sink.to = None
            self._source.ring.clear()

    @property
    def source(self) -> VoiceSource:
        """The far end's voice."""
        return self._source

    @property
    def candidate_types(self) -> str | None:
        """Nothing is between the two ends."""
        return "host-host" if self._current is not None and self._current.up else None

    @property
    def sink(self) -> VoiceSink:
        """Where the near end's voice goes."""
        return self._sink

    def metrics(self) -> Metrics | None:
        """Of the running connection."""
        if self._current is None:
            return None
        source = self._source
        frames = PERIOD_FRAMES * (source.heard - source.concealed)
        counts = Counts(played_frames=frames, concealed_frames=PERIOD_FRAMES * source.concealed)
        lost = source.concealed // _PERIODS_PER_PACKET
        network = NetworkStats(source.heard // _PERIODS_PER_PACKET - lost, lost, 0.0, 0.0, 0.0)
        now_s = asyncio.get_running_loop().time()
        return metrics(network, counts, BufferDelay(0.04, 0.04), self._current.timing, now_s)

    @property
    def first_voice_ns(self) -> int | None:
        """When the far end was first heard in this epoch."""
        return self._source.first_voice_ns if self._current is not None else None

    @property
    def drift_ppm(self) -> float:
        """Both ends have one clock."""
        return 0.0

    @property
    def packet_s(self) -> float:
        """A usual one's."""
        return _PERIODS_PER_PACKET * PERIOD_FRAMES / RATE_HZ

    async def close(self) -> None:
        """Idempotent."""
        self.stop()

    # ------------------------------------------------------------------------------------------- for the two ends

    def tell(self, end: _End, word: Callable[[MediaListener], None]) -> None:
        """Later, and only if the epoch still runs then."""
        asyncio.get_running_loop().call_soon(self._deliver, end, word)

    def _deliver(self, end: _End, word: Callable[[MediaListener], None]) -> None:
        if end is self._current and self._listener is not None:
            word(self._listener)

    def listen(self, end: _End) -> None:
        """`end` is up: its voice goes out, its peer's comes in."""
        self._source.heard = self._source.concealed = 0
        self._sink.to = end.send

    def hear(self, end: _End, period: Pcm, *, lost: bool) -> None:
        """A period for `end`, in the other one's capture thread."""
        if end is self._current:
            self._source.heard += 1
            self._source.concealed += lost
            self._source.ring.put(period)
