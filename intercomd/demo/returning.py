"""When does a voice come back? Measured on what a sink played, by a process of its own.

    python -m intercomd.demo.returning SOURCE.wav RECORDED.raw --after SECONDS

The recording is looked through in blocks of 400 ms; each is slid over the source (normalised cross-correlation,
telephone bandwidth). Tones, hiss and other voices stay below the limit. The answer is the end of the first block that
is the voice: at most the block's length too late, never too early.
"""

import argparse
import json
import sys
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.demo.listen import SAME_VOICE, WORK_HZ, narrow, read_raw, read_wav
from intercomd.media.pcm import Pcm

BLOCK_S: Final = 0.4
STEP_S: Final = 0.05
QUIET_RMS: Final = 30.0
"""Of 32768: a block below this is a pause in the sentence, or silence."""

_Wave = npt.NDArray[np.float64]


def returns_s(source: Pcm, recorded: Pcm, after_s: float) -> float | None:
    """Seconds from the beginning of `recorded` (48 kHz mono) to the end of the first block after `after_s` that is a
    part of `source`; None if there is none."""
    sound, room = narrow(source), narrow(recorded)
    block = round(BLOCK_S * WORK_HZ)
    if len(sound) < block:
        return None
    voice = _Voice(sound, block)
    for start in _starts(room, round(after_s * WORK_HZ), block):
        if voice.correlation(room[start : start + block]) >= SAME_VOICE:
            return (start + block) / WORK_HZ
    return None


def _starts(room: _Wave, first: int, block: int) -> Iterator[int]:
    """Blocks that are loud enough to be speech."""
    for start in range(max(0, first), len(room) - block + 1, round(STEP_S * WORK_HZ)):
        if float(np.mean(np.square(room[start : start + block]))) >= QUIET_RMS**2:
            yield start


class _Voice:
    """A voice whose spectrum is made once, to be compared with many blocks of one length."""

    def __init__(self, sound: _Wave, block: int) -> None:
        self._size = 1 << (len(sound) + block - 1).bit_length()
        self._spectrum = np.fft.rfft(sound, self._size)
        sums = np.concatenate(([0.0], np.cumsum(np.square(sound))))
        self._places = len(sound) - block + 1
        self._energy = np.maximum(sums[block:] - sums[: self._places], block * QUIET_RMS**2)

    def correlation(self, heard: _Wave) -> float:
        """The best normalised correlation of this block anywhere in the voice."""
        cross = np.fft.irfft(self._spectrum * np.conj(np.fft.rfft(heard, self._size)), self._size)[: self._places]
        return float(np.max(cross / np.sqrt(self._energy * float(np.dot(heard, heard)))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints {"returns_s"}; exit 0 if the voice comes back, 1 if not, 2 for unreadable files."""
    parser = argparse.ArgumentParser("python -m intercomd.demo.returning", description="When does a voice come back?")
    parser.add_argument("source", type=Path, help="WAV, 16-bit mono")
    parser.add_argument("recorded", type=Path, help="48 kHz 16-bit mono without a header")
    parser.add_argument("--after", type=float, default=0.0, metavar="SECONDS", help="look from here on")
    options = parser.parse_args(arguments)
    try:
        found_s = returns_s(read_wav(options.source), read_raw(options.recorded), options.after)
    except (OSError, ValueError, wave.Error, EOFError) as error:
        print(f"returning: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"returns_s": found_s}))
    return 0 if found_s is not None else 1


if __name__ == "__main__":
    sys.exit(main())
