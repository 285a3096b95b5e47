"""Networks to send voice through: when each packet arrives, or that it never does. Seeded; no clock."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
"""shape (packets,): seconds; NaN for a packet that never arrives."""

_LAN_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Trace:
    """`arrivals(sent)` says when the packets arrive that left at `sent`. `clock_ppm`: by how much the sender's clock is
    faster than the card's."""

    name: str
    arrivals: Callable[[Times, np.random.Generator], Times]
    clock_ppm: float = 0.0


def lan(sent: Times, dice: np.random.Generator) -> Times:
    """A quiet local network and an idle machine: half a millisecond of jitter."""
    return sent + _LAN_S + dice.exponential(0.0005, len(sent))


def _lost(arrivals: Times, lost: npt.NDArray[np.bool_]) -> Times:
    return np.where(lost, np.nan, arrivals)


def busy(sent: Times, dice: np.random.Generator) -> Times:
    """A machine whose event loop is held up once a second for 5 to 30 ms: what arrives then is seen at its end."""
    arrivals = lan(sent, dice)
    at_s = float(sent[0])
    while at_s < sent[-1]:
        at_s += dice.exponential(1.0)
        until_s = at_s + dice.uniform(0.005, 0.030)
        arrivals[(arrivals >= at_s) & (arrivals < until_s)] = until_s
    return arrivals


def random_loss(share: float) -> Callable[[Times, np.random.Generator], Times]:
    return lambda sent, dice: _lost(lan(sent, dice), dice.random(len(sent)) < share)


def bursty_loss(share: float, burst: float = 3.0) -> Callable[[Times, np.random.Generator], Times]:
    """Gilbert's model: in the bad state everything is lost, for `burst` packets on average."""

    def arrivals(sent: Times, dice: np.random.Generator) -> Times:
        into = share / (1 - share) / burst
        lost, bad = np.zeros(len(sent), np.bool_), False
        for index, chance in enumerate(dice.random(len(sent))):
            bad = chance >= 1 / burst if bad else chance < into
            lost[index] = bad
        return _lost(lan(sent, dice), lost)

    return arrivals


def one_lost(sent: Times, dice: np.random.Generator) -> Times:
    """A single packet, after two seconds."""
    return _lost(lan(sent, dice), np.arange(len(sent)) == int(np.searchsorted(sent, sent[0] + 2.0)))


def jitter(most_s: float, loss: float = 0.0) -> Callable[[Times, np.random.Generator], Times]:
    """Each packet by itself, so that they overtake each other."""

    def arrivals(sent: Times, dice: np.random.Generator) -> Times:
        return _lost(sent + _LAN_S + dice.uniform(0, most_s, len(sent)), dice.random(len(sent)) < loss)

    return arrivals


def spikes(height_s: float, every_s: float) -> Callable[[Times, np.random.Generator], Times]:
    """Now and then nothing passes for a while, then all of it at once."""

    def arrivals(sent: Times, dice: np.random.Generator) -> Times:
        result = lan(sent, dice)
        at_s = float(sent[0]) + 3.0
        while at_s < sent[-1]:
            result[(result >= at_s) & (result < at_s + height_s)] = at_s + height_s
            at_s += dice.uniform(0.7, 1.3) * every_s
        return result

    return arrivals


def wifi(sent: Times, dice: np.random.Generator) -> Times:
    """A crowded channel: the access point sends in bunches, 20 to 60 ms apart, and 1 % is lost."""
    gates = np.cumsum(dice.uniform(0.020, 0.060, int((sent[-1] - sent[0]) / 0.020) + 10)) + sent[0]
    return _lost(gates[np.searchsorted(gates, sent + _LAN_S)], dice.random(len(sent)) < 0.01)


def route_change(step_s: float) -> Callable[[Times, np.random.Generator], Times]:
    """After a third of the time everything takes longer by `step_s`, after two thirds no more."""

    def arrivals(sent: Times, dice: np.random.Generator) -> Times:
        third = len(sent) // 3
        result = lan(sent, dice)
        result[third : 2 * third] += step_s
        return result

    return arrivals


def stall(length_s: float) -> Callable[[Times, np.random.Generator], Times]:
    """The receiving event loop does not run once, from the fifth second."""

    def arrivals(sent: Times, dice: np.random.Generator) -> Times:
        result = lan(sent, dice)
        at_s = float(sent[0]) + 5.0
        result[(result >= at_s) & (result < at_s + length_s)] = at_s + length_s
        return result

    return arrivals


def sender_stall(length_s: float, kept_s: float = 0.1) -> Callable[[Times, np.random.Generator], Times]:
    """The sending event loop does not run once, from the fifth second: of what was spoken meanwhile the newest `kept_s`
    leave at its end."""

    def arrivals(sent: Times, dice: np.random.Generator) -> Times:
        begin_s = float(sent[0]) + 5.0
        held = (sent >= begin_s) & (sent < begin_s + length_s)
        lost = held & (sent < begin_s + length_s - kept_s)
        return _lost(lan(np.where(held, begin_s + length_s, sent), dice), lost)

    return arrivals


def disordered(sent: Times, dice: np.random.Generator) -> Times:
    """Every twentieth packet is overtaken by the next one."""
    result = lan(sent, dice)
    result[10::20] += 0.024
    return result


TRACES: Final = (
    Trace("quiet LAN", lan),
    Trace("busy machine", busy),
    Trace("one packet lost", one_lost),
    Trace("1 % lost", random_loss(0.01)),
    Trace("3 % lost", random_loss(0.03)),
    Trace("10 % lost", random_loss(0.10)),
    Trace("20 % lost", random_loss(0.20)),
    Trace("5 % lost in bursts", bursty_loss(0.05)),
    Trace("10 % lost in bursts", bursty_loss(0.10)),
    Trace("50 ms of jitter", jitter(0.050)),
    Trace("10 % lost, 50 ms of jitter", jitter(0.050, 0.10)),
    Trace("100 ms spikes each 2 s", spikes(0.100, 2.0)),
    Trace("100 ms spikes each 10 s", spikes(0.100, 10.0)),
    Trace("bunches of Wi-Fi", wifi),
    Trace("one of twenty overtaken", disordered),
    Trace("sender 200 ppm fast", lan, 200.0),
    Trace("sender 200 ppm slow", lan, -200.0),
    Trace("80 ms longer route", route_change(0.080)),
    Trace("0.5 s stall", stall(0.5)),
)
