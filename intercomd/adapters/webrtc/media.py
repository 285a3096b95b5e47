"""The `Media` port: one epoch at a time, and a connection ahead of the first one."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, assert_never

from aiortc import RTCIceServer

from intercomd.adapters.webrtc.ice import IceSettings, local_addresses, usable_servers
from intercomd.adapters.webrtc.peer import Peer
from intercomd.adapters.webrtc.sound import ask_for_error_correction, seam_intact
from intercomd.adapters.webrtc.spare import Spare
from intercomd.core.vocabulary import Candidate, IceServer, Metrics, Sdp
from intercomd.media.epoch import Described, Epoch, EpochLimits, Lost, Silent, Up, Word
from intercomd.media.near_end import SentVoice
from intercomd.media.pcm import VoiceSink, VoiceSource
from intercomd.media.sending import PacketMs
from intercomd.media.voice import ReceivedVoice
from intercomd.media.watchdog import Limits
from intercomd.ports import MediaListener


class WebRtcMedia:
    """The `Media` port. Construct it anywhere; its methods belong to the event loop."""

    def __init__(
        self,
        listener: MediaListener | None = None,
        *,
        bitrate_bps: int = 48_000,
        frame_ms: PacketMs = 20,
        fec: bool = True,
        dtx: bool = False,
        complexity: int = 6,
        buffer_ms: int = 0,
        gather_limit_s: float = 0.4,
        connect_limit_s: float = 10.0,
        transport_policy: str = "all",
        allow_loopback: bool = False,
        interfaces: Sequence[str] = (),
        exclude_interfaces: Sequence[str] = (),
        silent_s: float = 1.0,
        lost_s: float = 3.0,
    ) -> None:
        """Raises `OpusError` without libopus."""
        ask_for_error_correction()
        self._listener = listener
        self._sent = SentVoice(bitrate_bps=bitrate_bps, frame_ms=frame_ms, fec=fec, dtx=dtx, complexity=complexity)
        self._received = ReceivedVoice(buffer_ms=buffer_ms)
        self._ice = IceSettings(
            gather_limit_s, transport_policy == "relay", allow_loopback, tuple(interfaces), tuple(exclude_interfaces)
        )
        self._limits = EpochLimits(connect_limit_s, Limits(silent_s=silent_s, lost_s=lost_s))
        self.seam = seam_intact()
        """False: aiortc's own audio buffer is used (`SEAM_BROKEN`)."""
        self._current: Epoch | None = None
        self._spare: Spare | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def set_listener(self, listener: MediaListener) -> None:
        """Who hears of events; before that they are dropped."""
        self._listener = listener

    def prepare(self, ice_servers: Sequence[IceServer]) -> None:
        """Gather ahead; the same servers and network again change nothing."""
        if self._current is not None:
            return
        key = _key(ice_servers)
        if self._spare is not None and self._spare.key == key:
            return
        self._give_up_spare()
        servers = usable_servers(ice_servers)
        self._spare = Spare(key, lambda: self._peer(servers), lambda peer: self._in_background(peer.close()))

    def _give_up_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def start(self, epoch: int, offerer: bool, ice_servers: Sequence[IceServer]) -> None:
        """Begin an epoch; the last one's connection ends. What was prepared with the same servers in the same network
        is used, anything else given up."""
        self._end_epoch()
        spare, self._spare = self._spare, None
        ahead = None
        if spare is not None:
            if spare.key == _key(ice_servers):
                ahead = spare.take()
            spare.close()

        def make_peer(on_first: Callable[[], None], on_end: Callable[[str], None]) -> Peer:
            peer = ahead or self._peer(usable_servers(ice_servers))
            return peer.bind(offerer=offerer, on_first=on_first, on_end=on_end)

        self._current = Epoch(epoch, offerer, make_peer, self._limits, self._sent, self._received, self._tell)

    def _peer(self, servers: list[RTCIceServer]) -> Peer:
        return Peer(servers, self._ice, self._sent, self._received, seam=self.seam)

    def apply(self, epoch: int, sdp: Sdp) -> None:
        """The peer's description for this epoch; for another epoch it is dropped."""
        if self._current is not None and self._current.number == epoch:
            self._current.apply(sdp)

    def add_candidate(self, epoch: int, candidate: Candidate | None) -> None:
        """A candidate of the peer, or None for their end; may come before the description."""
        if self._current is not None and self._current.number == epoch:
            self._current.add_candidate(candidate)

    def stop(self) -> None:
        """End the epoch: silence at once, the connection closes in the background within 2 s. What was prepared is
        given up."""
        self._give_up_spare()
        self._end_epoch()

    def _end_epoch(self) -> None:
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
    def local_address(self) -> str | None:
        """The running connection's."""
        return self._current.local_address if self._current is not None else None

    @property
    def candidate_types(self) -> str | None:
        """The running connection's."""
        return self._current.candidate_types if self._current is not None else None

    @property
    def first_voice_ns(self) -> int | None:
        """When the far end was first heard in this epoch."""
        return self._received.first_voice_ns if self._current is not None else None

    @property
    def drift_ppm(self) -> float:
        """Between the far end's clock and the card's."""
        return self._received.drift_ppm if self._current is not None else 0.0

    @property
    def packet_s(self) -> float:
        """The far end's."""
        return self._received.packet_s

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


def _key(servers: Sequence[IceServer]) -> tuple[object, ...]:
    """What gathering depends on."""
    return tuple((*server.urls, server.username, server.credential) for server in servers), local_addresses()
