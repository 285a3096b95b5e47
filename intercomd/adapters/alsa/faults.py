"""What a card that does not open, or goes away, is told as: which state, whose fault, what to do."""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from intercomd.core.events import Card
from intercomd.ports import CardError

LIMIT_S: Final = 0.5
"""A PCM that does not move for so long is gone."""

Direction = Literal["playback", "capture"]

_DENIED: Final = (errno.EACCES, errno.EPERM)


def refusal(
    pcm: str,
    direction: Direction,
    reason: str,
    words: list[str],
    proc: Path = Path("/proc"),
    nodes: Path = Path("/dev/snd"),
) -> CardError:
    """The error for a PCM that did not open. `reason` is alsa-lib's; it begins with strerror(3)'s text, which is all
    that pyalsaaudio hands on of the error number."""
    said = f"{pcm}: {direction} does not open: {reason.split(' [')[0]}"
    if words:
        said += f" ({words[-1]})"
    if says(reason, errno.EBUSY):
        return CardError(Card.BUSY, f"{said}; {_held_by(holders(direction, proc, nodes))}")
    if any(says(reason, number) for number in _DENIED):
        return CardError(Card.DENIED, f"{said}; the user needs the group `audio`")
    # Without permission alsa-lib finds no card by its name at all: snd_card_get_index() gives ENODEV, not EACCES.
    if says(reason, errno.ENODEV) and (barred := barred_nodes(nodes)):
        return CardError(Card.DENIED, f"{said}; {barred[0]} may not be opened: the user needs the group `audio`")
    return CardError(Card.MISSING, f"{said}; compare `aplay -L` with the [audio] table")


def says(reason: str, number: int) -> bool:
    """Whether this is the error number behind alsa-lib's text."""
    return reason.startswith(os.strerror(number))


def _held_by(names: list[str]) -> str:
    if names:
        return f"held by {', '.join(names)}: end it"
    return "its holder cannot be seen from here: `sudo fuser -v /dev/snd/*` names it"


def holders(direction: Direction, proc: Path, nodes: Path) -> list[str]:
    """Processes that have a PCM of this direction open, as `name (pid 123, card Id)`. The kernel tells everybody who
    runs one (sound/core/pcm.c: `owner_pid`); who has a node open without running it is seen in the process's own file
    descriptors, those of other users only with CAP_SYS_PTRACE."""
    found = _running(direction, proc)
    for pid in _opening(direction, proc, nodes):
        found.setdefault(pid, "")
    return sorted(f"{_name(proc, pid)} (pid {pid}{f', card {card}' if card else ''})" for pid, card in found.items())


def _running(direction: Direction, proc: Path) -> dict[str, str]:
    found = {}
    for status in proc.glob(f"asound/card*/pcm*{direction[0]}/sub*/status"):
        with suppress(OSError):
            owner = next((line for line in status.read_text().splitlines() if line.startswith("owner_pid")), "")
            if owner:
                found[_process(proc, owner.rpartition(":")[2].strip())] = (status.parents[2] / "id").read_text().strip()
    return found


def _opening(direction: Direction, proc: Path, nodes: Path) -> list[str]:
    found = []
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
            if any(link.startswith(f"{nodes}/pcm") and link.endswith(direction[0]) for link in links):
                found.append(process.name)
    return found


def _process(proc: Path, task: str) -> str:
    """The kernel remembers the thread that opened: the process it belongs to, or belonged to."""
    with suppress(OSError):
        for line in (proc / task / "status").read_text().splitlines():
            if line.startswith("Tgid:"):
                return line.partition(":")[2].strip()
    return task


def _name(proc: Path, pid: str) -> str:
    with suppress(OSError):
        return (proc / pid / "comm").read_text().strip()
    return "a program that has ended"


def barred_nodes(nodes: Path) -> list[Path]:
    """Control nodes of cards that exist and that this user may not open."""
    return [node for node in sorted(nodes.glob("controlC*")) if not os.access(node, os.R_OK | os.W_OK)]


def gone(pcm: str, reason: str) -> CardError:
    said = reason.split(" [")[0]  # alsa-lib's text; pyalsaaudio adds the name
    return CardError(Card.MISSING, f"{pcm}: went away while it was in use: {said}; check its cable and power")


def stuck(pcm: str) -> CardError:
    return CardError(Card.MISSING, f"{pcm}: has not moved for {LIMIT_S} s; check its cable and power")
