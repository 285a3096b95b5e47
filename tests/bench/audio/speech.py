"""What is left of speech on a network that loses packets: ours at both ends beside stock aiortc at both ends, which
encodes for itself. (`browser` has everybody hear the same packets of ours.) Faster than real time."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.pcm import Pcm
from tests.bench.audio import judges, talkers
from tests.bench.audio.measured import Measured
from tests.bench.audio.receiving import SHARES, missing_for_speech
from tests.bench.audio.simulation import Ours, Stock, encoded, run, stock_encoded
from tests.bench.audio.traces import Trace, bursty_loss, random_loss
from tests.bench.audio.workers import spread
from tests.bench.report import Peer, Row, row

SPEECH_S: Final = 16.0
VOICES: Final = range(len(talkers.VOICES))
NAMES: Final = ("ours", "stock")


@dataclass(frozen=True, slots=True)
class Step:
    """A network and a voice."""

    kind: str
    share: float
    voice: int

    @property
    def trace(self) -> Trace:
        return Trace("", (random_loss if self.kind == "random" else bursty_loss)(self.share))


NETWORKS: Final = [
    (kind, share) for kind in ("random", "bursty") for share in (SHARES if kind == "random" else SHARES[1:])
]


@cache
def _sent(name: str, voice: int, share: float) -> list[bytes]:
    """Ours as it is sent once the peer has reported that loss for some seconds: without copies on a clean path."""
    return encoded(_said(voice), loss=share) if name == "ours" else stock_encoded(_said(voice))


@cache
def _said(voice: int) -> Pcm:
    return talkers.talk(voice, SPEECH_S)


def judged(step: Step) -> dict[str, tuple[float, float, float]]:
    """PESQ and STOI of both, and what they sent, in kbit/s; the same packets are lost."""
    found = {}
    for name in NAMES:
        receiver, payloads = Ours(AdaptiveBuffer()) if name == "ours" else Stock(), _sent(name, step.voice, step.share)
        heard = run(receiver, step.trace, payloads=payloads, seed=11 + step.voice).pcm
        said = _said(step.voice)[: len(heard)]
        kbps = sum(map(len, payloads)) / SPEECH_S / 125
        found[name] = judges.pesq(said, heard), judges.stoi(said, heard), kbps
    return found


async def speech() -> Measured:
    """Four voices of 16 s each, through random and bursty loss. Raises RuntimeError without the judges."""
    if missing := missing_for_speech():
        raise RuntimeError(missing)
    steps = [Step(kind, share, voice) for kind, share in NETWORKS for voice in VOICES]
    found = dict(zip(steps, await spread("speech", judged, steps), strict=True))

    def mean(name: str, kind: str, share: float, figure: int) -> float:
        return float(np.mean([found[Step(kind, share, voice)][name][figure] for voice in VOICES]))

    peer_name, kbps = "stock aiortc, both ends", {name: mean(name, "random", 0.0, 2) for name in NAMES}
    told = f"means of 4 voices of {SPEECH_S:.0f} s; {kbps['ours']:.0f} kbit/s, stock {kbps['stock']:.0f}"
    rows: list[Row] = [
        row(
            f"{what}, {100 * share:.0f} % lost{f', {kind}' if share else ''}",
            mean("ours", kind, share, figure), "", Peer(peer_name, mean("stock", kind, share, figure)),
            at_least_peer=True, reason=told,
        )
        for kind, share in NETWORKS
        for figure, what in enumerate(("PESQ end to end", "STOI end to end"))
    ]  # fmt: skip
    series = {
        kind: {
            "lost_percent": [100 * share for share in SHARES],
            **{
                name: {
                    what: [round(mean(name, kind if share else "random", share, figure), 4) for share in SHARES]
                    for figure, what in enumerate(("pesq", "stoi"))
                }
                for name in NAMES
            },
        }
        for kind in ("random", "bursty")
    }
    return Measured(rows, series)
