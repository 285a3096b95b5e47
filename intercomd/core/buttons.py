"""From raw edges to presses: pure debounce, and the long hold.

A contact bounces for milliseconds when it closes and when it opens; each bounce is an edge. What counts:

* The first closing edge is the press, at once. `bounce_time` and the kernel's debounce wait until the line is
  quiet, which costs a resident 25–100 ms on every press.
* After an edge that was acted upon, further edges of that button are ignored for `DEAD_S`, though tracked.
* What the dead time swallowed (a short tap's release, or a press right after a release) is seen by the next
  `Reread`: the shell reads the lines back every so often, and `due_s` says when it is worth it. The same
  catches edges that the kernel dropped (it keeps 16 per line).
* A line that was open for less than `FLICKER_S` was not released: slow contacts and interference do that, no
  finger does. So a press is counted again only after the line was open for that long at a stretch.

A spike on an idle line looks like the first edge of a press, and counts: only waiting could tell them apart.
The wiring keeps spikes out (hw/README.md: a capacitor at the button).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

DEAD_S = 0.050
"""Longer than the bounce of sound push buttons, shorter than a person needs to press twice."""
FLICKER_S = 0.010
HOLD_S = 5.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A raw edge of one line."""

    button: str
    pressed: bool
    at_s: float


@dataclass(frozen=True, slots=True)
class Reread:
    """All lines as they are now; names that are no buttons are ignored. Not hashable: events are not kept."""

    levels: Mapping[str, bool]
    at_s: float


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes. A hold counts only while the station is `idle` all the time."""

    at_s: float
    idle: bool = True


@dataclass(frozen=True, slots=True)
class Pressed:
    button: str


@dataclass(frozen=True, slots=True)
class Held:
    """The button has been down for `HOLD_S` while idle; once per press."""

    button: str


@dataclass(frozen=True, slots=True)
class Contact:
    """One button. `closed` is the line, `pressed` what we take it for."""

    button: str
    closed: bool
    pressed: bool
    changed_s: float
    longest_open_s: float
    """Since the press that was counted last."""
    dead_until_s: float = -math.inf
    hold_from_s: float | None = None
    """When the hold of the last press began; None once it has been told. A flicker does not end a hold."""


@dataclass(frozen=True, slots=True)
class Buttons:
    contacts: tuple[Contact, ...] = ()
    dead_s: float = DEAD_S
    hold_s: float = HOLD_S


ButtonEvent = Edge | Reread | Tick
ButtonAction = Pressed | Held
_Step = tuple[Contact, tuple[ButtonAction, ...]]


def watching(levels: Mapping[str, bool], at_s: float, dead_s: float = DEAD_S, hold_s: float = HOLD_S) -> Buttons:
    """Begin with the buttons (without LEDs) as they are: one that is down already (jammed, or held during
    the boot) is no press until it has been released."""
    contacts = tuple(_found(name, closed, at_s) for name, closed in sorted(levels.items()))
    return Buttons(contacts, dead_s, hold_s)


def handle(state: Buttons, event: ButtonEvent) -> tuple[Buttons, tuple[ButtonAction, ...]]:
    """One event. Lines that are not watched are ignored, and what is older than a line's last change."""
    steps = [_step(contact, event, state) for contact in state.contacts]
    actions = tuple(action for _, told in steps for action in told)
    return replace(state, contacts=tuple(contact for contact, _ in steps)), actions


def due_s(state: Buttons) -> float | None:
    """When the next dead time ends with something left to find out by a `Reread`; None if there is none."""
    return min((one.dead_until_s for one in state.contacts if one.pressed != one.closed), default=None)


def _found(button: str, closed: bool, at_s: float) -> Contact:
    return Contact(button, closed, closed, changed_s=at_s, longest_open_s=0.0 if closed else math.inf)


def _step(contact: Contact, event: ButtonEvent, limits: Buttons) -> _Step:
    match event:
        case Edge(button, pressed, at_s) if button == contact.button:
            return _seen(_tracked(contact, pressed, at_s, reread=False), at_s, limits.dead_s)
        case Reread(levels, at_s) if contact.button in levels:
            return _seen(_tracked(contact, levels[contact.button], at_s, reread=True), at_s, limits.dead_s)
        case Tick(at_s, idle):
            return _waited(contact, at_s, idle, limits.hold_s)
        case _:
            return contact, ()


def _tracked(contact: Contact, closed: bool, at_s: float, reread: bool) -> Contact:
    if closed == contact.closed or at_s < contact.changed_s:
        return contact
    open_s = at_s - contact.changed_s if closed and not _bounced(contact, at_s, reread) else 0.0
    return replace(contact, closed=closed, changed_s=at_s, longest_open_s=max(contact.longest_open_s, open_s))


def _bounced(contact: Contact, at_s: float, reread: bool) -> bool:
    """Closing again soon after the press is its rebound, however long the gap. And a re-reading that finds
    the line closed in the middle of a bounce has found an edge that the kernel dropped: nobody knows for how
    long the line was open."""
    return contact.pressed and (reread or at_s < contact.dead_until_s)


def _seen(contact: Contact, at_s: float, dead_s: float) -> _Step:
    """Outside the dead time the line is believed."""
    if at_s < contact.dead_until_s:
        return contact, ()
    acted = replace(contact, pressed=contact.closed, dead_until_s=contact.changed_s + dead_s)
    if contact.closed and contact.longest_open_s >= FLICKER_S:
        return replace(acted, longest_open_s=0.0, hold_from_s=contact.changed_s), (Pressed(contact.button),)
    if contact.pressed and not contact.closed:
        return acted, ()
    return replace(contact, pressed=contact.closed), ()


def _waited(contact: Contact, at_s: float, idle: bool, hold_s: float) -> _Step:
    if contact.hold_from_s is None or not contact.pressed:
        return contact, ()
    if not idle:
        return replace(contact, hold_from_s=at_s), ()
    if at_s - contact.hold_from_s < hold_s:
        return contact, ()
    return replace(contact, hold_from_s=None), (Held(contact.button),)
