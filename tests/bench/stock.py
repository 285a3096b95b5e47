"""The peer: a station of stock aiortc, as its examples would make it, on the same ALSA adapter with the same fill.

    python -m tests.bench.stock CAPTURE_PCM PLAYOUT_PCM [ADDRESS]

Captured periods become `AudioFrame`s of 20 ms for aiortc's own encoder; what its receive track gives is mixed down and
played through a FIFO that begins at one frame; what an underrun cost is skipped, as the station does. aiortc is
untouched but for one thing: aioice offers no loopback address by itself, so here it is told that ADDRESS, 127.0.0.1 if
there is none, is the only one (the station has `[ice] allow_loopback`).

JSON lines: `{"ready_s": …}`, the age of the process when its audio is open; then, on `{"do": "offer"}` or a
description, its own description; and once `{"first_voice_t_ns": …}`, CLOCK_MONOTONIC, when the first audible frame came
out of the receive track.
"""

import asyncio
import json
import sys
import threading
import time
from fractions import Fraction
from typing import Any, cast

import aioice.ice
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame
from av.audio.resampler import AudioResampler

from intercomd.adapters.alsa import AlsaCard
from intercomd.device.health import process_age_s
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm
from intercomd.media.periods import PeriodRing, split

FRAME_PERIODS = 2
AUDIBLE_PEAK = 32
"""As in the station."""
OPEN_LIMIT_S = 10.0


class Microphone(MediaStreamTrack):
    """The capture PCM as a track."""

    kind = "audio"

    def __init__(self, pcm: str) -> None:
        super().__init__()
        self._running = asyncio.get_running_loop()
        self._frames: asyncio.Queue[AudioFrame] = asyncio.Queue()
        self._pcm = pcm
        self.moving = threading.Event()
        threading.Thread(target=self._capture, name="capture", daemon=True).start()

    async def recv(self) -> AudioFrame:
        return await self._frames.get()

    def _capture(self) -> None:
        stream = AlsaCard().open_capture(self._pcm)
        pts = 0
        while True:
            frame = AudioFrame(format="s16", layout="mono", samples=FRAME_PERIODS * PERIOD_FRAMES)
            frame.planes[0].update(b"".join(stream.read()[0].tobytes() for _ in range(FRAME_PERIODS)))
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, pts, Fraction(1, RATE_HZ)
            pts += FRAME_PERIODS * PERIOD_FRAMES
            self.moving.set()
            self._running.call_soon_threadsafe(self._keep, frame)

    def _keep(self, frame: AudioFrame) -> None:
        if self._frames.qsize() > FRAME_PERIODS:  # before the call nobody takes them
            self._frames.get_nowait()
        self._frames.put_nowait(frame)


class Loudspeaker:
    """A receive track on the playout PCM."""

    def __init__(self, pcm: str) -> None:
        self._pcm = pcm
        self._ring = PeriodRing(target_ms=20, ceiling_ms=500)
        self._left_over: Pcm = SILENCE[:0]
        self.first_voice_ns: int | None = None
        self.moving = threading.Event()
        threading.Thread(target=self._play, name="playout", daemon=True).start()

    async def follow(self, track: MediaStreamTrack) -> None:
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
        while True:
            try:
                frame = cast(AudioFrame, await track.recv())
            except MediaStreamError:
                return
            for mono in resampler.resample(frame):
                self._take(mono.to_ndarray()[0])

    def _take(self, pcm: Pcm) -> None:
        if self.first_voice_ns is None and int(pcm.max(initial=0)) >= AUDIBLE_PEAK:
            self.first_voice_ns = time.monotonic_ns()
            say({"first_voice_t_ns": self.first_voice_ns})
        periods, self._left_over = split(pcm, self._left_over)
        for period in periods:
            self._ring.put(period)

    def _play(self) -> None:
        stream = AlsaCard().open_playout(self._pcm)
        owed_frames = 0
        while True:
            period = self._ring.pull()
            owed_frames += stream.write(SILENCE if period is None else period)
            self.moving.set()
            while owed_frames >= PERIOD_FRAMES and len(self._ring):
                self._ring.pull()
                owed_frames -= PERIOD_FRAMES


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


async def station(capture_pcm: str, playout_pcm: str, address: str = "127.0.0.1") -> None:
    """Until its input ends."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [address]  # noqa: ARG005
    loudspeaker, microphone = Loudspeaker(playout_pcm), Microphone(capture_pcm)
    for part in (loudspeaker, microphone):
        await asyncio.to_thread(part.moving.wait, OPEN_LIMIT_S)
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTrack(microphone)
    following: list[asyncio.Task[None]] = []
    pc.on("track", lambda track: following.append(asyncio.create_task(loudspeaker.follow(track))))
    orders: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_listen, args=(loop, orders), name="orders", daemon=True).start()
    say({"ready_s": process_age_s()})
    while order := await orders.get():
        await _obey(pc, json.loads(order))


def _listen(loop: asyncio.AbstractEventLoop, orders: "asyncio.Queue[str]") -> None:
    while True:
        line = sys.stdin.readline()
        loop.call_soon_threadsafe(orders.put_nowait, line)
        if not line:
            return


async def _obey(pc: RTCPeerConnection, order: dict[str, Any]) -> None:
    if order.get("do") == "offer":
        await pc.setLocalDescription(await pc.createOffer())
    else:
        await pc.setRemoteDescription(RTCSessionDescription(order["sdp"], order["type"]))
        if order["type"] == "answer":
            return
        await pc.setLocalDescription(await pc.createAnswer())
    say({"type": pc.localDescription.type, "sdp": pc.localDescription.sdp})


if __name__ == "__main__":
    asyncio.run(station(*sys.argv[1:]))
