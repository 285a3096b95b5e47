"""A call in a room, offline: what is played comes back as an echo, beside a near end that may speak as well."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from tests.bench.audio.cancellers import Contender
from tests.bench.audio.rooms import Room, Wave, drifted, echo, noise, pcm

AHEAD_PERIODS: Final = 2
"""What the card holds of playout: the reference is known before it is heard."""


@dataclass(frozen=True, slots=True)
class Scene:
    """`microphone` is all that is captured, `near` the near end's part of it, by the microphone's clock."""

    room: Room
    played: Pcm
    microphone: Pcm
    near: Wave


def scene(room: Room, played: Pcm, near: Wave | None = None, jump_s: float | None = None) -> Scene:
    """`jump_s`: from then on the echo comes 50 ms later."""
    heard = echo(room, played)
    if jump_s is not None:
        at, later = round(jump_s * RATE_HZ), round(0.05 * RATE_HZ)
        heard = np.concatenate([heard[:at], heard[at - later : len(heard) - later]])
    near = np.zeros(len(played)) if near is None else near
    captured = drifted(heard + near, room.ppm)
    near = drifted(near, room.ppm)
    return Scene(room, played, pcm(captured + noise(room, len(captured))), near)


def sent(contender: Contender, scene: Scene) -> Pcm:
    """What the far end gets; as long as the microphone's sound, in whole periods."""
    periods = scene.played.reshape(-1, PERIOD_FRAMES)
    captured = scene.microphone[: len(scene.microphone) // PERIOD_FRAMES * PERIOD_FRAMES].reshape(-1, PERIOD_FRAMES)
    given, out = 0, []
    for turn, period in enumerate(captured):
        # By the loudspeaker's clock; a period is captured when its last frame was.
        now = (turn + 1) / (1 + scene.room.ppm * 1e-6) + AHEAD_PERIODS
        while given < min(now, len(periods)):
            contender.play(periods[given])
            given += 1
        out.append(contender.hear(period))
    return np.concatenate(out)


def loss_db(scene: Scene, out: Pcm, start_s: float, end_s: float) -> float:
    """Echo return loss enhancement: captured over sent energy, without a near end."""
    at = slice(round(start_s * RATE_HZ), round(end_s * RATE_HZ))
    before, after = (float(np.mean(wave[at].astype(float) ** 2)) for wave in (scene.microphone, out))
    return float(10 * np.log10(before / max(after, 0.1)))


def delay_of(near: Wave, out: Pcm) -> int:
    """By how many frames the near end comes later in `out`; within 60 ms."""
    size = 1 << (2 * len(out)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(out.astype(float), size) * np.conj(np.fft.rfft(near[: len(out)], size)), size)
    return int(np.argmax(np.abs(cross[: RATE_HZ * 60 // 1000])))
