"""What a station keeps on flash about its call, and how it is written: JSON with a schema version.

Only what a reboot needs: the call, tombstones of calls that are over here but perhaps not yet at the hub, how loud the
station is, and the instance id. Records wait in the store's outbox beside it.
"""

from enum import StrEnum
from typing import Literal

import msgspec

from intercomd.core.vocabulary import EndReason
from intercomd.ids import CallId, IdentityId

SCHEMA = 1
MAX_TOMBSTONES = 16


class SnapshotError(ValueError):
    """The bytes are not a snapshot of a schema that this version knows; the text says which."""


class Role(StrEnum):
    CALLER = "caller"
    CALLEE = "callee"


class Route(StrEnum):
    """Where the voice comes out and goes in."""

    HANDSET = "handset"
    SPEAKER = "speaker"


class SavedPhase(StrEnum):
    """How far the call had come: what a reboot brings back."""

    DIALLING = "dialling"
    RINGING = "ringing"
    CONNECTED = "connected"


class SavedCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """`epoch` is the one in use when this was written; after a boot its connection is gone."""

    call_id: CallId
    role: Role
    peer_id: IdentityId
    phase: SavedPhase
    epoch: int
    started_at: float
    answered_at: float | None = None
    peer_name: str = ""
    route: Route = Route.SPEAKER
    auto: bool = False


class Tombstone(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that is over here. Where a resync shows it open, or it rings again, the hub is told again."""

    call_id: CallId
    verb: Literal["end", "reject", "cancel"]
    reason: EndReason


VolumeKind = Literal["voice", "ring", "prompts"]
MAX_VOLUME = 100


class Volumes(msgspec.Struct, frozen=True, omit_defaults=True):
    """How loud the far end, the ringing and all other tones are: 0 (off) to 100 (as they come)."""

    voice: int = MAX_VOLUME
    ring: int = MAX_VOLUME
    prompts: int = MAX_VOLUME


def bounded(volumes: Volumes) -> Volumes:
    """What came from outside, within its limits."""
    voice, ring, prompts = (max(0, min(MAX_VOLUME, volume)) for volume in msgspec.structs.astuple(volumes))
    return Volumes(voice, ring, prompts)


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    call: SavedCall | None = None
    tombstones: tuple[Tombstone, ...] = ()
    volumes: Volumes = Volumes()


class _Envelope(msgspec.Struct, frozen=True):
    schema: int
    snapshot: msgspec.Raw


def pack(snapshot: Snapshot) -> bytes:
    """The bytes kept on flash."""
    return msgspec.json.encode(_Envelope(SCHEMA, msgspec.Raw(msgspec.json.encode(snapshot))))


def unpack(raw: bytes) -> Snapshot:
    """The inverse of `pack`. Raises `SnapshotError` for a newer schema or for anything that is not a snapshot."""
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
        if envelope.schema > SCHEMA:
            raise SnapshotError(f"schema {envelope.schema} was written by a newer version; this one knows {SCHEMA}")
        return msgspec.json.decode(envelope.snapshot, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"not a snapshot: {error}") from error
