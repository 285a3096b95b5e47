"""An `epoch.Peer` on an RTCPeerConnection."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from aiortc import RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from intercomd.adapters.webrtc.ice import (
    IceSettings,
    abandon_allocations,
    address_in_use,
    bound_gathering,
    candidate_types,
    close_for_good,
    configuration,
    hear_checks,
    mark_as_voice,
)
from intercomd.adapters.webrtc.sound import SEAM, Sink, VoiceTrack, opus_only
from intercomd.core.vocabulary import Candidate, Sdp
from intercomd.media.epoch import PeerError
from intercomd.media.near_end import SentVoice
from intercomd.media.pcm import RATE_HZ
from intercomd.media.quality import NetworkStats, network_stats
from intercomd.media.voice import ReceivedVoice

_GATHERED_LIMIT_S, _CLOSED_LIMIT_S, _ABANDONED_LIMIT_S = 1.0, 0.7, 0.2
"""Closing: 2 s in all."""
_PEER_CLOSED_GRACE_S = 0.5
"""The peer's DTLS goodbye overtakes the hub's word that the call is over; only without such a word it is a loss."""

_REFUSALS = (
    ValueError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError, OSError,
    InternalError, InvalidAccessError, InvalidStateError,
)  # fmt: skip
"""What aiortc raises for descriptions that it cannot use: its parser is written for well-behaved peers."""


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turn what aiortc raises into `PeerError`. Only its type: such messages repeat pieces of the description."""
    try:
        yield
    except _REFUSALS as error:
        raise PeerError(f"{what} ({type(error).__name__})") from error


class Peer:
    """A connection: made, perhaps gathered ahead, then bound to one epoch. Without seam the stock track is used."""

    def __init__(
        self, servers: list[RTCIceServer], ice: IceSettings, sent: SentVoice, received: ReceivedVoice, *, seam: bool
    ) -> None:
        self._ice = ice
        self._received = received
        self._offerer = False
        self._on_first: Callable[[], None] = lambda: None
        self._on_end: Callable[[str], None] = lambda _: None
        self._loop = asyncio.get_running_loop()
        self._sink = Sink(received.deliver, self._hear_first)
        self._track = VoiceTrack(sent)
        self._decoding: asyncio.Task[None] | None = None
        self._gathering: asyncio.Future[Any] | None = None
        self._ahead: asyncio.Task[None] | None = None
        self._closing: asyncio.Future[None] | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._pc = RTCPeerConnection(configuration(servers, relay_only=ice.relay_only))
        self._pc.on("connectionstatechange", self._hear_state)
        self._pc.addTrack(self._track)
        self._transceiver = self._pc.getTransceivers()[0]
        self._transceiver.setCodecPreferences(opus_only())
        if seam:
            setattr(self._transceiver.receiver, SEAM, self._sink)
        else:
            self._pc.on("track", self._hear_stock_track)
        self.checks = 0
        bound_gathering(self._connection(), ice, self._gathering_began)
        hear_checks(self._connection(), self._hear_check)

    def bind(self, *, offerer: bool, on_first: Callable[[], None], on_end: Callable[[str], None]) -> "Peer":
        """From now on it is an epoch's: the offering or the answering side, and who hears of it."""
        self._offerer, self._on_first, self._on_end = offerer, on_first, on_end
        return self

    @property
    def voice_packets(self) -> int:
        return self._sink.packets

    @property
    def local_address(self) -> str | None:
        return address_in_use(self._connection())

    @property
    def candidate_types(self) -> str | None:
        return candidate_types(self._connection())

    async def gather(self) -> None:
        """Ahead of its use, once. Raises `PeerError`."""
        if self._ahead is None:
            gatherer = self._transceiver.receiver.transport.transport.iceGatherer
            self._ahead = self._loop.create_task(gatherer.gather(), name="gathering ahead")
        with _refusals("no candidates could be gathered"):
            # Described in the middle of it, aiortc would take what there is by then: nothing.
            await asyncio.shield(self._ahead)

    async def describe(self) -> Sdp:
        if self._ahead is not None:
            await self.gather()
        with _refusals("no local description could be made"):
            await self._pc.setLocalDescription()
            text = self._pc.localDescription.sdp
        if "a=candidate:" not in text:
            lack = "no network address on the interfaces that [ice] allows"
            if self._ice.relay_only:
                lack = "no TURN server gave an address and transport_policy is relay"
            raise PeerError(f"there is no ICE candidate: {lack}")
        mark_as_voice(self._connection())
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
        for gathering in (self._gathering, self._ahead):
            if gathering is not None and not gathering.done():
                await asyncio.wait({gathering}, timeout=_GATHERED_LIMIT_S)
                gathering.cancel()
        closing = asyncio.ensure_future(close_for_good(self._pc, self._connection()))
        _, pending = await asyncio.wait({closing}, timeout=_CLOSED_LIMIT_S)
        if pending:  # a TURN server that answers no more: aioice would ask it for another minute
            abandon_allocations(self._connection())
            await asyncio.wait({closing}, timeout=_ABANDONED_LIMIT_S)
            closing.cancel()

    # ------------------------------------------------------------------------------------------- what comes in

    def _hear_first(self) -> None:
        self._on_first()

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

    def _hear_check(self) -> None:
        self.checks += 1

    def _gathering_began(self, gathering: asyncio.Future[Any]) -> None:
        self._gathering = gathering
