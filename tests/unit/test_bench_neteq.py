"""How Chromium is given packets and losses, and when its hearing is not believed."""

import asyncio

import numpy as np
import pytest

from tests.bench.audio import browser, neteq
from tests.bench.audio.browser import STEPS
from tests.bench.audio.neteq import Played, Sent

SILENT = b"\x00"
RTP, RTCP = b"\x80\x6f", b"\x80\xc8"


async def _handed_out(track: neteq._Track, count: int) -> list[tuple[bytes, int, bool]]:
    found = []
    for _ in range(count):
        packet = await track.recv()
        found.append((bytes(packet), packet.pts, track.losing))
    return found


async def test_the_given_packets_are_between_silence_and_those_that_are_lost_have_their_time_too() -> None:
    track = neteq._Track(SILENT, 0.0)
    before = await _handed_out(track, 1)
    spoken = asyncio.create_task(track.speak(Sent([b"\x01", b"\x02", b"\x03"], np.array([0.001, np.nan, 0.0]))))
    await asyncio.sleep(0)
    after = await _handed_out(track, 4)
    await spoken
    assert before == [(SILENT, 0, False)]
    assert after == [
        (b"\x01", 960, False), (b"\x02", 1920, True), (b"\x03", 2880, False), (SILENT, 3840, False),
    ]  # fmt: skip
    assert len(track.late_ms) == 3


async def test_only_voice_is_lost() -> None:
    class Wire:
        sent: list[bytes] = []  # noqa: RUF012

        async def _send_rtp(self, data: bytes) -> None:
            self.sent.append(data)

    wire, track = Wire(), neteq._Track(SILENT, 0.0)
    neteq._lossy(wire, track)
    for track.losing in (False, True):
        await wire._send_rtp(RTP)
        await wire._send_rtp(RTCP)
    assert wire.sent == [RTP, RTCP, RTCP]


def _heard(*, lost: int = 0, concealed: int = 0, late_ms: float = 1.0) -> Played:
    stats = {"packetsLost": lost, "concealedSamples": concealed, "totalSamplesReceived": 48_000}
    blocks = np.arange(0, 48_000, 480)
    return Played(np.zeros(48_000, np.int16), blocks, blocks / 48_000 + 0.25, stats, [late_ms] * 100)


def test_a_frame_was_heard_when_its_block_came() -> None:
    assert _heard().heard_s(480 * 10 + 48) == 0.25 + 0.1 + 0.001


def test_chromium_that_was_starved_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "_lost", lambda *_: 0)
    whole = STEPS[0], 0
    assert not browser._complaints({whole: _heard()}, 4.0, 4.1)
    assert browser._complaints({whole: _heard()}, 3.8, 4.1)
    assert browser._complaints({whole: _heard(lost=1)}, 4.0, 4.1)
    assert browser._complaints({whole: _heard(concealed=480)}, 4.0, 4.1)
    assert browser._complaints({whole: _heard(late_ms=20.0)}, 4.0, 4.1)
