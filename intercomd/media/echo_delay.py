"""How long the echo takes: from a frame of reference to its sound in what the microphone hears.

Generalised cross-correlation with phase transform (Knapp and Carter, 1976) at 8 kHz: whitened, speech has one sharp
peak also in a room that rings. A chirp is nothing special to it, only a sound that has all frequencies; it makes the
first measurement certain before anybody has spoken.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from intercomd.media.narrow import FACTOR, NARROW_FRAMES, Wave
from intercomd.media.pcm import RATE_HZ, Pcm

_HALVED: Final = 2
DECIMATION: Final = FACTOR * _HALVED
_RATE: Final = RATE_HZ // DECIMATION
_WINDOW: Final = 4000
"""Half a second, of which the echo may be late by `LONGEST_S`."""
_STEP: Final = _WINDOW // 2
_FFT: Final = 8192
LONGEST_S: Final = 0.4
_LAGS: Final = int(_RATE * LONGEST_S)
_KEPT: Final = 0.6
"""Of the last spectrum, at each look: some four looks, one second, make the mean."""
_SPREAD: Final = 9.0
"""Peak over the root mean square of all lags. Noise alone reaches 4 (the largest of 3200), rooms give 12 and more."""
_LOUD: Final = 100.0
"""RMS of the reference, −50 dBFS: below there is nothing to find."""
_LOW_HZ, _HIGH_HZ = 200.0, 3500.0

CHIRP_S: Final = 0.12


def chirp() -> Pcm:
    """A short rising tone, −26 dBFS at its peak, whole periods: enough for one look."""
    time = np.arange(round(CHIRP_S * RATE_HZ)) / RATE_HZ
    low, high = 350.0, 3400.0
    rate = np.log(high / low) / CHIRP_S
    sweep = np.sin(2 * np.pi * low / rate * (np.exp(rate * time) - 1)) * np.hanning(len(time)) ** 0.25
    sound: Pcm = (sweep * 32767 * 10 ** (-26 / 20)).astype(np.int16)
    return sound


class EchoDelay:
    """For the capture thread. `see` takes what `Reference.matching` gave and the period that was captured, at 16 kHz,
    and does nothing else with them until there is enough for a look."""

    def __init__(self) -> None:
        self._sounds: Wave = np.zeros((2, _HALVED * _WINDOW), np.float32)
        band = np.fft.rfftfreq(_FFT, 1 / _RATE)
        self._band = ((band > _LOW_HZ) & (band < _HIGH_HZ)).astype(np.float32)
        self.clear()

    def clear(self) -> None:
        """Another alignment: what was found holds no more."""
        self._mean: npt.NDArray[np.complex64] = np.zeros(_FFT // 2 + 1, np.complex64)
        self._at = 0
        self.delay_frames: int | None = None
        """Of the echo behind the reference; None while none was found."""
        self.audible = False
        """The last look, in which the far end was loud, found an echo."""

    def see(self, reference: Wave, captured: Wave) -> bool:
        """Both of shape (160,). Returns whether this period completed a look, in which the far end was loud enough to
        tell something."""
        until = self._at + NARROW_FRAMES
        self._sounds[0, self._at : until] = reference
        self._sounds[1, self._at : until] = captured
        self._at = until
        if until < _HALVED * _WINDOW:
            return False
        looked = self._look()
        # Half of the window stays, so that an echo across its edge is seen as well.
        self._at = _HALVED * _STEP
        self._sounds[:, : self._at] = self._sounds[:, self._at :]
        return looked

    def _look(self) -> bool:
        # Its poor stop band aliases both sides alike, and nothing above 3.5 kHz is looked at.
        sounds = self._sounds[:, ::_HALVED] + self._sounds[:, 1::_HALVED]
        if float(np.dot(sounds[0], sounds[0])) < _LOUD**2 * _WINDOW * _HALVED**2:
            return False
        ahead, heard = np.fft.rfft(sounds, _FFT)
        cross = heard * np.conj(ahead)
        self._mean = _KEPT * self._mean + (cross / (np.abs(cross) + 1e-3)).astype(np.complex64)
        lags = np.abs(np.fft.irfft(self._mean * self._band)[:_LAGS])
        peak = int(np.argmax(lags))
        spread = float(np.sqrt(np.mean(lags * lags)))
        self.audible = spread > 0 and float(lags[peak]) > _SPREAD * spread
        if self.audible:
            self.delay_frames = peak * DECIMATION
        return True
