"""Recorded sentences through the sound card, for a station that cannot do more than that."""

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from intercomd.config import Mistake
from intercomd.config.tables import Config
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, SILENCE, Pcm
from intercomd.ports import CardError, SoundCard
from intercomd.texts import Language
from intercomd.texts.speaking import RATE_HZ as SPOKEN_HZ
from intercomd.texts.speaking import sound

GAP_S = 0.3
RETRY_S = 5.0
_DRAIN_PERIODS = 20
"""Silence behind the last word: what is still queued when a PCM closes is dropped."""


def spoken(mistakes: Sequence[Mistake], language: Language) -> bytes:
    """What is said of these mistakes, 16-bit samples of `RATE_HZ`: that there are some, and where the first one is."""
    names = ["configuration"]
    if mistakes:
        table = mistakes[0].where.split(".")[0].split("[")[0]
        names.append(table if table in Config.__struct_fields__ else "file")
    gap = bytes(2 * round(GAP_S * RATE_HZ))
    return gap.join(_raised(sound(name, language)) for name in names)


def _raised(samples: bytes) -> bytes:
    """To the card's rate, by zeros above the old band: exact for a sound that begins and ends in silence."""
    old = np.frombuffer(samples, "<i2").astype(np.float64)
    ratio = RATE_HZ // SPOKEN_HZ
    new = np.fft.irfft(np.fft.rfft(old), len(old) * ratio) * ratio
    return np.clip(np.rint(new), -32768, 32767).astype("<i2").tobytes()


def speak(
    card: SoundCard,
    pcms: Sequence[str],
    sentence: bytes,
    times: int,
    pause_s: float,
    asked: threading.Event,
    ended: threading.Event,
    on_failure: Callable[[Exception], None],
) -> None:
    """A thread's main: say it `times` times, then whenever `asked`, until `ended`. A card that is not there is tried
    again every `RETRY_S`; `on_failure` hears of the first failure."""
    said, told = 0, False
    while not ended.is_set():
        try:
            _say(card, pcms, sentence, ended)
            said += 1
            wait_s = pause_s if said < times else None
        except CardError as error:
            if not told:
                on_failure(error)
            told, wait_s = True, RETRY_S
        asked.wait(wait_s)
        asked.clear()


def _say(card: SoundCard, pcms: Sequence[str], sentence: bytes, ended: threading.Event) -> None:
    """Through the first PCM that opens. Raises `CardError`, that of the last one."""
    for number, pcm in enumerate(pcms, 1):
        try:
            stream = card.open_playout(pcm)
            break
        except CardError:
            if number == len(pcms):
                raise
    try:
        for period in _periods(sentence):
            if ended.is_set():
                return
            stream.write(period)
    finally:
        stream.close()


def _periods(sentence: bytes) -> Iterator[Pcm]:
    samples = np.frombuffer(sentence, "<i2").astype(np.int16)
    for first in range(0, len(samples), PERIOD_FRAMES):
        part = samples[first : first + PERIOD_FRAMES]
        yield np.concatenate([part, SILENCE[: PERIOD_FRAMES - len(part)]]) if len(part) < PERIOD_FRAMES else part
    yield from [SILENCE] * _DRAIN_PERIODS
