"""An Opus packet as RTP brought it, and what its first bytes say without decoding (RFC 6716 section 3)."""

from dataclasses import dataclass

MAX_FRAMES = 5760
"""120 ms: no Opus packet is longer (RFC 6716 section 3.2.5)."""

_SILK_FRAMES = (480, 960, 1920, 2880)
_CELT_FRAMES = (120, 240, 480, 960)
_FIRST_HYBRID, _FIRST_CELT = 12, 16
_MAX_DTX_BYTES = 2
"""A packet of one or two bytes says that the sender has gone quiet (RFC 6716 section 2.1.9)."""


@dataclass(frozen=True, slots=True)
class Packet:
    """`sequence` is RTP's 16 bits, `timestamp` its 32 bits at 48 kHz (RFC 7587 section 4.1); both wrap.
    `arrived_s` is the monotonic time of arrival, for buffers that adapt."""

    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    arrived_s: float = 0.0


def duration_frames(payload: bytes) -> int:
    """How long the packet lasts, in frames of 48 kHz; 0 for what is not an Opus packet."""
    if not payload:
        return 0
    config, code = payload[0] >> 3, payload[0] & 3
    if code == 3 and len(payload) < 2:
        return 0
    count = (1, 2, 2, payload[1] & 0x3F if code == 3 else 0)[code]
    frames = count * _one_frame(config)
    return frames if frames <= MAX_FRAMES else 0


def _one_frame(config: int) -> int:
    if config < _FIRST_HYBRID:
        return _SILK_FRAMES[config & 3]
    if config < _FIRST_CELT:
        return _SILK_FRAMES[config & 1]
    return _CELT_FRAMES[config & 3]


def carries_fec(payload: bytes) -> bool:
    """Whether the packet holds a low-bit-rate copy of the frame before it. The flags are the first, equiprobable bits
    of the SILK layer and thus readable as they are (RFC 6716 section 4.2.3): per channel one voice-activity bit for
    each 20 ms, then the copy's bit. Only packets of one frame are looked into; other layouts count as without."""
    if len(payload) <= _MAX_DTX_BYTES or payload[0] & 3 or payload[0] >> 3 >= _FIRST_CELT:
        return False
    silk_frames = max(1, duration_frames(payload) // 960)
    mid = bool(payload[1] & (0x80 >> silk_frames))
    stereo = bool(payload[0] & 4)
    return mid or (stereo and bool(payload[1] & (0x80 >> (2 * silk_frames + 1))))


def is_dtx(payload: bytes) -> bool:
    """Whether the sender says by this packet that it goes quiet."""
    return len(payload) <= _MAX_DTX_BYTES
