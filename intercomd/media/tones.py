"""The sound of every tone and jingle, made from partials when it is first heard.

Ringback and busy are what ITU-T E.180 and Q.35 give for most of the world (425 Hz, 1 s on and 4 s off; 0.5 s each);
people know them. The rest must be told apart from these and from each other by anyone: a chime for ringing, low beeps
that count out the kind of an error as the error LED does, rising notes for what begins and falling for what ends.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt

from intercomd.core.effects import Jingle, Tone
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm

_Wave = npt.NDArray[np.float32]

PEAK_DBFS = -6.0
"""No tone goes higher: a voice fits above it in the mix, and a small loudspeaker does not rattle."""
_FADE_S = 0.005
"""Shorter clicks, longer blurs the attack."""

_C5, _E5, _G5, _A5, _C6 = 523.25, 659.26, 783.99, 880.0, 1046.5

_ERROR_BEEPS = {
    Tone.ERROR_NOT_ALLOWED: 1,
    Tone.ERROR_NOT_FOUND: 2,
    Tone.ERROR_NETWORK: 3,
    Tone.ERROR_TIMEOUT: 4,
    Tone.ERROR_UNKNOWN: 5,
}
"""In the order of `core.effects.Light.FLASH_1` to `FLASH_5`."""


@cache
def loop_of(tone: Tone) -> Pcm:
    """One turn of the loop with its pause, whole periods, read-only. It begins with sound: the first turn is the
    event's."""
    match tone:
        case Tone.RINGBACK:
            return _loop([_beep(425.0, 1.0, -16.0)], 5.0)
        case Tone.BUSY:
            return _loop([_beep(425.0, 0.5, -16.0)], 1.0)
        case Tone.RINGING:
            chime = [_bell(_E5, 0.7, -8.0), _bell(_C5, 1.1, -8.0)]
            return _loop([_overlapped(chime, 0.45)], 2.5)
        case Tone.LOCATE:
            steps = [_bell(pitch_hz, 0.25, -8.0) for pitch_hz in (_C5, _E5, _G5, _C6)]
            return _loop([_overlapped(steps, 0.12)], 1.2)
        case Tone.QUEUED:
            return _loop([_beep(425.0, 0.15, -20.0), _pause(0.15), _beep(425.0, 0.15, -20.0)], 4.0)
        case Tone.ANNOUNCED:
            steps = [_bell(pitch_hz, 0.3, -8.0) for pitch_hz in (_G5, _E5, _G5)]
            return _loop([_overlapped(steps, 0.16)], 1.0)
        case Tone.RECONNECTING:
            return _loop([_beep(330.0, 0.12, -28.0), _pause(0.12), _beep(330.0, 0.12, -28.0)], 2.0)
        case _:
            beeps = _ERROR_BEEPS[tone]
            return _loop([_buzz(311.0, 0.14, -14.0), _pause(0.16)] * beeps, 0.3 * beeps + 1.2)


@cache
def jingle_of(jingle: Jingle) -> Pcm:
    """Once, whole periods, read-only, at most 300 ms."""
    match jingle:
        case Jingle.CONNECTED:
            return _whole([_beep(_A5, 0.07, -18.0), _pause(0.03), _beep(_A5 * 1.5, 0.09, -18.0)])
        case Jingle.RESTORED:
            return _whole([_beep(_C5, 0.08, -16.0), _beep(_E5, 0.08, -16.0), _beep(_C6, 0.13, -16.0)])
        case Jingle.TALK_LIMIT:
            return _whole([_beep(_C6, 0.1, -16.0), _pause(0.06), _beep(_C6, 0.1, -16.0)])
        case Jingle.PROLONGED:
            return _whole([_beep(_G5, 0.07, -18.0), _pause(0.03), _beep(_C6, 0.14, -18.0)])
        case Jingle.DOOR_OPENED:
            return _whole([_beep(_E5, 0.08, -16.0), _beep(_A5, 0.08, -16.0), _beep(_E5 * 2, 0.12, -16.0)])
        case Jingle.REFUSED:
            return _whole([_buzz(233.0, 0.11, -14.0), _pause(0.06), _buzz(233.0, 0.11, -14.0)])
        case Jingle.ENDED:
            return _whole([_beep(_G5, 0.09, -18.0), _pause(0.03), _beep(_C5, 0.16, -18.0)])


def _time(length_s: float) -> _Wave:
    return np.arange(round(length_s * RATE_HZ), dtype=np.float32) / np.float32(RATE_HZ)


def _gain(level_dbfs: float) -> float:
    return float(10.0 ** (level_dbfs / 20.0))


def _pause(length_s: float) -> _Wave:
    return np.zeros(round(length_s * RATE_HZ), np.float32)


def _beep(pitch_hz: float, length_s: float, peak_dbfs: float) -> _Wave:
    """A plain sine with faded ends."""
    return _faded(np.sin(2 * np.pi * pitch_hz * _time(length_s)).astype(np.float32)) * np.float32(_gain(peak_dbfs))


def _buzz(pitch_hz: float, length_s: float, peak_dbfs: float) -> _Wave:
    """Odd partials: rough, and heard from loudspeakers too small for its pitch."""
    t = _time(length_s)
    wave = sum(np.sin(2 * np.pi * pitch_hz * partial * t) / partial for partial in (1, 3, 5))
    buzz = _faded(np.asarray(wave, np.float32))
    return buzz * np.float32(_gain(peak_dbfs) / float(np.abs(buzz).max()))


def _bell(pitch_hz: float, length_s: float, peak_dbfs: float) -> _Wave:
    """A struck bar: few partials, the higher ones die sooner."""
    t = _time(length_s)
    partials = ((1.0, 1.0, 4.0), (2.0, 0.35, 7.0), (3.0, 0.12, 11.0))
    wave = sum(
        share * np.sin(2 * np.pi * pitch_hz * ratio * t) * np.exp(-decay * t) for ratio, share, decay in partials
    )
    struck = _faded(np.asarray(wave, np.float32))
    return struck * np.float32(_gain(peak_dbfs) / float(np.abs(struck).max()))


def _faded(wave: _Wave) -> _Wave:
    """Raised cosine at both ends, so that nothing clicks."""
    ramp = (0.5 - 0.5 * np.cos(np.pi * _time(_FADE_S) / _FADE_S)).astype(np.float32)
    wave[: len(ramp)] *= ramp
    wave[-len(ramp) :] *= ramp[::-1]
    return wave


def _overlapped(waves: list[_Wave], apart_s: float) -> _Wave:
    """Each wave begins `apart_s` after the one before it and rings on below the next."""
    apart = round(apart_s * RATE_HZ)
    total = np.zeros(max(i * apart + len(wave) for i, wave in enumerate(waves)), np.float32)
    for i, wave in enumerate(waves):
        total[i * apart : i * apart + len(wave)] += wave
    return total * np.float32(min(1.0, _gain(PEAK_DBFS) / float(np.abs(total).max())))


def _loop(waves: Iterable[_Wave], turn_s: float) -> Pcm:
    sound = np.concatenate(list(waves))
    return _whole([sound, np.zeros(max(0, round(turn_s * RATE_HZ) - len(sound)), np.float32)])


def _whole(waves: Iterable[_Wave]) -> Pcm:
    """To the format, silence up to the end of the last period."""
    sound = np.concatenate(list(waves))
    padded = np.zeros(-(-len(sound) // PERIOD_FRAMES) * PERIOD_FRAMES, np.float32)
    padded[: len(sound)] = sound
    pcm = (padded * 32767).astype(np.int16)
    pcm.setflags(write=False)
    return pcm
