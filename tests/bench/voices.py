"""People at the stations who never stop speaking: any moment without them is a gap, and any first moment is at once."""

import wave
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from intercomd.demo.house import House
from intercomd.demo.listen import read_wav
from intercomd.demo.sound import sentence
from intercomd.media.pcm import RATE_HZ, Pcm
from tests.bench.sounds import without_pauses


def voice_of(house: House, station: str) -> Pcm:
    """What is said there, over and over."""
    return without_pauses(read_wav(sentence(house.rig.stations.index(station))))


@contextmanager
def speaking(house: House, directory: Path, stations: Sequence[str]) -> Iterator[None]:
    """Somebody speaks at each of these stations."""
    with ExitStack() as stack:
        for station in stations:
            path = directory / f"{station}.wav"
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
                file.writeframes(voice_of(house, station).tobytes())
            stack.enter_context(house.rig.speak(station, path, pause_s=0))
        yield
