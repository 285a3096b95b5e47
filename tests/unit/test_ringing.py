"""The directory's words in the switch's terms: rounds, limits, quiet by the estate's clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from intercomd.config import Hub
from intercomd.core.legs import Limits, Party, Round
from intercomd.hub.calling import ringing
from intercomd.hub.people.directory import Busy, Directory, Group, Identity, Policy, RingMode, Role
from intercomd.hub.people.rights import Action, Right, Rights
from intercomd.ids import IdentityId
from tests.unit.hub_calls import DESK, DOOR, FLAT, party

ATTIC = party("attic")
HOME, GUARDS = IdentityId("home"), IdentityId("guards")
VIENNA = ZoneInfo("Europe/Vienna")
IN_TURN = Group((FLAT.identity, DESK.identity), RingMode.SEQUENCE, 20.0, GUARDS)


def directory(**more: object) -> Directory:
    people = {who.identity: Identity(who.identity, Role.STATION) for who in (DOOR, FLAT, DESK, ATTIC)}
    groups = {HOME: IN_TURN, GUARDS: Group((ATTIC.identity, FLAT.identity), escalate_to=HOME)}
    known = people | {name: Identity(name, Role.GROUP) for name in groups}
    members = {name: group.members for name, group in groups.items()}
    return Directory(known, members, ringing=groups, **more)  # type: ignore[arg-type]


def silent(house: Directory, at: datetime, who: Party = FLAT) -> bool:
    return ringing.silence(house, at.timestamp(), VIENNA)(who.identity)


def admission(house: Directory, recipient: IdentityId, caller: Party = DOOR, **silence: bool):  # type: ignore[no-untyped-def]
    return ringing.admission(
        house, {}, lambda names: {name: (party(name),) for name in names}, (), caller.endpoint, recipient,
        Limits(ring_s=60.0), lambda who: silence.get(who, False),
    )  # fmt: skip


def test_a_group_rings_as_it_says_and_escalates_once() -> None:
    assert ringing.rounds(directory(), HOME, 60.0) == (
        Round((FLAT.identity,), 20.0), Round((DESK.identity,), 20.0), Round((ATTIC.identity, FLAT.identity), 60.0),
    )  # fmt: skip
    assert ringing.rounds(directory(), FLAT.identity, 60.0) == (Round((FLAT.identity,), 60.0),)
    assert ringing.rounds(directory(), IdentityId("nobody"), 60.0) == (Round((), 60.0),)


def test_nobody_is_rung_twice_and_never_the_caller() -> None:
    facts = admission(directory(), HOME, caller=DESK)
    assert facts.rounds == (Round((FLAT.identity,), 20.0), Round((ATTIC.identity,), 60.0))
    assert facts.members == (FLAT.identity, ATTIC.identity)


def test_quiet_members_are_left_out_and_a_quiet_group_rings_nobody() -> None:
    assert [who.identity for who in admission(directory(), HOME, flat=True).free] == ["desk", "attic"]
    quiet = admission(directory(), HOME, home=True)
    assert (quiet.free, quiet.quiet, quiet.busy) == ((), True, False)


def test_rights_and_the_policy_for_the_busy_come_from_the_directory() -> None:
    assert (admission(directory(), FLAT.identity).allowed, admission(directory(), IdentityId("x")).allowed) == (
        True,
        False,
    )
    forbidden = Rights((Right(DOOR.identity, Action.CALL, FLAT.identity, allowed=False),))
    assert not admission(directory(rights=forbidden), FLAT.identity).allowed
    assert admission(directory(), FLAT.identity).position is None
    assert admission(directory(policies={FLAT.identity: Policy(busy=Busy.QUEUE)}), FLAT.identity).position == 1


def test_quiet_hours_are_those_of_the_estates_clock_in_summer_and_winter() -> None:
    house = directory(policies={FLAT.identity: Policy(quiet_from_min=22 * 60, quiet_to_min=7 * 60)})
    for month, hour_utc, quiet in (
        (1, 20, False),
        (1, 21, True),
        (7, 19, False),
        (7, 20, True),
        (7, 5, False),
        (1, 5, True),
    ):
        at = datetime(2026, month, 15, hour_utc, 30, tzinfo=UTC)
        assert silent(house, at) is quiet, at
    assert not silent(house, datetime(2026, 1, 15, 23, 0, tzinfo=UTC), DESK)


def test_a_wish_not_to_be_disturbed_ends_by_itself() -> None:
    end = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    house = directory(policies={FLAT.identity: Policy(do_not_disturb_until=end.timestamp())})
    assert silent(house, datetime(2026, 5, 1, 11, 59, 59, tzinfo=UTC))
    assert not silent(house, end)


def test_the_time_zone_is_checked() -> None:
    assert ringing.zone_of("Europe/Vienna") == VIENNA
    assert ringing.zone_of("") is not None
    with pytest.raises(ValueError, match=r"hub\.time_zone 'Mars/Olympus'"):
        ringing.zone_of("Mars/Olympus")


def test_a_short_talk_limit_is_warned_of_at_half_time_and_none_is_not() -> None:
    assert (ringing.limits_of(Hub()).warning_s, ringing.limits_of(Hub()).talk_s) == (0.0, Limits().talk_s)
    limited = ringing.limits_of(Hub(talk_limit_s=300.0))
    assert (limited.talk_s, limited.warning_s) == (300.0, 30.0)
    assert ringing.limits_of(Hub(talk_limit_s=20.0)).warning_s == 10.0
