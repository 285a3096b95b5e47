"""The receive path on every trace: ours, a fixed buffer, and stock aiortc's, faster than real time; how late and how
whole a minute of voice is heard.

    python -m tests.bench.audio.receiving [TRACE]…
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from intercomd.media.adaptive import AdaptiveBuffer
from intercomd.media.fixed import FixedBuffer
from tests.bench.audio import judges, talkers
from tests.bench.audio.simulation import Heard, Ours, Receiver, Stock, packets, run
from tests.bench.audio.traces import TRACES, Trace

CONTENDERS: Final[Mapping[str, Callable[[], Receiver]]] = {
    "ours": lambda: Ours(AdaptiveBuffer()),
    "fixed": lambda: Ours(FixedBuffer()),
    "stock": Stock,
}
SECONDS: Final = 60.0
SHARES: Final = (0.0, 0.01, 0.03, 0.05, 0.10, 0.20)


def delay(chosen: Sequence[Trace]) -> None:
    """Ears' view of each trace; milliseconds from mouth to ear, without the codec's look-ahead and the card."""
    print(
        f"{'':28}{'':7}{'mean':>6}{'p95':>6}{'last 10 s':>11}{'missing':>9}{'rebuilt':>9}{'silent':>8}{'stretched':>11}"
    )
    for trace in chosen:
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


def missing_for_speech() -> str:
    return "; ".join(filter(None, (judges.missing(), talkers.missing())))


def main(argv: Sequence[str] | None = None) -> int:
    names = [trace.name for trace in TRACES]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audio.receiving")
    parser.add_argument("names", nargs="*", metavar="TRACE", help=f"of {'; '.join(names)}".replace("%", "%%"))
    wanted = parser.parse_args(argv).names or names
    if unknown := set(wanted) - set(names):
        parser.error(f"unknown: {', '.join(unknown)}")
    delay([trace for trace in TRACES if trace.name in wanted])
    return 0


if __name__ == "__main__":
    sys.exit(main())
