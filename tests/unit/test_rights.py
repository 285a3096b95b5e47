"""Who may call whom, who may open which door, and when somebody is not to be disturbed."""

import pytest

from intercomd.hub.people.directory import Directory, Identity, Policy, Role
from intercomd.hub.people.rights import EVERYBODY, Action, Right, Rights, memberships
from intercomd.ids import IdentityId


def house(*rules: str) -> Directory:
    """Stations gate and door, residents tenant and ben, tenant in the group flat. A rule: `tenant +call gate`."""
    people = dict.fromkeys(("gate", "door"), Role.STATION)
    people |= {"tenant": Role.RESIDENT, "ben": Role.RESIDENT, "flat": Role.GROUP, "outside": Role.GROUP}
    groups = {IdentityId("flat"): (IdentityId("tenant"),), IdentityId("outside"): (IdentityId("gate"),)}
    return Directory(
        identities={IdentityId(name): Identity(IdentityId(name), role) for name, role in people.items()},
        groups=groups,
        rights=Rights(tuple(right(rule) for rule in rules)),
        memberships=memberships(groups),
    )


def right(text: str) -> Right:
    subject, verb, thing = text.split()
    return Right(IdentityId(subject), Action(verb[1:]), IdentityId(thing), verb[0] == "+")


def may(action: str, directory: Directory, who: str, whom: str) -> bool:
    ask = {
        "call": directory.may_call_whom,
        "door": directory.may_open,
        "door_in_call": directory.may_open_in_call,
    }[action]
    return ask(IdentityId(who), IdentityId(whom))


def test_without_rules_everybody_calls_everybody_and_nobody_opens_a_door() -> None:
    directory = house()
    assert may("call", directory, "tenant", "gate")
    assert may("call", directory, "gate", "flat")
    assert may("call", directory, "tenant", "ben")
    assert not may("door", directory, "tenant", "gate")
    assert not may("door_in_call", directory, "tenant", "gate")


def test_nobody_who_is_unknown_has_a_right() -> None:
    directory = house("* +door *", "* +call *")
    assert not may("call", directory, "stranger", "gate")
    assert not may("call", directory, "tenant", "cellar")
    assert not may("door", directory, "stranger", "gate")
    assert not may("door", directory, "tenant", "cellar")


@pytest.mark.parametrize(
    ("rules", "who", "whom", "allowed"),
    [
        (["tenant +call gate"], "tenant", "gate", True),
        # To whom something was allowed, the rest is not.
        (["tenant +call gate"], "tenant", "door", False),
        (["tenant +call gate"], "ben", "door", True),
        # What is forbidden is forbidden, and the rest is not.
        (["tenant -call gate"], "tenant", "gate", False),
        (["tenant -call gate"], "tenant", "door", True),
        # By a group of the subject, or of the object.
        (["flat -call gate"], "tenant", "gate", False),
        (["flat -call gate"], "ben", "gate", True),
        (["tenant -call outside"], "tenant", "gate", False),
        (["tenant -call outside"], "tenant", "outside", False),
        (["tenant -call outside"], "tenant", "door", True),
        # The nearer subject decides, whatever it says.
        (["* -call gate", "tenant +call gate"], "tenant", "gate", True),
        (["* +call gate", "flat -call gate"], "tenant", "gate", False),
        (["flat +call gate", "tenant -call gate"], "tenant", "gate", False),
        (["* -call gate", "tenant +call *"], "tenant", "gate", True),
        # Of one subject, the nearer object.
        (["tenant -call *", "tenant +call gate"], "tenant", "gate", True),
        (["tenant -call *", "tenant +call gate"], "tenant", "door", False),
        (["tenant +call *", "tenant -call outside"], "tenant", "gate", False),
        # A rule about doors says nothing of calls.
        (["tenant +door gate"], "tenant", "door", True),
    ],
)
def test_the_nearest_rule_decides_about_calls(rules: list[str], who: str, whom: str, allowed: bool) -> None:
    assert may("call", house(*rules), who, whom) is allowed


def test_of_two_groups_that_say_otherwise_the_one_counts_that_forbids() -> None:
    groups = {IdentityId("one"): (IdentityId("tenant"),), IdentityId("two"): (IdentityId("tenant"),)}
    for rules in (["one +call gate", "two -call gate"], ["two -call gate", "one +call gate"]):
        rights = Rights(tuple(right(rule) for rule in rules))
        assert not rights.permits(Action.CALL, IdentityId("tenant"), IdentityId("gate"), memberships(groups))


@pytest.mark.parametrize(
    ("rules", "always", "in_call"),
    [
        (["tenant +door gate"], True, True),
        (["tenant +door door"], False, False),
        (["flat +door outside"], True, True),
        (["* +door *"], True, True),
        (["tenant +door_in_call gate"], False, True),
        (["tenant +door_in_call gate", "tenant -door gate"], False, False),
        (["* +door *", "tenant -door gate"], False, False),
        (["tenant +call gate"], False, False),
    ],
)
def test_doors_open_to_whom_a_rule_names(rules: list[str], always: bool, in_call: bool) -> None:
    directory = house(*rules)
    assert may("door", directory, "tenant", "gate") is always
    assert may("door_in_call", directory, "tenant", "gate") is in_call


def test_a_resident_is_offered_only_whom_they_may_call() -> None:
    directory = house(f"tenant +call {EVERYBODY}", "tenant -call outside")
    assert {entry.id for entry in directory.may_call(IdentityId("tenant"))} == {"door"}


@pytest.mark.parametrize(
    ("policy", "minute", "quiet"),
    [
        (Policy(), 0, False),
        (Policy(quiet_from_min=600, quiet_to_min=660), 600, True),
        (Policy(quiet_from_min=600, quiet_to_min=660), 659, True),
        (Policy(quiet_from_min=600, quiet_to_min=660), 660, False),
        (Policy(quiet_from_min=600, quiet_to_min=660), 599, False),
        # Over midnight.
        (Policy(quiet_from_min=1320, quiet_to_min=420), 1439, True),
        (Policy(quiet_from_min=1320, quiet_to_min=420), 0, True),
        (Policy(quiet_from_min=1320, quiet_to_min=420), 420, False),
        (Policy(quiet_from_min=1320, quiet_to_min=420), 1319, False),
        # From a time to itself: no hours at all.
        (Policy(quiet_from_min=420, quiet_to_min=420), 420, False),
        (Policy(do_not_disturb_until=1001.0), 0, True),
        (Policy(do_not_disturb_until=1000.0), 0, False),
    ],
)
def test_nobody_is_disturbed_in_quiet_hours_or_until_a_time(policy: Policy, minute: int, quiet: bool) -> None:
    assert policy.is_quiet(1000.0, minute) is quiet
