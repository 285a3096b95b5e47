"""Chromium as the receiver: aiortc sends it given packets but for those that a trace loses, and what its NetEQ makes of
them is taken from the track, sample by sample, before any loudspeaker.

Loss happens between the RTP sender and the encryption: sequence numbers show the gap, SRTP and DTLS know nothing of it.
Many connections share a page and run at once, because nothing here is faster than real time.
"""

import asyncio
import base64
import gc
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import av
import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from intercomd.demo.resident import browser
from intercomd.media.pcm import RATE_HZ, Pcm
from tests.bench.audio.simulation import encoded
from tests.bench.audio.traces import Times

if TYPE_CHECKING:
    from playwright.async_api import Page

SETTLING_S: Final = 4.0
"""Silence beforehand: NetEQ begins with more delay than it needs."""
_TAIL_S: Final = 1.0
"""Silence afterwards: what was buffered is heard, and a loss at the end is noticed."""
_LIMIT_S: Final = 15.0
_RTCP_TYPES: Final = range(64, 96)
"""RFC 5761 section 4: where RTP and RTCP share a port, these payload types are RTCP."""
_ADDRESS: Final = "http://localhost/"
_TIME_BASE: Final = Fraction(1, RATE_HZ)
_PACKET_S: Final = 0.020
_PACKET_FRAMES: Final = round(_PACKET_S * RATE_HZ)

_PAGE: Final = """
window.calls = [];
async function join(offer) {
  const call = { pc: new RTCPeerConnection({ iceServers: [] }), player: new Audio(), parts: [], counted: {} };
  calls.push(call);
  call.pc.addEventListener("track", ({ track }) => {
    // NetEQ is asked only for what somebody plays.
    call.player.srcObject = new MediaStream([track]);
    call.player.play();
    keep(call, track);
  });
  await call.pc.setRemoteDescription(offer);
  await call.pc.setLocalDescription(await call.pc.createAnswer());
  return { type: "answer", sdp: call.pc.localDescription.sdp };
}
async function keep(call, track) {
  const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 1000 }).readable.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    if (value.sampleRate !== 48000) throw new Error(`decoded at ${value.sampleRate} Hz`);
    const samples = new Float32Array(value.numberOfFrames);
    value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    value.close();
    const whole = samples.map((sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
    call.parts.push([performance.timeOrigin + performance.now(), Int16Array.from(whole)]);
  }
}
async function counters({ pc }) {
  const entries = [...(await pc.getStats()).values()];
  const inbound = entries.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio") ?? {};
  return Object.fromEntries(Object.entries(inbound).filter(([, value]) => typeof value === "number"));
}
async function begin() {
  await Promise.all(calls.map(async (call) => Object.assign(call, { counted: await counters(call), parts: [] })));
}
async function end() {
  await Promise.all(calls.map(async (call) => {
    const now = await counters(call);
    call.heard = call.parts.slice();
    call.rose = Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - call.counted[name]]));
  }));
}
async function take(index) {
  const { heard, rose } = calls[index];
  const bytes = new Uint8Array(await new Blob(heard.map(([, samples]) => samples)).arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  const [times, lengths] = [heard.map(([time]) => time), heard.map(([, samples]) => samples.length)];
  return { text: btoa(text), stats: rose, times, lengths };
}
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """What one connection carries: packets of 20 ms, and by how much each is later than the quickest, in seconds; NaN
    for those that never arrive. They do not overtake each other. Of the same length."""

    payloads: Sequence[bytes]
    delays: Times


@dataclass(frozen=True, slots=True)
class Played:
    """`pcm`: what Chromium heard, with some silence before and after; it came in blocks, which began at the frames
    `starts`, `came_s` after the first frame of the first packet was spoken. `stats`: by how much Chromium's counters
    rose meanwhile (inbound-rtp of getStats, its names). `late_ms`: for each packet how much later than `Sent` says it
    left."""

    pcm: Pcm
    starts: npt.NDArray[np.int64]
    came_s: npt.NDArray[np.float64]
    stats: Mapping[str, float]
    late_ms: Sequence[float]

    @property
    def wait_ms(self) -> float:
        """How long what was heard had waited in NetEQ, on average."""
        return 1000 * self.stats["jitterBufferDelay"] / max(1.0, self.stats["jitterBufferEmittedCount"])

    def heard_s(self, at: int) -> float:
        """When this frame of `pcm` came out, seconds after the first frame of the first packet was spoken."""
        block = int(np.searchsorted(self.starts, at, side="right")) - 1
        return float(self.came_s[block]) + (at - int(self.starts[block])) / RATE_HZ


async def played(everything: Sequence[Sent]) -> list[Played]:
    """All of it at once, in real time, in a Chromium of its own. Raises TimeoutError if a connection fails, and
    playwright's Error."""
    tracks = [_Track(silence(), index * _PACKET_S / len(everything)) for index in range(len(everything))]
    async with AsyncExitStack() as stack:
        page = await stack.enter_async_context(_page())
        for track in tracks:
            await stack.enter_async_context(_connected(page, track))
        with _uncollected():
            await asyncio.sleep(SETTLING_S)
            await page.evaluate("begin()")
            await asyncio.gather(*(track.speak(sent) for track, sent in zip(tracks, everything, strict=True)))
            await asyncio.sleep(_TAIL_S)
            await page.evaluate("end()")
        return [await _result(page, index, track) for index, track in enumerate(tracks)]


@contextmanager
def _uncollected() -> Iterator[None]:
    """A full garbage collection of what the judges import holds up all senders by 40 ms, which NetEQ then takes for the
    network's jitter."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@cache
def silence() -> bytes:
    """A packet as a station sends it while nobody speaks."""
    return encoded(np.zeros(RATE_HZ, np.int16))[-1]


async def _result(page: "Page", index: int, track: "_Track") -> Played:
    taken = await page.evaluate("(index) => take(index)", index)
    pcm = np.frombuffer(base64.b64decode(taken["text"]), "<i2").astype(np.int16)
    starts = np.cumsum([0, *taken["lengths"][:-1]])
    came_s = np.array(taken["times"]) / 1000 - track.speech_s
    return Played(pcm, starts, came_s, taken["stats"], track.late_ms)


@asynccontextmanager
async def _page() -> "AsyncIterator[Page]":
    async with browser(None) as chromium:
        page = await chromium.new_page()
        await page.route("**/*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        await page.goto(_ADDRESS)
        await page.add_script_tag(content=_PAGE)
        yield page


@asynccontextmanager
async def _connected(page: "Page", track: "_Track") -> "AsyncIterator[None]":
    """From us to the page over loopback, which aioice does not offer by itself. The page's answer holds no addresses:
    it is the one who asks, so we see where it is."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        sender = pc.addTrack(track)
        with patch("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"]):  # noqa: ARG005
            await pc.setLocalDescription(await pc.createOffer())
        offer = {"type": pc.localDescription.type, "sdp": pc.localDescription.sdp}
        _lossy(sender.transport, track)
        answer = await page.evaluate("(offer) => join(offer)", offer)
        await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        await asyncio.wait_for(track.running.wait(), _LIMIT_S)
        yield
    finally:
        await pc.close()


def _lossy(transport: Any, track: "_Track") -> None:
    """RTP that the track wants lost never reaches the encryption."""
    send = transport._send_rtp

    async def lossy(data: bytes) -> None:
        if not track.losing or data[1] & 0x7F in _RTCP_TYPES:
            await send(data)

    transport._send_rtp = lossy


class _Track(MediaStreamTrack):
    """Silence; packets that are given, when they are due; silence again. A packet for each 20 ms of the loop's clock,
    `phase_s` after its round ones."""

    kind = "audio"

    def __init__(self, silent: bytes, phase_s: float) -> None:
        super().__init__()
        self.running = asyncio.Event()
        """Somebody is connected."""
        self.losing = False
        """The packet that was handed out last must not arrive."""
        self.late_ms: list[float] = []
        self._silence, self._phase_s = silent, phase_s
        self._began_s, self._count = 0.0, 0
        self._speech: deque[tuple[bytes, float]] = deque()
        self._spoken = asyncio.Event()
        self.speech_s = 0.0
        """When the first frame of the first packet given was spoken, seconds since 1970: that is what a page knows."""

    async def speak(self, sent: Sent) -> None:
        """Until all of it has been handed out."""
        self._speech.extend(zip(sent.payloads, sent.delays.tolist(), strict=True))
        await self._spoken.wait()

    async def recv(self) -> "av.Packet[Any]":
        clock = asyncio.get_running_loop().time
        if not self.running.is_set():
            self._began_s = math.ceil(clock() / _PACKET_S) * _PACKET_S + self._phase_s
            self.running.set()
        payload, delay_s = self._speech.popleft() if self._speech else (self._silence, 0.0)
        self.losing = math.isnan(delay_s)
        end_s = self._began_s + self._count * _PACKET_S
        if payload is not self._silence and not self.speech_s:
            self.speech_s = end_s - _PACKET_S + time.time() - clock()
        due_s = end_s + (0.0 if self.losing else delay_s)
        await asyncio.sleep(due_s - clock())
        if payload is not self._silence:
            self.late_ms.append(1000 * (clock() - due_s))
            if not self._speech:
                self._spoken.set()
        return self._packet(payload)

    def _packet(self, payload: bytes) -> "av.Packet[Any]":
        packet = av.Packet(payload)
        packet.pts, packet.time_base = self._count * _PACKET_FRAMES, _TIME_BASE
        self._count += 1
        return packet
