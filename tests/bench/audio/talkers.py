"""Four voices that read: two women, two men, of espeak-ng, so that anybody's run has the same words."""

import io
import shutil
import subprocess
import wave
from functools import cache
from typing import Final

import numpy as np

from intercomd.media.pcm import RATE_HZ, Pcm

VOICES: Final = ("en-us+m3", "en-gb+f2", "de+m7", "fr+f4")
LEVEL_DBFS: Final = -20.0

_TEXTS: Final = (
    "The courier has left a parcel at the gate. He could not find the bell, so he rang at the neighbour instead. "
    "If nobody comes down before noon, it goes back to the depot, and you would have to fetch it there yourself. "
    "Please bring some paper that shows your name. The stairs are wet, take care when you walk down.",
    "Good evening, this is the ground floor speaking. The light in the yard does not work, and the key turns badly. "
    "Would you open the inner door for a moment? We are three people with a piano and two boxes of books. "
    "It will take us about a quarter of an hour, and after that the lift is free again for everyone.",
    "Guten Tag, hier ist die Werkstatt. Die neue Pumpe ist angekommen und kann morgen eingebaut werden. Bitte sorgen "
    "Sie dafür, dass der Keller offen ist und jemand den Haupthahn zudreht. Danach prüfen wir alle Leitungen noch "
    "einmal von oben bis unten und schreiben auf, was sonst noch fehlt.",
    "Bonjour, je suis en bas avec les fleurs pour la fête. Pouvez-vous ouvrir la grande porte, car la petite est trop "
    "étroite pour le chariot ? Je reviens chercher les vases vides jeudi matin, vers neuf heures. Merci beaucoup et "
    "bonne soirée à toute la maison.",
)


def missing() -> str:
    """Why there are no voices; empty if there are."""
    return "" if shutil.which("espeak-ng") else "espeak-ng is not installed: apt install espeak-ng"


@cache
def talk(voice: int, length_s: float) -> Pcm:
    """Voice number 0 to 3 reads its text again and again; 48 kHz, `LEVEL_DBFS`, read-only."""
    command = ["espeak-ng", "-v", VOICES[voice], "-s", "165", "--stdout"]
    done = subprocess.run(command, input=_TEXTS[voice].encode(), capture_output=True, check=True, timeout=30)
    with wave.open(io.BytesIO(done.stdout)) as file:
        rate_hz = file.getframerate()
        # Piped, its header promises two gigabytes.
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float64)
    sound = _resampled(said, rate_hz)
    frames = sound[: len(sound) // 480 * 480].reshape(-1, 480)
    power = np.mean(frames**2, axis=1)
    sound *= 32768 * 10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(power[power > power.max() * 1e-3]))
    whole = np.tile(sound, 1 + int(length_s * RATE_HZ / len(sound)))[: round(length_s * RATE_HZ)]
    pcm = np.rint(whole).clip(-32768, 32767).astype(np.int16)
    pcm.setflags(write=False)
    return pcm


def _resampled(sound: "np.ndarray[tuple[int], np.dtype[np.float64]]", rate_hz: int) -> "np.ndarray":
    """Band-limited, by the whole spectrum at once."""
    length = round(len(sound) * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(sound)
    wide = np.zeros(length // 2 + 1, np.complex128)
    wide[: len(spectrum)] = spectrum[: len(wide)]
    return np.fft.irfft(wide, length) * (length / len(sound))
