"""WebRTC through aiortc: the `Media` port. `media/epoch.py` holds the life of a connection, this file its library.

aiortc's own audio path costs 80 ms always and 200 ms more after one lost packet, so two hooks go round it: our Opus
packets are what the local track returns (public API), and the receiver's jitter buffer, a private attribute, is
replaced by a sink that hands raw packets to `ReceivedVoice`. Without it (`seam_intact`) the stock track is used. Every
other reach into private parts is guarded: where it fails, the call works, with longer waits.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from types import SimpleNamespace
from typing import Any, assert_never, cast

import av
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.codecs import CODECS
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy
from aiortc.rtcicetransport import parse_stun_turn_uri
from aiortc.sdp import candidate_from_sdp
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from intercomd.core.protocol import Candidate, IceServer, Metrics, Sdp
from intercomd.media.epoch import Described, Epoch, EpochLimits, Lost, PeerError, Silent, Up, Word
from intercomd.media.packet import Packet
from intercomd.media.pcm import RATE_HZ, VoiceSink, VoiceSource
from intercomd.media.quality import NetworkStats, network_stats
from intercomd.media.timeline import Timeline
from intercomd.media.voice import ReceivedVoice, SentVoice
from intercomd.media.watchdog import Limits
from intercomd.ports import MediaListener

_log = logging.getLogger(__name__)

_SEAM = "_RTCRtpReceiver__jitter_buffer"
_OPUS_PARAMETERS = {"minptime": 10, "useinbandfec": 1}
"""What we can receive (RFC 7587 section 6.1). Without it browsers send no error correction."""
_TIME_BASE = Fraction(1, RATE_HZ)
_EXPEDITED_FORWARDING = 0xB8
"""DSCP EF in the TOS byte (RFC 8837): Wi-Fi then takes the packets as voice."""
_GATHERED_LIMIT_S, _CLOSED_LIMIT_S, _ABANDONED_LIMIT_S, _CHECKS_TURN_S = 1.0, 0.7, 0.2, 0.05
"""Closing: 2 s in all."""
_PEER_CLOSED_GRACE_S = 0.5
"""The peer's DTLS goodbye overtakes the hub's word that the call is over; only without such a word it is a loss."""

_REFUSALS = (
    ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError, OSError,
    InternalError, InvalidAccessError, InvalidStateError,
)  # fmt: skip
"""What aiortc raises for descriptions that it cannot use: its parser is written for well-behaved peers."""


def seam_intact() -> bool:
    """Whether this aiortc has the private attribute that the receive path goes through. To be asked at start-up."""
    unconnected = cast(Any, SimpleNamespace(state="new"))
    buffer = getattr(RTCRtpReceiver("audio", unconnected), _SEAM, None)
    return callable(getattr(buffer, "add", None))


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turn what aiortc raises into `PeerError`. Only its type: such messages repeat pieces of the description."""
    try:
        yield
    except _REFUSALS as error:
        raise PeerError(f"{what} ({type(error).__name__})") from error


class _Sink:
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


class _VoiceTrack(MediaStreamTrack):
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
            self._timeline = Timeline(self._voice.frames, self._running.time())
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
            timestamp = timeline.voice(frame.at_frames, now_s)
            if frame.payload is not None:
                return _av_packet(frame.payload, timestamp)
        if now_s >= timeline.due_s:
            return _av_packet(self._voice.silence, timeline.silence(now_s))
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


class _Peer:
    """An `epoch.Peer` on an RTCPeerConnection."""

    def __init__(
        self, offerer: bool, servers: list[RTCIceServer], ice: "_IceSettings", sent: SentVoice, received: ReceivedVoice,
        seam: bool, on_first: Callable[[], None], on_end: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._offerer = offerer
        self._ice = ice
        self._received = received
        self._on_first = on_first
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._sink = _Sink(received.deliver, on_first)
        self._track = _VoiceTrack(sent)
        self._decoding: asyncio.Task[None] | None = None
        self._gathering: asyncio.Future[Any] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._pc = RTCPeerConnection(_configuration(servers, relay_only=ice.relay_only))
        self._pc.on("connectionstatechange", self._hear_state)
        self._pc.addTrack(self._track)
        self._transceiver = self._pc.getTransceivers()[0]
        self._transceiver.setCodecPreferences(_opus_only())
        if seam:
            setattr(self._transceiver.receiver, _SEAM, self._sink)
        else:
            self._pc.on("track", self._hear_stock_track)
        self._bound_gathering()

    @property
    def voice_packets(self) -> int:
        return self._sink.packets

    async def describe(self) -> Sdp:
        with _refusals("no local description could be made"):
            await self._pc.setLocalDescription()
            text = self._pc.localDescription.sdp
        if "a=candidate:" not in text:
            lack = "no TURN server gave an address and transport_policy is relay"
            raise PeerError(f"there is no ICE candidate: {lack if self._ice.relay_only else 'no network address'}")
        _mark_as_voice(self._connection())
        return Sdp("offer" if self._offerer else "answer", text)

    async def take(self, sdp: Sdp) -> None:
        with _refusals(f"the peer's {sdp.type} cannot be used"):
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp.sdp, type=sdp.type))
            for other in self._pc.getTransceivers():
                if other is not self._transceiver:  # video, a second audio: unread, their frames would pile up
                    other.direction = "inactive"

    async def add_candidate(self, candidate: Candidate | None) -> None:
        with _refusals("the peer's candidate cannot be used"):
            parsed = None
            if candidate is not None:
                parsed = candidate_from_sdp(candidate.candidate.strip().removeprefix("a=").removeprefix("candidate:"))
                parsed.sdpMid, parsed.sdpMLineIndex = candidate.sdp_mid, candidate.sdp_m_line_index
            await self._pc.addIceCandidate(parsed)

    async def statistics(self) -> tuple[NetworkStats, int]:
        with _refusals("there are no statistics"):
            entries = list((await self._pc.getStats()).values())
        packets = [entry.packetsReceived for entry in entries if entry.type == "transport"]
        return network_stats(entries), sum(packets)

    def detach(self) -> None:
        self._sink.detach()
        self._track.detach()

    async def close(self) -> None:
        self._closing = self._closing or asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
        if self._decoding is not None:
            self._decoding.cancel()
            await asyncio.wait({self._decoding})
        if self._gathering is not None and not self._gathering.done():
            await asyncio.wait({self._gathering}, timeout=_GATHERED_LIMIT_S)
            self._gathering.cancel()
        closing = asyncio.ensure_future(_close_for_good(self._pc, self._connection()))
        _, pending = await asyncio.wait({closing}, timeout=_CLOSED_LIMIT_S)
        if pending:  # a TURN server that answers no more: aioice would ask it for another minute
            _abandon_allocations(self._connection())
            await asyncio.wait({closing}, timeout=_ABANDONED_LIMIT_S)
            closing.cancel()

    # ------------------------------------------------------------------------------------------- what comes in

    def _hear_state(self) -> None:
        if self._pc.connectionState == "failed" and self._closing is None:
            self._on_end("ICE found no path to the peer, or DTLS failed")
        elif self._pc.connectionState == "closed" and self._closing is None:
            self._grace = self._loop.call_later(_PEER_CLOSED_GRACE_S, self._on_end, "the peer closed the connection")

    def _hear_stock_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio" and self._decoding is None:
            self._decoding = self._loop.create_task(self._decode_stock(track))

    async def _decode_stock(self, track: MediaStreamTrack) -> None:
        """The way without the seam: aiortc's buffer and decoder, 80 ms and more later."""
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            for mono in resampler.resample(cast(AudioFrame, frame)):
                self._received.deliver_pcm(mono.to_ndarray()[0])
            self._sink.packets += 1
            self._on_first()

    # ----------------------------------------------------------------------------------------------------- ICE

    def _connection(self) -> Any:
        """aioice's connection: private to aiortc."""
        return getattr(self._transceiver.receiver.transport.transport, "_connection", None)

    def _bound_gathering(self) -> None:
        """A limit for silent servers (aioice waits 5 s for them), and loopback addresses where wanted (aioice never
        offers them). Private to aioice: without it gathering only takes longer."""
        connection = self._connection()
        gather = getattr(connection, "get_component_candidates", None)
        if gather is None:
            _log.warning("this aioice has no get_component_candidates: a silent STUN server costs 5 s per call")
            return

        async def bounded(component: int, addresses: list[str], **_: object) -> Any:
            chosen = self._ice.chosen(addresses)
            gathering = gather(component=component, addresses=chosen, timeout=self._ice.gather_limit_s)
            self._gathering = asyncio.ensure_future(gathering)
            # Cancelled in the middle, aioice would leave its queries behind: they end by the limit.
            return await asyncio.shield(self._gathering)

        connection.get_component_candidates = bounded


@dataclass(frozen=True, slots=True)
class _IceSettings:
    gather_limit_s: float
    relay_only: bool
    allow_loopback: bool

    def chosen(self, addresses: list[str]) -> list[str]:
        """The host addresses to offer, of those that aioice found (none for relay only)."""
        if self.relay_only or (addresses and not self.allow_loopback):
            return addresses
        return [*addresses, "127.0.0.1"]


def _opus_only() -> list[Any]:
    capabilities = RTCRtpReceiver.getCapabilities("audio")
    assert capabilities is not None
    return [codec for codec in capabilities.codecs if codec.mimeType.lower() == "audio/opus"]


def _configuration(servers: list[RTCIceServer], *, relay_only: bool) -> RTCConfiguration:
    # An empty list, never None: None means Google's STUN server to aiortc.
    policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
    return RTCConfiguration(servers, policy, RTCBundlePolicy.MAX_BUNDLE)


def _usable_servers(servers: Sequence[IceServer]) -> list[RTCIceServer]:
    """Servers whose URLs aiortc can parse. It takes the first STUN and the first usable TURN URL of them all: whoever
    orders the list chooses."""
    usable_servers = []
    for server in servers:
        urls = [url for url in server.urls if _parses(url)]
        if urls:
            usable_servers.append(RTCIceServer(urls, server.username, server.credential))
    return usable_servers


def _parses(url: str) -> bool:
    try:
        parse_stun_turn_uri(url)
    except ValueError:
        _log.warning("an ICE server's URL is not one of RFC 7064 or RFC 7065 and is left out")
        return False
    return True


def _mark_as_voice(connection: Any) -> None:
    """DSCP on the sockets. Private API of aioice; a network that ignores it changes nothing."""
    for protocol in getattr(connection, "_protocols", ()):
        sock = protocol.transport.get_extra_info("socket")
        if sock is None:  # a relayed one
            continue
        try:
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED_FORWARDING)
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED_FORWARDING)
        except OSError:
            _log.debug("the voice's packets cannot be marked (DSCP)")


def _abandon_allocations(connection: Any) -> None:
    """Stop waiting for TURN servers to confirm that an allocation is given up; they free it by themselves (RFC 8656
    section 6)."""
    for protocol in getattr(connection, "_protocols", ()):
        task = getattr(protocol.transport, "_TurnTransport__close_task", None)
        if task is not None:
            task.cancel()


async def _close_for_good(pc: RTCPeerConnection, connection: Any) -> None:
    """Closed in the moment in which it comes up, aiortc starts sender and receiver all the same, and aioice asks for
    consent (RFC 7675), for ever. One turn of the checks (20 ms) later all of that has begun, and can be ended."""
    await pc.close()
    await asyncio.sleep(_CHECKS_TURN_S)
    await asyncio.gather(*(transceiver.stop() for transceiver in pc.getTransceivers()))
    asking = getattr(connection, "_query_consent_task", None)
    if asking is not None and not asking.done():
        asking.cancel()
        await asyncio.wait({asking})


class WebRtcMedia:
    """The `Media` port. Construct it anywhere; its methods belong to the event loop."""

    def __init__(
        self,
        listener: MediaListener | None = None,
        *,
        bitrate_bps: int = 28_000,
        frame_ms: int = 20,
        fec: bool = True,
        dtx: bool = False,
        complexity: int = 5,
        buffer_ms: int = 40,
        gather_limit_s: float = 1.0,
        connect_limit_s: float = 10.0,
        transport_policy: str = "all",
        allow_loopback: bool = False,
        silent_s: float = 1.0,
        lost_s: float = 3.0,
    ) -> None:
        """Raises `OpusError` without libopus."""
        CODECS["audio"][0].parameters = dict(_OPUS_PARAMETERS)
        self._listener = listener
        self._sent = SentVoice(bitrate_bps=bitrate_bps, frame_ms=frame_ms, fec=fec, dtx=dtx, complexity=complexity)
        self._received = ReceivedVoice(buffer_ms=buffer_ms)
        self._ice = _IceSettings(gather_limit_s, transport_policy == "relay", allow_loopback)
        self._limits = EpochLimits(connect_limit_s, Limits(silent_s=silent_s, lost_s=lost_s))
        self.seam = seam_intact()
        """False: aiortc's own audio buffer is used (`SEAM_BROKEN`)."""
        self._current: Epoch | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def set_listener(self, listener: MediaListener) -> None:
        """Who hears of events; before that they are dropped."""
        self._listener = listener

    def start(self, epoch: int, offerer: bool, ice_servers: Sequence[IceServer]) -> None:
        """Begin an epoch; the last one's connection ends."""
        self.stop()
        servers = _usable_servers(ice_servers)

        def make_peer(on_first: Callable[[], None], on_end: Callable[[str], None]) -> _Peer:
            return _Peer(offerer, servers, self._ice, self._sent, self._received, self.seam, on_first, on_end)

        self._current = Epoch(epoch, offerer, make_peer, self._limits, self._sent, self._received, self._tell)

    def apply(self, epoch: int, sdp: Sdp) -> None:
        """The peer's description for this epoch; for another epoch it is dropped."""
        if self._current is not None and self._current.number == epoch:
            self._current.apply(sdp)

    def add_candidate(self, epoch: int, candidate: Candidate | None) -> None:
        """A candidate of the peer, or None for their end; may come before the description."""
        if self._current is not None and self._current.number == epoch:
            self._current.add_candidate(candidate)

    def stop(self) -> None:
        """End the epoch: silence at once, the connection closes in the background within 2 s."""
        ended, self._current = self._current, None
        if ended is None:
            return
        ended.detach()
        self._sent.stop()
        self._received.reset()
        self._in_background(ended.close())

    def _in_background(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    @property
    def source(self) -> VoiceSource:
        """The far end's voice."""
        return self._received

    @property
    def sink(self) -> VoiceSink:
        """Where the near end's voice goes."""
        return self._sent

    def metrics(self) -> Metrics | None:
        """Of the running connection."""
        return self._current.metrics() if self._current is not None else None

    @property
    def first_voice_ns(self) -> int | None:
        """When the far end was first heard in this epoch."""
        return self._received.first_voice_ns if self._current is not None else None

    async def close(self) -> None:
        """Everything ends: connections, codecs. Idempotent."""
        self.stop()
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        self._sent.close()
        self._received.close()

    def _tell(self, epoch: Epoch, word: Word) -> None:
        # Later, so that a listener may call back into this object, and cannot hurt aiortc's tasks by an exception.
        asyncio.get_running_loop().call_soon(self._deliver, epoch, word)

    def _deliver(self, epoch: Epoch, word: Word) -> None:
        listener = self._listener
        if epoch is not self._current or listener is None:
            return
        match word:
            case Described(sdp):
                listener.described(epoch.number, sdp)
            case Up():
                listener.media_up(epoch.number)
            case Silent():
                listener.media_silent(epoch.number)
            case Lost(reason):
                listener.media_lost(epoch.number, reason)
            case _:
                assert_never(word)
