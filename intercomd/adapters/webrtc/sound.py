"""The two hooks into aiortc's audio: our Opus packets go out through a local track, raw packets come in through a sink
that stands where the receiver's jitter buffer was."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from time import monotonic
from types import SimpleNamespace
from typing import Any, cast

import av
from aiortc import RTCRtpReceiver
from aiortc.codecs import CODECS
from aiortc.mediastreams import MediaStreamTrack

from intercomd.media.near_end import SentVoice
from intercomd.media.packet import Packet
from intercomd.media.pcm import RATE_HZ
from intercomd.media.timeline import Timeline

SEAM = "_RTCRtpReceiver__jitter_buffer"
_OPUS_PARAMETERS = {"minptime": 10, "useinbandfec": 1}
"""What we can receive (RFC 7587 section 6.1). Without it browsers send no error correction."""
_TIME_BASE = Fraction(1, RATE_HZ)


def seam_intact() -> bool:
    """Whether this aiortc has the private attribute that the receive path goes through. To be asked at start-up."""
    unconnected = cast(Any, SimpleNamespace(state="new"))
    buffer = getattr(RTCRtpReceiver("audio", unconnected), SEAM, None)
    return callable(getattr(buffer, "add", None))


def ask_for_error_correction() -> None:
    """For all connections of this process."""
    CODECS["audio"][0].parameters = dict(_OPUS_PARAMETERS)


def opus_only() -> list[Any]:
    """The codec preferences of an intercom."""
    capabilities = RTCRtpReceiver.getCapabilities("audio")
    assert capabilities is not None
    return [codec for codec in capabilities.codecs if codec.mimeType.lower() == "audio/opus"]


class Sink:
    """Stands where the receiver's jitter buffer was. Called for each RTP packet: no logging, no copies."""

    def __init__(self, deliver: Callable[[Packet], None], first: Callable[[], None]) -> None:
        self._deliver: Callable[[Packet], None] | None = deliver
        self._first = first
        self.packets = 0

    def add(self, packet: Any) -> tuple[bool, None]:
        """The jitter buffer's signature: (no picture loss, no frame to decode)."""
        if self._deliver is not None:
            self._deliver(
                Packet(packet.sequence_number, packet.timestamp, packet.ssrc, packet._data, monotonic())  # noqa: SLF001
            )
            self.packets += 1
            if self.packets == 1:
                self._first()
        return False, None

    def detach(self) -> None:
        self._deliver = None


class VoiceTrack(MediaStreamTrack):
    """The near end's packets for aiortc's sender. `recv` never raises: an exception would end the sender for good while
    the connection still says `connected`."""

    kind = "audio"

    def __init__(self, voice: SentVoice) -> None:
        super().__init__()
        self._voice = voice
        self._running = asyncio.get_running_loop()
        self._timeline: Timeline | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._detached = False

    async def recv(self) -> "av.Packet[Any]":
        """The next packet of voice, or of silence when its time has come."""
        if self._timeline is None:
            self._timeline = Timeline(self._running.time())
            if not self._detached:
                self._voice.start(self._wake_from_capture)
        while True:
            ready = self._ready(self._timeline)
            if ready is not None:
                return ready
            await self._wait_until(self._timeline.due_s)

    def _ready(self, timeline: Timeline) -> "av.Packet[Any] | None":
        now_s = self._running.time()
        while not self._detached and (frame := self._voice.take()) is not None:
            timestamp = timeline.voice(frame.at_frames, frame.frames, now_s)
            if frame.payload is not None:
                return _av_packet(frame.payload, timestamp)
        if now_s >= timeline.due_s:
            return _av_packet(self._voice.silence, timeline.silence(self._voice.silence_frames, now_s))
        return None

    async def _wait_until(self, due_s: float) -> None:
        """Cheaper than `asyncio.wait_for`, which makes a task for each packet."""
        self._waiter = self._running.create_future()
        timer = self._running.call_at(due_s, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _wake_from_capture(self) -> None:
        with suppress(RuntimeError):  # the event loop has been closed: the process ends
            self._running.call_soon_threadsafe(self._wake)

    def detach(self) -> None:
        """Take no more voice: it belongs to the next connection."""
        self._detached = True


def _av_packet(payload: bytes, timestamp: int) -> "av.Packet[Any]":
    packet = av.Packet(payload)
    packet.pts, packet.time_base = timestamp, _TIME_BASE
    return packet
