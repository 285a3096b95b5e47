"""One end of a call for the laboratory: real media, its servers chosen by the real background look; it is told what to
do and tells what happens in JSON lines. `python -m tests.netns.end SETTINGS` with the settings as JSON: `servers` (as
RTCIceServer), `policy`, `connect_limit_s`, `talks` (its voice) and `listens` (the voice that it should hear)."""

import asyncio
import json
import sys
import time
from typing import Any

import numpy as np

from intercomd.adapters.webrtc import WebRtcMedia, probe
from intercomd.core.protocol import Reply
from intercomd.core.vocabulary import Candidate, IceServer, Sdp
from intercomd.device.servers import IceServers
from intercomd.errors import ErrorCode
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm
from intercomd.ports import Unreachable
from tests.unit.sounds import likeness, speech

VOICE_FRAMES = 5 * RATE_HZ
"""Then it begins anew."""


def tell(**word: Any) -> None:
    print(json.dumps(word), flush=True)


class Journal:
    def report(self, code: ErrorCode, message: str = "", **fields: str | int | float) -> None:
        tell(journal=code.name, message=message, **fields)


class End:
    """Implements `ports.MediaListener`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        servers = [IceServer(**server) for server in settings.get("servers", [])]
        policy = settings.get("policy", "all")
        self.media = WebRtcMedia(
            self, transport_policy=policy, connect_limit_s=settings.get("connect_limit_s", 10.0), silent_s=1, lost_s=3
        )
        self.ice = IceServers(
            servers, probe, self.ask, lambda: True, Journal(), relay_only=policy == "relay", probe_s=10
        )
        self.voice = speech(settings.get("talks", 1), VOICE_FRAMES)
        self.other = speech(settings.get("listens", 2), VOICE_FRAMES)
        self.heard: list[Pcm] = []
        self.started_s = 0.0

    async def ask(self) -> Reply:
        raise Unreachable

    # ------------------------------------------------------------------------------------------- what media tells

    def described(self, epoch: int, sdp: Sdp) -> None:
        tell(described=sdp.type, sdp=sdp.sdp, epoch=epoch, after_s=round(time.monotonic() - self.started_s, 4))

    def candidate_gathered(self, epoch: int, candidate: Candidate | None) -> None: ...

    def media_up(self, epoch: int) -> None:
        tell(up=epoch, after_s=round(time.monotonic() - self.started_s, 4))

    def media_silent(self, epoch: int) -> None:
        tell(silent=epoch)

    def media_lost(self, epoch: int, reason: str) -> None:
        self.ice.doubt()
        tell(lost=epoch, reason=reason)

    # ---------------------------------------------------------------------------------------------- what it is told

    async def obey(self, order: dict[str, Any]) -> None:
        match order:
            case {"prepare": _}:
                self.media.prepare(self.ice.chosen())
            case {"start": epoch, "offerer": offerer}:
                self.started_s = time.monotonic()
                self.media.start(epoch, offerer, self.ice.chosen())
            case {"apply": {"epoch": epoch, "type": kind, "sdp": text}}:
                self.media.apply(epoch, Sdp(kind, text))
            case {"listen": seconds}:
                self.heard.clear()
                await asyncio.sleep(seconds)
                heard = np.concatenate([SILENCE, *self.heard])[-RATE_HZ:]
                alike = await asyncio.to_thread(likeness, heard, self.other)
                stranger = await asyncio.to_thread(likeness, heard, self.voice)
                tell(alike=round(alike, 3), stranger=round(stranger, 3), pair=self.pair())
            case {"status": _}:
                tell(ice=self.ice.status())

    def pair(self) -> list[str]:
        """The kinds of the candidates in use, ours and the peer's."""
        peer: Any = self.media._current._peer  # type: ignore[union-attr]
        (nominated,) = peer._connection()._nominated.values()
        return [nominated.local_candidate.type, nominated.remote_candidate.type]

    async def talk(self) -> None:
        """The card: a period each way in 10 ms, for ever."""
        begin_s, spoken_frames = time.monotonic(), 0
        while True:
            at = spoken_frames % VOICE_FRAMES
            self.media.sink.push(self.voice[at : at + PERIOD_FRAMES])
            self.heard.append(self.media.source.pull())
            spoken_frames += PERIOD_FRAMES
            await asyncio.sleep(max(0.0, begin_s + spoken_frames / RATE_HZ - time.monotonic()))


def over(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        tell(failed=repr(task.exception()))


async def main() -> None:
    end = End(json.loads(sys.argv[1]))
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = [asyncio.create_task(end.ice.run()), asyncio.create_task(end.talk())]
    tell(ready=True)
    orders: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(end.obey(json.loads(line)))
        orders.add(task)
        task.add_done_callback(over)
    for task in [*tasks, *orders]:
        task.cancel()
    await end.media.close()


asyncio.run(main())
