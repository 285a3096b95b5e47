"""Sounds for tests of the media path, and how alike two of them are."""

import numpy as np

from intercomd.media.pcm import RATE_HZ, Pcm


def speech(seed: int, frames: int) -> Pcm:
    """Speech-like: a voice of wandering pitch (90 to 180 Hz) with two formants and a little breath, in syllables of
    100 ms. It does not repeat, so it is found at one place only; codecs take it for a voice."""
    dice = np.random.default_rng(seed)
    corners = dice.uniform(90, 180, frames // 4800 + 2)
    pitch_hz = np.interp(np.arange(frames) / 4800, np.arange(len(corners)), corners)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voice = np.zeros(frames)
    for harmonic in range(1, 25):
        weight = sum(np.exp(-(((harmonic * 130 - formant) / 300) ** 2)) for formant in (500, 1500))
        voice += (weight + 0.05) * np.sin(harmonic * phase + dice.uniform(0, 6))
    breath = np.convolve(dice.normal(0, 0.1, frames + 15), np.hanning(18)[1:-1], "valid")[:frames]
    loudness = np.repeat(dice.uniform(0.15, 1, frames // 4800 + 2), 4800)
    spoken = (voice + breath) * np.convolve(loudness, np.ones(960) / 960, "same")[:frames]
    voiced: Pcm = (spoken / np.abs(spoken).max() * 14_000).astype(np.int16)
    return voiced


def correlation(one: Pcm, other: Pcm) -> float:
    """Of two sounds that lie over each other: 1 for equal shape, 0 for strangers."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    return float(np.dot(a, b) / (np.sqrt(np.dot(a, a) * np.dot(b, b)) + 1e-9))


def best_alignment(reference: Pcm, recording: Pcm) -> tuple[int, float]:
    """Where in `recording` the `reference` is found best (in frames), and the correlation there."""
    size = 1 << (len(reference) + len(recording) - 1).bit_length()
    spectrum = np.fft.rfft(recording.astype(np.float64), size)
    cross = np.fft.irfft(spectrum * np.conj(np.fft.rfft(reference.astype(np.float64), size)), size)
    at = int(np.argmax(cross[: max(1, len(recording))]))
    part = recording[at : at + len(reference)]
    return at, correlation(reference[: len(part)], part)


SAME_VOICE = 0.55
"""`likeness` of voice that went through a real-time path, where a busy machine costs a stretched period here and there;
on a quiet one it is over 0.75."""


def likeness(reference: Pcm, recording: Pcm, part_frames: int = 12_000) -> float:
    """How much of `reference` is in `recording`: the median over its parts of 250 ms, each found where it lies best, so
    that a delay which changes on the way does not count. Over 0.75 for voice that went through a codec, under 0.3 for
    another voice."""
    starts = range(0, len(reference) - part_frames + 1, part_frames)
    return float(np.median([best_alignment(reference[at : at + part_frames], recording)[1] for at in starts]))
