"""How the near end's voice is coded for the path that it takes and the processor that codes it. Pure.

Copies of the last packet inside the next one (in-band error correction) cost voice: 0.3 of PESQ at 48 kbit/s while
nothing is lost, and save 0.8 at 5 % and 1.0 at 10 % loss; they break even between 1 and 2 %. Expecting more loss than
it takes to get copies at all only shifts bits from the voice to the copies, and lowers PESQ at any loss up to 20 %.
Complexity 6 is the most at which libopus does not look for music: from 7 on it takes tones for it, and codes them in a
mode that has no copies.
"""

from dataclasses import dataclass

_WORTH_LOSS = 0.015
"""From which share of lost packets on copies are worth what they cost."""
_CLEAN_REPORTS = 15
"""So many reports without loss, about one a second, until the copies are left out again: losses come in company."""
_STEPS_BPS = ((44_000, 3), (36_000, 5), (0, 10))
"""From which bit rate on libopus (decide_fec in opus_encoder.c) needs which expected loss in percent, to send copies at
full bandwidth; below 36 kbit/s it gives up bandwidth for them."""
_MOST_OF_A_FRAME = 0.15
_COMPLEXITIES = (0, 2, 4, 5, 6)
"""Where libopus' cost makes a step."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Copies are sent before any loss was reported: the first ones would all be heard."""

    copies: bool = True
    clean_reports: int = 0


def reported(sending: Sending, loss: float) -> Sending:
    """After the peer reported that this share of our packets, 0 to 1, was lost lately."""
    if loss >= _WORTH_LOSS:
        return Sending()
    clean = sending.clean_reports + 1 if loss < _WORTH_LOSS / 3 else 0
    return Sending(sending.copies and clean < _CLEAN_REPORTS, clean)


def expected_loss_percent(sending: Sending, bitrate_bps: int) -> int:
    """What the encoder is to be told."""
    if not sending.copies:
        return 0
    return next(percent for from_bps, percent in _STEPS_BPS if bitrate_bps >= from_bps)


def affordable(complexity: int, encoding_s: float, frame_s: float) -> int:
    """The complexity to go on with when coding a frame of `frame_s` took `encoding_s` of processor time: one step less
    if that was more than 15 % of it."""
    if encoding_s <= _MOST_OF_A_FRAME * frame_s:
        return complexity
    return max((step for step in _COMPLEXITIES if step < complexity), default=complexity)
