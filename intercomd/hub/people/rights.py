"""Who may call whom, and who may open which door.

A rule names a subject and an object, each an identity, a group or everybody, and allows or forbids. The rule with the
most specific subject decides, among those the one with the most specific object; of two that are equally specific the
one that forbids. Where no rule fits: nobody opens a door; and everybody calls everybody, but one to whom something was
allowed calls nobody else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from intercomd.ids import IdentityId

EVERYBODY: Final = IdentityId("*")


class Action(StrEnum):
    CALL = "call"
    DOOR = "door"
    DOOR_IN_CALL = "door_in_call"
    """Open the door of the station with which one is in an answered call, and only meanwhile."""


@dataclass(frozen=True, slots=True)
class Right:
    """`subject` and `object`: an identity, a group, or `EVERYBODY`."""

    subject: IdentityId
    action: Action
    object: IdentityId
    allowed: bool


@dataclass(frozen=True, slots=True)
class Rights:
    """All rules. `memberships`: the groups of each identity."""

    rules: tuple[Right, ...] = ()

    def permits(
        self,
        action: Action,
        subject: IdentityId,
        object_: IdentityId,
        memberships: Mapping[IdentityId, frozenset[IdentityId]],
    ) -> bool:
        decided = self.decided(action, subject, object_, memberships)
        if decided is not None:
            return decided
        return action is Action.CALL and not any(
            rule.allowed for rule in self.rules if rule.action is action and _fit(rule.subject, subject, memberships)
        )

    def decided(
        self,
        action: Action,
        subject: IdentityId,
        object_: IdentityId,
        memberships: Mapping[IdentityId, frozenset[IdentityId]],
    ) -> bool | None:
        """What the rule says that fits best; None where none fits."""
        fits = (
            (_fit(rule.subject, subject, memberships), _fit(rule.object, object_, memberships), not rule.allowed)
            for rule in self.rules
            if rule.action is action
        )
        best = max((fit for fit in fits if fit[0] and fit[1]), default=None)
        return None if best is None else not best[2]


def memberships(groups: Mapping[IdentityId, Iterable[IdentityId]]) -> dict[IdentityId, frozenset[IdentityId]]:
    """The groups of each member."""
    found: dict[IdentityId, frozenset[IdentityId]] = {}
    for group, members in groups.items():
        for member in members:
            found[member] = found.get(member, frozenset()) | {group}
    return found


def _fit(named: IdentityId, who: IdentityId, groups: Mapping[IdentityId, frozenset[IdentityId]]) -> int:
    """How closely what a rule names fits: 3 the identity itself, 2 a group of it, 1 everybody, 0 not at all."""
    if named == who:
        return 3
    if named in groups.get(who, frozenset()):
        return 2
    return 1 if named == EVERYBODY else 0
