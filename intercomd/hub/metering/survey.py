"""What the metrics find at each scrape: who is there, and which calls are open."""

import time
from collections.abc import Callable, Iterator

from intercomd.hub.calling.calls import Calls
from intercomd.hub.calling.presence import Presence
from intercomd.hub.metering.metrics import Metrics
from intercomd.hub.people.directory import Role


def watch(metrics: Metrics, registry: Calls, presence: Presence, is_ready: Callable[[], bool]) -> None:
    """Have them looked at whenever somebody asks."""

    def enrolled(role: Role) -> int:
        return sum(identity.role is role for identity in registry.directory.identities.values())

    def connected(role: Role) -> int:
        return len({socket.party.identity for socket in presence if socket.party.role == role.value})

    def silences_s() -> Iterator[float]:
        """A legacy client answers no heartbeat: the transport watches it."""
        now_s = time.monotonic()
        return (now_s - socket.heard_s for socket in presence if not socket.legacy)

    metrics.watch_clients(enrolled, connected, lambda: len(presence), silences_s)
    metrics.watch_calls(registry.phases, lambda: registry.waiting, is_ready)
