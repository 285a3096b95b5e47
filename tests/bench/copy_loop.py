"""The bare copy loop: reads a period from one PCM and writes it to another, two periods queued as in the station.

    python -m tests.bench.copy_loop CAPTURE_PCM PLAYOUT_PCM

What it takes from mouth to ear is the rig's own and the card's; what a station takes beyond it is the station's. What
an underrun cost is skipped, as the station does, or every hiccup of the machine would stay as delay.
"""

import sys

from intercomd.adapters.alsa import AlsaCard
from intercomd.media.pcm import PERIOD_FRAMES


def main(capture_pcm: str, playout_pcm: str) -> None:
    """Until it is killed."""
    card = AlsaCard()
    playout = card.open_playout(playout_pcm)
    capture = card.open_capture(capture_pcm)
    print("ready", flush=True)
    owed_frames = 0
    while True:
        period, _ = capture.read()
        if owed_frames >= PERIOD_FRAMES:
            owed_frames -= PERIOD_FRAMES
        else:
            owed_frames += playout.write(period)


if __name__ == "__main__":
    main(*sys.argv[1:])
