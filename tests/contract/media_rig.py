"""Two stations without cards: media under test, a listener, and a thread that pushes and pulls every 10 ms."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pytest

from intercomd.core.vocabulary import Candidate, IceServer, Metrics, Sdp
from intercomd.fakes.media import FakeMedia
from intercomd.media.pcm import PERIOD_FRAMES, SILENCE, Pcm, VoiceSink, VoiceSource
from intercomd.ports import MediaListener

LIMIT_S = 8.0
"""For anything that is awaited here."""


class Listener:
    """Notes what media tells; `heard` waits for a word."""

    def __init__(self) -> None:
        self.words: list[tuple[str, int, object]] = []
        self.on_described: Callable[[int, Sdp], None] = lambda *_: None
        self._more = asyncio.Event()

    def _note(self, word: str, epoch: int, detail: object = None) -> None:
        self.words.append((word, epoch, detail))
        self._more.set()

    def described(self, epoch: int, sdp: Sdp) -> None:
        self._note("described", epoch, sdp)
        self.on_described(epoch, sdp)

    def candidate_gathered(self, epoch: int, candidate: Candidate | None) -> None:
        self._note("candidate", epoch, candidate)

    def media_up(self, epoch: int) -> None:
        self._note("up", epoch)

    def media_silent(self, epoch: int) -> None:
        self._note("silent", epoch)

    def media_lost(self, epoch: int, reason: str) -> None:
        self._note("lost", epoch, reason)

    def of(self, epoch: int) -> list[str]:
        """The words about an epoch, in their order."""
        return [word for word, number, _ in self.words if number == epoch]

    async def heard(self, word: str, epoch: int, times: int = 1) -> Any:
        """Wait for a word to have come so often; gives its last detail."""
        async with asyncio.timeout(LIMIT_S):
            while len(found := [d for w, e, d in self.words if (w, e) == (word, epoch)]) < times:
                self._more.clear()
                await self._more.wait()
        return found[times - 1]


class MediaUnderTest(Protocol):
    """The port and what tests may know of both kinds."""

    def set_listener(self, listener: MediaListener) -> None: ...
    def prepare(self, ice_servers: Sequence[IceServer]) -> None: ...
    def start(self, epoch: int, offerer: bool, ice_servers: Sequence[IceServer]) -> None: ...
    def apply(self, epoch: int, sdp: Sdp) -> None: ...
    def add_candidate(self, epoch: int, candidate: Candidate | None) -> None: ...
    def stop(self) -> None: ...
    @property
    def source(self) -> VoiceSource: ...
    @property
    def sink(self) -> VoiceSink: ...
    @property
    def candidate_types(self) -> str | None: ...
    def metrics(self) -> Metrics | None: ...
    async def close(self) -> None: ...


class Station:
    """Media with its listener and, while `talking`, an audio thread."""

    def __init__(self, media: MediaUnderTest) -> None:
        self.media = media
        self.listener = Listener()
        media.set_listener(self.listener)
        self.voice: Pcm | None = None
        self._heard: list[Pcm] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def talk(self, voice: Pcm | None) -> None:
        """Push `voice` (None: the microphone is closed) and pull until `hush`."""
        self.voice, self._heard = voice, []
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="card of a test")
        self._thread.start()

    def _run(self) -> None:
        begin_s, turn = time.monotonic(), 0
        while not self._stop.is_set():
            if self.voice is not None:
                period = self.voice[turn * PERIOD_FRAMES : (turn + 1) * PERIOD_FRAMES]
                self.media.sink.push(period if len(period) == PERIOD_FRAMES else SILENCE)
            self._heard.append(self.media.source.pull())
            turn += 1
            self._stop.wait(max(0.0, begin_s + turn * 0.01 - time.monotonic()))

    def hush(self) -> Pcm:
        """Stop the thread; what was heard."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return np.concatenate(self._heard or [SILENCE])

    async def close(self) -> None:
        self.hush()
        await self.media.close()


class Kind(Protocol):
    """How one kind of media is made, and how a wire between two of them is hurt."""

    def make(self, **settings: Any) -> MediaUnderTest: ...
    def drop(self, media: Any, which: Callable[[int], bool]) -> None: ...
    def hold(self, media: Any, held: bool) -> None: ...


class FakeKind:
    def make(self, **settings: Any) -> FakeMedia:
        return FakeMedia(**settings)

    def drop(self, media: FakeMedia, which: Callable[[int], bool]) -> None:
        media.drops = which

    def hold(self, media: FakeMedia, held: bool) -> None:
        media.passes = not held


class RealKind:
    """aiortc over this machine's own addresses; datagrams are dropped where aioice hands them to the socket."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        from aioice.ice import StunProtocol

        self._drops: dict[int, Callable[[int], bool]] = {}
        self._counts: dict[int, int] = {}
        self._held: set[int] = set()
        send_data = StunProtocol.send_data

        async def send(protocol: Any, data: bytes, address: tuple[str, int]) -> None:
            if not self._lost(id(protocol.receiver), data):
                await send_data(protocol, data, address)

        patch.setattr(StunProtocol, "send_data", send)

    def _lost(self, connection: int, data: bytes) -> bool:
        if connection in self._held:
            return True
        rtp = 128 <= data[0] < 192 and not 64 <= data[1] & 127 <= 95
        if not rtp or connection not in self._drops:
            return False
        number = self._counts[connection] = self._counts.get(connection, -1) + 1
        return self._drops[connection](number)

    def make(self, **settings: Any) -> MediaUnderTest:
        from intercomd.adapters.webrtc import WebRtcMedia

        return WebRtcMedia(**{"allow_loopback": True, **settings})

    def _connection(self, media: Any) -> int:
        return id(media._current._peer._connection())

    def drop(self, media: Any, which: Callable[[int], bool]) -> None:
        self._drops[self._connection(media)] = which

    def hold(self, media: Any, held: bool) -> None:
        if held:
            self._held.add(self._connection(media))
        else:
            self._held.discard(self._connection(media))


class Pair:
    """A caller and a callee whose descriptions reach each other, unless a test takes that over."""

    def __init__(self, kind: Kind, **settings: Any) -> None:
        self.kind = kind
        self.caller, self.callee = Station(kind.make(**settings)), Station(kind.make(**settings))
        self.caller.listener.on_described = lambda epoch, sdp: self.callee.media.apply(epoch, sdp)
        self.callee.listener.on_described = lambda epoch, sdp: self.caller.media.apply(epoch, sdp)

    def start(self, epoch: int = 1) -> None:
        self.callee.media.start(epoch, False, ())
        self.caller.media.start(epoch, True, ())

    async def come_up(self, epoch: int = 1) -> None:
        self.start(epoch)
        await self.caller.listener.heard("up", epoch)
        await self.callee.listener.heard("up", epoch)

    async def close(self) -> None:
        await asyncio.gather(self.caller.close(), self.callee.close())


def connection_of(station: Station) -> Any:
    """aioice's."""
    return station.media._current._peer._connection()  # type: ignore[attr-defined]


def peer_connection_of(station: Station) -> Any:
    """aiortc's RTCPeerConnection."""
    return station.media._current._peer._pc  # type: ignore[attr-defined]


MakePair = Callable[..., Pair]
