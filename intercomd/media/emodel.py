"""What delay and loss are worth to an ear: the E-model (ITU-T G.107). Pure.

The narrowband model with its default values: R = 93.2 − Id − Ie,eff, and its MOS (Annex B, 4.41 at best). The fullband
model (G.107.2) would fit what Opus carries, but G.113 has no values for Opus on its scale or on that of G.107.1; on the
narrowband scale the codec itself takes nothing away (Ie 0), and what is left to judge is what G.107 models best.

Id is the delay's own part, Idd: what is left of an echo is not known here and told by ERLE beside it. Ie,eff takes the
loss that is heard, after error correction and with concealment. The page reckons the same (hub/page/quality.js).
"""

import math
from typing import Final

from intercomd.media.pcm import RATE_HZ

_BEST: Final = 93.2
"""R with all default values of G.107."""
_NOTICED_S: Final = 0.1
"""Mouth to ear; what is less takes nothing away."""
BPL: Final = 15.0
"""Robustness against loss. Ours: G.113 has no value for Opus. Its Appendix I gives coders of speech with their own
concealment 10.0 (GSM-EFR), 16.1 (G.723.1) and 19.0 (G.729A); G.711 has 4.3 without concealment, 25.1 with it."""
_MOST_BURST: Final = 2.0
"""The model knows loss that is random or nearly so; what comes in longer bursts is not made worse beyond this."""
_PACKET_FRAMES: Final = RATE_HZ // 50
"""What is lost at once: 20 ms, as browsers and stations send."""


def delay_impairment(mouth_to_ear_s: float) -> float:
    """Idd of G.107 for the default sensitivity (sT 1, mT 100 ms)."""
    if mouth_to_ear_s <= _NOTICED_S:
        return 0.0
    x = math.log2(mouth_to_ear_s / _NOTICED_S)
    return 25.0 * (math.pow(1 + x**6, 1 / 6) - 3 * math.pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def loss_impairment(loss: float, burst_ratio: float = 1.0) -> float:
    """Ie,eff of G.107 with Ie 0. `loss` is 0 to 1; `burst_ratio` 1 for random loss."""
    percent = 100.0 * loss
    return 95.0 * percent / (percent / burst_ratio + BPL)


def burst_ratio(missing_frames: int, gaps: int, loss: float) -> float:
    """How much longer than of random loss the gaps are: their mean length, in packets, against that of random loss,
    1 / (1 − loss). Within 1 and 2."""
    if not gaps:
        return 1.0
    mean_packets = max(1.0, missing_frames / gaps / _PACKET_FRAMES)
    return min(_MOST_BURST, max(1.0, mean_packets * (1.0 - loss)))


def opinion(rating: float) -> float:
    """The mean opinion score of an R, 1 to 4.5. The formula dips below 1 where R is below 6.5."""
    if rating <= 0.0:
        return 1.0
    if rating >= 100.0:
        return 4.5
    return max(1.0, 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6)


def mos(mouth_to_ear_s: float, loss: float, burst: float = 1.0) -> float:
    """Of a call with this delay, and with this share of its voice (0 to 1) missing."""
    return opinion(_BEST - delay_impairment(mouth_to_ear_s) - loss_impairment(loss, burst))
