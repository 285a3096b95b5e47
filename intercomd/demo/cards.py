"""The stations' sound cards in the rig, and the people before their microphones: a pulled card silences both."""

import asyncio

from intercomd.demo.feed import CardsError
from intercomd.demo.sound import Child, SoundError, SoundRig, sentence


class RigCards:
    """`feed.Cards` over a `SoundRig`. Plugging takes three calls of pactl, so it is done beside the event loop, one
    at a time."""

    def __init__(self, rig: SoundRig, pause_s: float = 1.0) -> None:
        """`pause_s` is how long people draw breath between two sentences."""
        self._rig = rig
        self._pause_s = pause_s
        self._unplugged: set[str] = set()
        self._speakers: dict[str, Child] = {}
        self._turn = asyncio.Lock()

    def plugged(self, station: str) -> bool:
        return station not in self._unplugged

    def speak(self, station: str) -> None:
        """Somebody there says the station's sentence again and again."""
        self.hush(station)
        self._speakers[station] = self._rig.speak(station, sentence(self._rig.stations.index(station)), self._pause_s)

    def hush(self, station: str) -> None:
        """Nobody speaks there any more."""
        speaker = self._speakers.pop(station, None)
        if speaker is not None:
            speaker.close()

    async def plug(self, station: str, plugged: bool) -> None:
        """Plug or unplug; nothing happens if it is so already. Raises `CardsError`."""
        async with self._turn:
            if plugged is self.plugged(station):
                return
            try:
                await asyncio.to_thread(self._move, station, plugged)
            except SoundError as error:
                raise CardsError(str(error)) from error

    def _move(self, station: str, plugged: bool) -> None:
        if plugged:
            self._rig.plug(station)
            self._unplugged.discard(station)
            self.speak(station)
        else:
            self._unplugged.add(station)
            self.hush(station)
            self._rig.unplug(station)
