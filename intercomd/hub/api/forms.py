"""What the administrators' API takes and gives, as JSON: one struct for every body and every answer.

Times are Unix seconds of the hub's clock, names on the wire camelCase. Secrets (tokens, links, codes) are in answers
only where they were just made: they are shown once."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from intercomd.hub.people.directory import MAX_NAME_CHARS, Busy, RingMode
from intercomd.hub.people.rights import Action

MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 200
MAX_CODE_CHARS = 200
MAX_MEMBERS = 256
DAY_MIN = 24 * 60

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Password = Annotated[str, Meta(min_length=MIN_PASSWORD_CHARS, max_length=MAX_PASSWORD_CHARS)]
AnyPassword = Annotated[str, Meta(max_length=MAX_PASSWORD_CHARS)]
"""As typed at the log-in: one that is too short is only wrong."""
Secret = Annotated[str, Meta(min_length=1, max_length=MAX_CODE_CHARS)]
Minute = Annotated[int, Meta(ge=0, lt=DAY_MIN)]
Time = Annotated[float, Meta(ge=0, le=10_000_000_000)]
RingSeconds = Annotated[float, Meta(ge=5, le=600)]


class Form(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of every body."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of every answer: each field is always there."""


class Nothing(Answer, frozen=True):
    """`{}`: it is done."""


# ------------------------------------------------------------------------------------------------ signing in and out


class LogIn(Form, frozen=True):
    name: Name
    password: AnyPassword


class SetPassword(Form, frozen=True):
    """By a one-time link. `name` only with the link of `intercomd hub set-up`: the first administrator chooses it."""

    code: Secret
    password: Password
    name: Name | None = None


class ChangePassword(Form, frozen=True):
    current: AnyPassword
    password: Password


class Administrator(Answer, frozen=True):
    name: str


class AdministratorSession(Answer, frozen=True):
    """`administrator`: who is signed in here. `is_set_up`: there is somebody who could sign in."""

    administrator: Administrator | None
    is_set_up: bool


class AdministratorEntry(Answer, frozen=True):
    """`has_password`: false until the one-time link was followed."""

    name: str
    has_password: bool
    sessions: int
    created_at: float


class Administrators(Answer, frozen=True):
    administrators: tuple[AdministratorEntry, ...]


class NewAdministrator(Form, frozen=True):
    name: Name


class Link(Answer, frozen=True):
    """A link that works once, and the same as a QR code (SVG)."""

    link: str
    svg: str
    expires_at: float


# ------------------------------------------------------------------------------------------------------- identities


class PolicyEntry(Answer, frozen=True):
    """Both of `quiet_from_min` and `quiet_to_min` or none: minutes of the day in the estate's time zone."""

    do_not_disturb_until: float | None
    quiet_from_min: int | None
    quiet_to_min: int | None
    busy: Busy


class IdentityEntry(Answer, frozen=True):
    """`has_token`: a station that is paired; `sessions`: a resident's browsers; `retiring_until`: a station's former
    token works until then; `devices`: how many are connected now."""

    id: str
    name: str
    role: Literal["station", "resident", "group"]
    groups: tuple[str, ...]
    banned: bool
    has_token: bool
    sessions: int
    is_invited: bool
    retiring_until: float | None
    devices: int
    created_at: float
    policy: PolicyEntry


class Identities(Answer, frozen=True):
    identities: tuple[IdentityEntry, ...]


class NewIdentity(Form, frozen=True):
    """`id` stays for ever: records and rights name it. `name`: what people are shown, if it is another one."""

    id: Name
    role: Literal["station", "resident", "group"]
    name: Name | None = None
    group: Name | None = None


class IdentityChange(Form, frozen=True):
    """What is left out stays. `name: null`: its id is shown again."""

    name: Name | UnsetType | None = UNSET
    banned: bool | UnsetType = UNSET


class Rotation(Form, frozen=True):
    """`now`: the former token ends at once; else both work for a while, so that the station can be given the new
    one."""

    now: bool = False


class NewToken(Answer, frozen=True):
    token: str
    retiring_until: float | None


# --------------------------------------------------------------------------------------------------------- pairings


class NewPairing(Form, frozen=True):
    """`typed`: a code of 8 digits for a person to type, which works for 10 minutes and only together with the
    fingerprint; else one of 256 bits, as text for the card and as QR code, for 7 days."""

    station: Name
    typed: bool = False


class PairingAnswer(Answer, frozen=True):
    """`payload`: what the card's `pairing.txt` takes. `fingerprint`: "" where the hub's certificate is a public one."""

    station: str
    url: str
    code: str
    fingerprint: str
    payload: str
    svg: str
    expires_at: float


class PairingEntry(Answer, frozen=True):
    station: str
    typed: bool
    tries_left: int
    expires_at: float


class Pairings(Answer, frozen=True):
    pairings: tuple[PairingEntry, ...]


class Redemption(Form, frozen=True):
    """What a station sends to be paired. `fingerprint`: of the hub's certificate as the station has seen it, and a
    person compared it; needed with a typed code."""

    code: Secret
    fingerprint: Annotated[str, Meta(max_length=200)] = ""


class Paired(Answer, frozen=True):
    station: str
    token: str


# ------------------------------------------------------------------------------------------------- groups and rights


class GroupEntry(Answer, frozen=True):
    """`members` in the order in which they are rung."""

    id: str
    name: str
    members: tuple[str, ...]
    mode: RingMode
    each_s: float
    escalate_to: str | None


class Groups(Answer, frozen=True):
    groups: tuple[GroupEntry, ...]


class GroupChange(Form, frozen=True):
    """The whole group. `escalate_to`: a station, a resident or another group that rings when nobody answers."""

    members: Annotated[tuple[Name, ...], Meta(max_length=MAX_MEMBERS)]
    mode: RingMode = RingMode.ALL
    each_s: RingSeconds = 30.0
    escalate_to: Name | None = None


class RightForm(Form, frozen=True):
    """`subject` and `object`: an identity, a group, or "*" for everybody."""

    subject: Name
    action: Action
    object: Name
    allowed: bool


class RightEntry(Answer, frozen=True):
    subject: str
    action: Action
    object: str
    allowed: bool


class RightList(Answer, frozen=True):
    """The most specific subject decides, then the most specific object, then what forbids."""

    rights: tuple[RightEntry, ...]


class PolicyForm(Form, frozen=True):
    """The whole policy: what is left out is off."""

    do_not_disturb_until: Time | None = None
    quiet_from_min: Minute | None = None
    quiet_to_min: Minute | None = None
    busy: Busy = Busy.REFUSE


# ----------------------------------------------------------------------------------------------------- reachability


class Reach(Answer, frozen=True):
    """Whether somebody can be rung now, and when that was last proven: the last answer to a heartbeat. `push`: a
    phone of a resident's can be woken."""

    id: str
    name: str
    role: Literal["station", "resident"]
    online: bool
    devices: int
    connected_since: float | None
    last_proven: float | None
    in_call: bool
    do_not_disturb: bool
    push: bool
    banned: bool


class Reachability(Answer, frozen=True):
    at: float
    board: tuple[Reach, ...]
