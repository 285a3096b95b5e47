"""What happens in a scene: who calls whom, how far it comes, who dies when, what people press meanwhile.

Pure: a scene follows from the seed, the house and its number, and from nothing else. What comes of it does not: the
processes are real, and so are their races.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

HUB = "hub"
STATIONS = ("door", "flat", "kitchen")
GROUP, MEMBERS = "home", ("flat", "kitchen")


class Aim(StrEnum):
    """How far it has come when the first kill falls."""

    IDLE = "idle"
    STARTING = "starting"
    DIALLING = "dialling"
    RINGING = "ringing"
    GLARE = "both dial"
    ANSWERING = "answering"
    TALKING = "talking"
    THIRD = "a third dials"
    RECONNECTING = "reconnecting"
    ENDING = "ending"
    RECORDS = "records wait"


QUICK = frozenset({Aim.DIALLING, Aim.GLARE, Aim.ANSWERING, Aim.THIRD, Aim.ENDING})
"""Over within milliseconds: the kill comes soon, or misses it."""
QUICK_EXPONENTS = (-3.5, -1.0)
"""Of ten, in seconds: 0.3 to 100 ms, each order of magnitude as often as the next."""
MAX_KILLS = 3
"""Of a scene, beside the one by which some aims come about."""


@dataclass(frozen=True, slots=True)
class Kill:
    """`kill -9` of all of them at once, `after_s` after the last thing that happened."""

    after_s: float
    victims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody presses `hangup` or answers, whatever the station is doing, or nothing if it is dead."""

    after_s: float
    station: str
    command: str


Deed = Kill | Press


@dataclass(frozen=True, slots=True)
class Scene:
    """`target` is a station or the group; `callee` is who answers. `ends`: who hangs up when all is said, empty for
    nobody (ringing then runs out)."""

    name: str
    aim: Aim
    caller: str
    target: str
    callee: str
    deeds: tuple[Deed, ...]
    ends: str

    @property
    def third(self) -> str:
        """Who has no part in it, unless the group rings there too."""
        return next(name for name in STATIONS if name not in (self.caller, self.callee))

    @property
    def kills(self) -> tuple[Kill, ...]:
        return tuple(deed for deed in self.deeds if isinstance(deed, Kill))

    @property
    def pressed(self) -> bool:
        """People meddle while things break."""
        return any(isinstance(deed, Press) for deed in self.deeds)

    @property
    def survives(self) -> bool:
        """It was connected, and nobody wants its end: it must be connected again."""
        return self.aim in (Aim.TALKING, Aim.RECONNECTING, Aim.THIRD) and not self.pressed


def scene(seed: int, house: int, number: int) -> Scene:
    """The n-th scene of a house. Over eleven scenes each aim comes once, in an order of its own."""
    dice = Random(f"{seed}/{house}/{number}")
    aims = list(Aim)
    Random(f"{seed}/{house}/{number // len(aims)} aims").shuffle(aims)
    aim = aims[number % len(aims)]
    caller, target, callee = _parties(dice)
    deeds = _deeds(dice, aim, caller, callee)
    ends = dice.choice([caller, callee, callee, ""]) if aim is Aim.RINGING else dice.choice([caller, callee])
    return Scene(f"{seed}/{house}/{number}", aim, caller, target, callee, deeds, ends)


def _parties(dice: Random) -> tuple[str, str, str]:
    caller = dice.choice(STATIONS)
    if dice.random() < 0.25:
        return caller, GROUP, dice.choice([name for name in MEMBERS if name != caller])
    callee = dice.choice([name for name in STATIONS if name != caller])
    return caller, callee, callee


def _deeds(dice: Random, aim: Aim, caller: str, callee: str) -> tuple[Deed, ...]:
    """At least one kill; often more while it recovers, and in every third scene a person who meddles."""
    is_quick = dice.random() < (0.8 if aim in QUICK else 0.3)
    first = 10 ** dice.uniform(*QUICK_EXPONENTS) if is_quick else dice.uniform(0.0, 0.6)
    deeds: list[Deed] = [Kill(first, _victims(dice, aim, caller, callee))]
    while len(deeds) < MAX_KILLS and dice.random() < 0.5:
        deeds.append(Kill(dice.uniform(0.0, 2.5), _victims(dice, aim, caller, callee)))
    if dice.random() < 0.35:
        station = dice.choice([caller, callee])
        press = Press(dice.uniform(0.0, 1.5), station, dice.choice(["hangup", "hangup", "answer"]))
        deeds.insert(dice.randrange(len(deeds) + 1), press)
    return tuple(deeds)


def _victims(dice: Random, aim: Aim, caller: str, callee: str) -> tuple[str, ...]:
    """One station most often; where records wait, the hub is dead already."""
    one = dice.choice([caller, callee])
    choices: Sequence[tuple[str, ...]] = [
        (caller,), (callee,), (one,), (one,), (caller, callee), (HUB,), (HUB,), (HUB, one),
        (dice.choice(STATIONS),),
    ]  # fmt: skip
    if aim is Aim.RECORDS:
        choices = [(caller,), (callee,), (caller, callee)]
    return dice.choice(choices)
