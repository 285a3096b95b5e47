"""Was that sentence said? What QEMU's USB loudspeaker has played, beside the sound files that the card ships with."""

from pathlib import Path

import numpy as np

from intercomd.demo.listen import SAME_VOICE, find, read_wav
from intercomd.media.pcm import RATE_HZ, Pcm
from intercomd.texts.speaking import SPOKEN

CHANNELS = 2
HEADER_BYTES = 44
"""QEMU completes it only when it ends by itself (audio/wavaudio.c), so it is not read."""
PIECE_S = 1
"""An emulated machine gives the card its samples late now and then: the pieces are sought one by one."""


def played(file: Path) -> Pcm:
    """What came out of the loudspeaker's left channel until now, 48 kHz."""
    raw = file.read_bytes()[HEADER_BYTES:] if file.exists() else b""
    frames = len(raw) // (2 * CHANNELS)
    return np.frombuffer(raw[: frames * 2 * CHANNELS], "<i2").reshape(-1, CHANNELS)[:, 0].astype(np.int16)


def played_s(file: Path) -> float:
    return (file.stat().st_size - HEADER_BYTES) / (2 * CHANNELS * RATE_HZ) if file.exists() else 0.0


def said(recorded: Pcm, language: str, name: str) -> float:
    """The share of this sentence's seconds that are in the recording, 0 to 1."""
    sentence = read_wav(SPOKEN / language / f"{name}.wav")
    pieces = [sentence[at : at + PIECE_S * RATE_HZ] for at in range(0, len(sentence) - RATE_HZ // 2, PIECE_S * RATE_HZ)]
    return sum(find(piece, recorded).correlation >= SAME_VOICE for piece in pieces) / len(pieces)
