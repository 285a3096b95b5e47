"""Names of things that cross rooms. All are opaque strings; making new ones is the shell's work (`fresh_call_id`)."""

import uuid
from typing import NewType

CallId = NewType("CallId", str)
"""Chosen by the caller, unique at the hub, at most 128 characters, never a secret."""

IdentityId = NewType("IdentityId", str)
"""A station, a resident or a group, as the hub's directory names it."""

InstanceId = NewType("InstanceId", str)
"""The device behind an identity: a station keeps it for ever, a page has one per tab."""


def fresh_call_id() -> CallId:
    """A new call id: 32 hexadecimal digits of randomness."""
    return CallId(uuid.uuid4().hex)


def fresh_instance_id() -> InstanceId:
    """A new instance id for a station's first start; it is kept with the state on flash."""
    return InstanceId(uuid.uuid4().hex)
