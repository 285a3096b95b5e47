"""Is this voice in that recording? Verification from outside the stations, by delayed cross-correlation.

    python -m intercomd.demo.listen SOURCE.wav RECORDED.raw

Both are brought to 8 kHz and telephone bandwidth. The source is cut into segments of speech; each is slid over the
recording (normalised: gain does not matter) and may lie up to 100 ms off a common delay, for a receive buffer
stretches and conceals and a busy machine makes gaps. The correlation is the mean over the segments at the delay where
it is highest; delays count at which a part of the source lies outside the recording, as long as enough of it lies
inside. Other voices stay below 0.2, coded and decoded speech above 0.8 (0.75 where half of it is missing):
`SAME_VOICE` lies between.
"""

import argparse
import json
import sys
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.media.pcm import RATE_HZ, Pcm

SAME_VOICE: Final = 0.6
WORK_HZ: Final = 8000
_BAND_HZ: Final = (300.0, 3400.0)
_BIN: Final = 40
"""5 ms: the grid of common delays."""
_SEGMENT: Final = 100 * _BIN
_TOLERANCE_BINS: Final = 20
"""100 ms. Other voices gain 0.03 by it, against 20 ms."""
_SPEECH_BELOW_PEAK_DB: Final = 25.0
_MIN_SHARE: Final = 0.4
"""Of the source's energy-bearing segments that must lie inside the recording."""
_SILENCE_RMS: Final = 8.0
"""Of 32768: below, there is nothing to compare."""

_Wave = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Match:
    """`correlation` 0 to 1; `delay_ms` from the beginning of the recording to that of the source (negative if the
    recording began in its middle)."""

    correlation: float
    delay_ms: float


def find(source: Pcm, recorded: Pcm) -> Match:
    """Where `source` is best heard in `recorded`, and how well. Both 48 kHz mono."""
    voice, room = narrow(source), narrow(recorded)
    starts = _speech(voice)
    if len(room) < _SEGMENT or not starts:
        return Match(0.0, 0.0)
    curves = [_correlated(voice[start : start + _SEGMENT], room) for start in starts]
    scores = _scores([start // _BIN for start in starts], [_peaks(curve) for curve in curves])
    if not scores:
        return Match(0.0, 0.0)
    best = max(scores, key=lambda delay: scores[delay])
    return Match(round(scores[best], 3), round(_exact_delay(best, starts, curves) * 1000 / WORK_HZ, 1))


def read_wav(path: Path) -> Pcm:
    """16-bit mono of any rate, at 48 kHz."""
    with wave.open(str(path), "rb") as file:
        if file.getnchannels() != 1 or file.getsampwidth() != 2:
            raise ValueError(
                f"{path}: {file.getnchannels()} channel(s) of {8 * file.getsampwidth()} bit; 1 of 16 needed"
            )
        rate_hz, sound = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
    return sound if rate_hz == RATE_HZ else _resampled(sound, rate_hz)


def read_raw(path: Path) -> Pcm:
    """48 kHz, 16-bit mono without a header; half a frame at the end is dropped."""
    raw = path.read_bytes()
    return np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.int16)


def _resampled(sound: Pcm, rate_hz: int) -> Pcm:
    frames = round(len(sound) * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(sound.astype(np.float64))
    whole: _Wave = np.fft.irfft(spectrum, frames) * (frames / max(1, len(sound)))
    return whole.clip(-32768, 32767).astype(np.int16)


def narrow(sound: Pcm) -> _Wave:
    """At 8 kHz, 300 to 3400 Hz. By FFT: linear phase, no filter to design."""
    step = RATE_HZ // WORK_HZ
    whole = sound[: len(sound) // step * step].astype(np.float64)
    if not len(whole):
        return np.zeros(0)
    spectrum = np.fft.rfft(whole)[: len(whole) // step // 2 + 1]
    pitch_hz = np.arange(len(spectrum)) * RATE_HZ / len(whole)
    spectrum[(pitch_hz < _BAND_HZ[0]) | (pitch_hz > _BAND_HZ[1])] = 0
    return np.fft.irfft(spectrum, len(whole) // step) / step


def _speech(voice: _Wave) -> list[int]:
    """Where the segments begin that are loud enough to be compared."""
    starts = range(0, len(voice) - _SEGMENT + 1, _SEGMENT)
    energies = {start: float(np.mean(np.square(voice[start : start + _SEGMENT]))) for start in starts}
    limit = max(_SILENCE_RMS**2, max(energies.values(), default=0.0) * 10 ** (-_SPEECH_BELOW_PEAK_DB / 10))
    return [start for start, energy in energies.items() if energy >= limit]


def _correlated(segment: _Wave, room: _Wave) -> _Wave:
    """Normalised cross-correlation at every place where the segment lies wholly inside."""
    size = 1 << (len(segment) + len(room) - 1).bit_length()
    cross = np.fft.irfft(np.fft.rfft(room, size) * np.conj(np.fft.rfft(segment, size)), size)
    places = len(room) - len(segment) + 1
    sums = np.concatenate(([0.0], np.cumsum(np.square(room))))
    energy = np.maximum(sums[len(segment) :] - sums[:places], len(segment) * _SILENCE_RMS**2)
    curve: _Wave = cross[:places] / np.sqrt(energy * float(np.dot(segment, segment)))
    return curve


def _peaks(curve: _Wave) -> _Wave:
    """The highest value within the tolerance of each bin."""
    bins = -(-len(curve) // _BIN)
    padded = np.zeros((bins + 2 * _TOLERANCE_BINS) * _BIN)
    padded[_TOLERANCE_BINS * _BIN : _TOLERANCE_BINS * _BIN + len(curve)] = curve
    tops = padded.reshape(-1, _BIN).max(axis=1)
    peaks: _Wave = np.lib.stride_tricks.sliding_window_view(tops, 2 * _TOLERANCE_BINS + 1).max(axis=1)
    return peaks


def _scores(places: Sequence[int], peaks: Sequence[_Wave]) -> dict[int, float]:
    """The mean correlation by common delay, in bins, of the segments that lie inside the recording there."""
    bins = len(peaks[0])
    needed = max(1, round(_MIN_SHARE * len(places)))
    total, inside = np.zeros(bins + max(places)), np.zeros(bins + max(places), np.int64)
    for place, tops in zip(places, peaks, strict=True):
        begin = max(places) - place
        total[begin : begin + bins] += tops
        inside[begin : begin + bins] += 1
    enough = np.flatnonzero(inside >= needed)
    return {int(at) - max(places): float(total[at] / inside[at]) for at in enough}


def _exact_delay(delay_bins: int, starts: Sequence[int], curves: Sequence[_Wave]) -> int:
    """The delay of the segment that is found best, in samples."""
    found: list[tuple[float, int]] = []
    for start, curve in zip(starts, curves, strict=True):
        begin = max(0, delay_bins * _BIN + start - _TOLERANCE_BINS * _BIN)
        window = curve[begin : delay_bins * _BIN + start + (_TOLERANCE_BINS + 1) * _BIN]
        if len(window):
            at = int(np.argmax(window))
            found.append((float(window[at]), begin + at - start))
    return max(found)[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints {"correlation", "delay_ms", "ok"}; exit 0 if the voice is there, 1 if not, 2 for unreadable files."""
    parser = argparse.ArgumentParser("python -m intercomd.demo.listen", description="Is this voice in that recording?")
    parser.add_argument("source", type=Path, help="WAV, 16-bit mono")
    parser.add_argument("recorded", type=Path, help="48 kHz 16-bit mono without a header")
    parser.add_argument("--at-least", type=float, default=SAME_VOICE, metavar="CORRELATION")
    options = parser.parse_args(arguments)
    try:
        match = find(read_wav(options.source), read_raw(options.recorded))
    except (OSError, ValueError, wave.Error, EOFError) as error:
        print(f"listen: {error}", file=sys.stderr)
        return 2
    ok = match.correlation >= options.at_least
    print(json.dumps({**asdict(match), "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
