"""Who may call whom, who may open which door, and when somebody is not to be disturbed."""

import pytest

from intercomd.hub.people.directory import Directory, Identity, Policy, Role
from intercomd.hub.people.rights import EVERYBODY, Action, Right, Rights, memberships
from intercomd.ids import IdentityId


def house(*rules: str) -> Directory:
    """Stations gate and door, residents anna and ben, anna in the group flat. A rule: `anna +call gate`."""
    people = dict.fromkeys(("gate", "door"), Role.STATION)
    people |= {"anna": Role.RESIDENT, "ben": Role.RESIDENT, "flat": Role.GROUP, "outside": Role.GROUP}
    groups = {IdentityId("flat"): (IdentityId("anna"),), IdentityId("outside"): (IdentityId("gate"),)}
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
    assert may("call", directory, "anna", "gate")
    assert may("call", directory, "gate", "flat")
    assert may("call", directory, "anna", "ben")
    assert not may("door", directory, "anna", "gate")
    assert not may("door_in_call", directory, "anna", "gate")


def test_nobody_who_is_unknown_has_a_right() -> None:
    directory = house("* +door *", "* +call *")
    assert not may("call", directory, "stranger", "gate")
    assert not may("call", directory, "anna", "cellar")
    assert not may("door", directory, "stranger", "gate")
    assert not may("door", directory, "anna", "cellar")


@pytest.mark.parametrize(
    ("rules", "who", "whom", "allowed"),
    [
        (["anna +call gate"], "anna", "gate", True),
        # To whom something was allowed, the rest is not.
        (["anna +call gate"], "anna", "door", False),
        (["anna +call gate"], "ben", "door", True),
        # What is forbidden is forbidden, and the rest is not.
        (["anna -call gate"], "anna", "gate", False),
        (["anna -call gate"], "anna", "door", True),
        # By a group of the subject, or of the object.
        (["flat -call gate"], "anna", "gate", False),
        (["flat -call gate"], "ben", "gate", True),
        (["anna -call outside"], "anna", "gate", False),
        (["anna -call outside"], "anna", "outside", False),
        (["anna -call outside"], "anna", "door", True),
        # The nearer subject decides, whatever it says.
        (["* -call gate", "anna +call gate"], "anna", "gate", True),
        (["* +call gate", "flat -call gate"], "anna", "gate", False),
        (["flat +call gate", "anna -call gate"], "anna", "gate", False),
        (["* -call gate", "anna +call *"], "anna", "gate", True),
        # Of one subject, the nearer object.
        (["anna -call *", "anna +call gate"], "anna", "gate", True),
        (["anna -call *", "anna +call gate"], "anna", "door", False),
        (["anna +call *", "anna -call outside"], "anna", "gate", False),
        # A rule about doors says nothing of calls.
        (["anna +door gate"], "anna", "door", True),
    ],
)
def test_the_nearest_rule_decides_about_calls(rules: list[str], who: str, whom: str, allowed: bool) -> None:
    assert may("call", house(*rules), who, whom) is allowed


def test_of_two_groups_that_say_otherwise_the_one_counts_that_forbids() -> None:
    groups = {IdentityId("one"): (IdentityId("anna"),), IdentityId("two"): (IdentityId("anna"),)}
    for rules in (["one +call gate", "two -call gate"], ["two -call gate", "one +call gate"]):
        rights = Rights(tuple(right(rule) for rule in rules))
        assert not rights.permits(Action.CALL, IdentityId("anna"), IdentityId("gate"), memberships(groups))


@pytest.mark.parametrize(
    ("rules", "always", "in_call"),
    [
        (["anna +door gate"], True, True),
        (["anna +door door"], False, False),
        (["flat +door outside"], True, True),
        (["* +door *"], True, True),
        (["anna +door_in_call gate"], False, True),
        (["anna +door_in_call gate", "anna -door gate"], False, False),
        (["* +door *", "anna -door gate"], False, False),
        (["anna +call gate"], False, False),
    ],
)
def test_doors_open_to_whom_a_rule_names(rules: list[str], always: bool, in_call: bool) -> None:
    directory = house(*rules)
    assert may("door", directory, "anna", "gate") is always
    assert may("door_in_call", directory, "anna", "gate") is in_call


def test_a_resident_is_offered_only_whom_they_may_call() -> None:
    directory = house(f"anna +call {EVERYBODY}", "anna -call outside")
    assert {entry.id for entry in directory.may_call(IdentityId("anna"))} == {"door"}


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
