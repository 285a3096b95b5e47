"""The receive path on every trace: ours, a fixed buffer, and stock aiortc's, faster than real time.

    python -m tests.bench.audio.receiving [delay] [speech] [strangers]

`delay`: how late and how whole a minute of voice is heard. `speech`: PESQ and STOI (needs `pip install -e .[bench]` and
espeak-ng). `strangers`: a million arbitrary packets. Without a name: all that can be measured here.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.jitter import FixedBuffer
from tests.bench.audio import judges, talkers
from tests.bench.audio.simulation import Heard, Ours, Receiver, Stock, encoded, packets, run
from tests.bench.audio.strangers import flooded, plays_after
from tests.bench.audio.traces import TRACES, Trace, bursty_loss, random_loss

CONTENDERS: Final[Mapping[str, Callable[[], Receiver]]] = {
    "ours": lambda: Ours(AdaptiveBuffer()),
    "fixed": lambda: Ours(FixedBuffer()),
    "stock": Stock,
}
SECONDS: Final = 60.0
SPEECH_S: Final = 16.0
SHARES: Final = (0.0, 0.01, 0.03, 0.05, 0.10, 0.20)
STRANGERS: Final = 1_000_000


def delay() -> None:
    """Ears' view of each trace; milliseconds from mouth to ear, without the codec's look-ahead and the card."""
    print(
        f"{'':28}{'':7}{'mean':>6}{'p95':>6}{'last 10 s':>11}{'missing':>9}{'rebuilt':>9}{'silent':>8}{'stretched':>11}"
    )
    for trace in TRACES:
        for name, contender in CONTENDERS.items():
            heard = run(contender(), trace, payloads=packets(SECONDS))
            print(f"{trace.name if name == 'ours' else '':28}{name:7}{_delay_cells(heard)}", flush=True)


def _delay_cells(heard: Heard) -> str:
    counts = heard.counts
    rebuilt = 100 * counts.recovered_frames / max(1, counts.played_frames)
    stretched = (counts.shortened_frames + counts.lengthened_frames) / 48
    return (
        f"{heard.mean_lag_ms():6.1f}{heard.lag_ms(95):6.1f}{heard.mean_lag_ms(SECONDS - 10):8.1f} ms"
        f"{100 * heard.concealed_share:7.2f} %{rebuilt:7.1f} %{heard.silent_ticks * 10:5d} ms{stretched:8.0f} ms"
    )


def speech() -> None:
    """Four voices through random and bursty loss; means."""
    print(f"{'':24}" + "".join(f"{name + ' PESQ':>12}{'STOI':>7}" for name in CONTENDERS))
    for kind, of in (("random", random_loss), ("bursty", bursty_loss)):
        for share in SHARES if kind == "random" else SHARES[1:]:
            trace = Trace(f"{100 * share:.0f} % lost, {kind}", of(share))
            scores = [
                np.mean([_judged(trace, make(), voice) for voice in range(4)], axis=0) for make in CONTENDERS.values()
            ]
            print(f"{trace.name:24}" + "".join(f"{one[0]:12.2f}{one[1]:7.3f}" for one in scores), flush=True)


def _judged(trace: Trace, receiver: Receiver, voice: int) -> tuple[float, float]:
    said = talkers.talk(voice, SPEECH_S)
    heard = run(receiver, trace, payloads=encoded(said), seed=11 + voice).pcm
    said = said[: len(heard)]
    return judges.pesq(said, heard), judges.stoi(said, heard)


def strangers() -> None:
    """Nothing raises, nothing grows, and an ordinary stream is heard afterwards."""
    began_s = time.process_time()
    buffer = flooded(STRANGERS, 1)
    took_s = time.process_time() - began_s
    verdict = "an ordinary stream is heard" if plays_after(buffer) else "NOTHING is heard any more"
    print(f"{STRANGERS} arbitrary packets in {took_s:.0f} s of CPU; afterwards {verdict}")


def missing_for_speech() -> str:
    return "; ".join(filter(None, (judges.missing(), talkers.missing())))


def main(argv: Sequence[str] | None = None) -> int:
    parts: Mapping[str, Callable[[], None]] = {"delay": delay, "speech": speech, "strangers": strangers}
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audio.receiving")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(parts)}")
    names = parser.parse_args(argv).names or [name for name in parts if name != "speech" or not missing_for_speech()]
    for name in names:
        if name not in parts:
            parser.error(f"unknown: {name}; there are {', '.join(parts)}")
        if name == "speech" and missing_for_speech():
            parser.error(f"speech cannot be judged here: {missing_for_speech()}")
        parts[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
