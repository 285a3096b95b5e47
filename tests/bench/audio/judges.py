"""How much of what was said is left in what was heard: wide-band PESQ (ITU-T P.862.2) and STOI."""

from importlib.util import find_spec
from typing import Final

import numpy as np

from intercomd.media.pcm import RATE_HZ, Pcm
from tests.unit.sounds import best_alignment

_JUDGE_HZ: Final = 16_000
_PART_S: Final = 2
_REACH_S: Final = 1
"""How much later a part may be heard than it was said."""


def missing() -> str:
    """Why there is no judge; empty if there is."""
    absent = [name for name in ("pesq", "pystoi") if find_spec(name) is None]
    return f"not installed: {', '.join(absent)} (pip install -e .[bench])" if absent else ""


def pesq(said: Pcm, heard: Pcm) -> float:
    """1.0 to 4.64. The judge finds changing delays by itself."""
    from pesq import pesq as judge

    return float(judge(_JUDGE_HZ, narrowed(said), narrowed(heard), "wb"))


def stoi(said: Pcm, heard: Pcm) -> float:
    """0 to 1: parts of two seconds, each where it lies best, because the judge itself knows no delay."""
    from pystoi import stoi as judge

    part, reach = _PART_S * RATE_HZ, _REACH_S * RATE_HZ
    scores = []
    for begin in range(0, len(said) - part - reach, part):
        spoken = said[begin : begin + part]
        around = heard[begin : begin + part + reach]
        at, _ = best_alignment(spoken, around)
        found = np.zeros(part, np.int16)
        found[: len(around) - at] = around[at : at + part]
        scores.append(float(judge(narrowed(spoken), narrowed(found), _JUDGE_HZ)))
    return float(np.mean(scores))


def narrowed(sound: Pcm) -> Pcm:
    """At the judges' rate, by the whole spectrum at once."""
    length = len(sound) * _JUDGE_HZ // RATE_HZ
    spectrum = np.fft.rfft(sound.astype(np.float64))[: length // 2 + 1]
    narrow = np.fft.irfft(spectrum, length) * (length / len(sound))
    return np.rint(narrow).clip(-32768, 32767).astype(np.int16)
