"""What Prometheus is told of a hub: prefix `intercom_`, base units, labels of few values and never a name.

Each hub has a registry of its own. Of calls the process counts those that it carried out itself, so that several
processes add up."""

import platform
from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from intercomd import __version__
from intercomd.core.legs import Endpoint, HubCall
from intercomd.core.outcome import outcome
from intercomd.core.protocol import REQUESTS, Code, OpenDoor
from intercomd.core.vocabulary import EndReason, HubPhase
from intercomd.hub.calling.openings import OPENED
from intercomd.hub.history.figures import loss_ratio
from intercomd.hub.history.records import Figures
from intercomd.hub.people.directory import Role
from intercomd.hub.push.courier import Outcome
from intercomd.ids import CallId

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
LINK_DEAD_S: Final = 10.0
"""A dead station is known within this time: a link that was silent for longer is counted as such."""
JUDGED_LEGS: Final = 10_000
"""Whose last figures are counted already: those that come after the call's end are not to count twice."""

_PROMPT_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SETUP_S: Final = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 3, 5, 10, 30)
_RING_S: Final = (1, 2, 5, 10, 15, 20, 30, 45, 60, 120)
_TALK_S: Final = (5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_MOS: Final = (1.5, 2, 2.5, 3, 3.5, 3.6, 4, 4.2, 4.4)
_RATIO: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_JITTER_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_DELAY_S: Final = (0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3, 0.4, 0.6, 1)

# `_created` of each series would double their number, and no rule needs it. A switch of the library's, for all of it.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """All of them. `exposition` is what a scrape gets; the rest tells what happens."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(namespace="intercom", registry=registry)
        info = Gauge("intercom_build_info", "The running version.", ("version", "python"), registry=registry)
        info.labels(__version__, platform.python_version()).set(1)
        self._calls = _calls_counter(registry)
        self._ring = _histogram(registry, "intercom_call_ring_seconds", "From the dialling to the answer.", _RING_S)
        self._setup = _histogram(
            registry, "intercom_call_setup_seconds", "From the answer until both sides are described to each other.",
            _SETUP_S,
        )  # fmt: skip
        self._talk = _histogram(registry, "intercom_call_talk_seconds", "From the answer to the end.", _TALK_S)
        self._restarts = Counter(
            "intercom_call_restarts_total", "Media connections that were built anew in a call.", registry=registry
        )
        self._quality = _quality_histograms(registry)
        self._judged: OrderedDict[tuple[CallId, Endpoint], None] = OrderedDict()
        self._refusals = _refusals_counter(registry)
        self._requests = Histogram(
            "intercom_request_seconds", "From an event's arrival to its acknowledgement.", ("event",),
            buckets=_PROMPT_S, registry=registry,
        )  # fmt: skip
        self._commits = _histogram(
            registry, "intercom_database_commit_seconds", "A transaction, from asking for the connection.", _PROMPT_S
        )
        self._database_errors = Counter(
            "intercom_database_errors_total", "Transactions that failed.", registry=registry
        )
        self._lag = _histogram(
            registry, "intercom_event_loop_lag_seconds", "By how much the event loop comes late to a tick.", _PROMPT_S
        )
        self._doors = _doors_counter(registry)
        self._pushes = _pushes_counter(registry)

    def exposition(self) -> bytes:
        """In Prometheus' text format; its media type is `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    # ------------------------------------------------------------------------------------------- what happens

    def changed(self, before: HubCall | None, after: HubCall, now_s: float) -> None:
        """A call's new state has been written."""
        if before is not None and before.phase is HubPhase.ENDED:
            return
        answered_at = after.answered_at
        if answered_at is not None:
            if before is None or before.answered_at is None:
                self._ring.observe(max(0.0, answered_at - after.created_at))
            if after.settled_epoch and not (before is not None and before.settled_epoch):
                self._setup.observe(max(0.0, now_s - answered_at))
            if before is not None and after.epoch > before.epoch > 0:
                self._restarts.inc(after.epoch - before.epoch)
        if after.phase is HubPhase.ENDED:
            reason = after.end_reason or EndReason.FAILED
            self._calls.labels(outcome(reason, answered_at).value, reason.value).inc()
            if answered_at is not None:
                self._talk.observe(after.duration_s)

    def measured(self, figures: Iterable[Figures]) -> None:
        """Participants' last figures of calls that are over."""
        for item in figures:
            leg = (item.call_id, item.by)
            if leg in self._judged:
                continue
            self._judged[leg] = None
            if len(self._judged) > JUDGED_LEGS:
                self._judged.popitem(last=False)
            self._judge(item)

    def _judge(self, item: Figures) -> None:
        heard = item.metrics
        values = {
            "mos": heard.mos,
            "loss": loss_ratio(heard.audio_packets_lost, heard.audio_packets_received),
            "concealed": heard.concealed_ratio,
            "jitter": heard.jitter,
            "round_trip": heard.round_trip_time,
            "mouth_to_ear": heard.mouth_to_ear,
            "connection": heard.connection_time,
        }
        for name, value in values.items():
            if value is not None:
                self._quality[name].observe(value)

    def refused(self, code: Code) -> None:
        """A connection or a request was not carried out."""
        self._refusals.labels(code.value).inc()

    def answered(self, event: str, code: Code | None, took_s: float) -> None:
        """A request was acknowledged, with a refusal's code or none. Events that nobody knows count as one."""
        self._requests.labels(event if event in REQUESTS else "unknown").observe(took_s)
        if code is not None:
            self.refused(code)
        if event == OpenDoor.event:
            self._doors.labels(code.value if code is not None else OPENED).inc()

    def pushed(self, came_of_it: Outcome) -> None:
        """A message was taken to a push service, or was not."""
        self._pushes.labels(came_of_it.value).inc()

    def committed(self, took_s: float, failed: bool) -> None:
        if failed:
            self._database_errors.inc()
        else:
            self._commits.observe(took_s)

    def ticked(self, late_s: float) -> None:
        self._lag.observe(late_s)

    # ------------------------------------------------------------------------------------------- what is there

    def watch_clients(
        self,
        enrolled: Callable[[Role], int],
        connected: Callable[[Role], int],
        sockets: Callable[[], int],
        silences_s: Callable[[], Iterable[float]],
    ) -> None:
        """Asked at each scrape: how many are known, how many of them are there, by how many connections, and for how
        long each was silent."""
        known = Gauge("intercom_enrolled", "Stations and residents who are known.", ("role",), registry=self.registry)
        there = Gauge("intercom_connected", "How many of them are connected.", ("role",), registry=self.registry)
        for role in (Role.STATION, Role.RESIDENT):
            known.labels(role.value).set_function(partial(enrolled, role))
            there.labels(role.value).set_function(partial(connected, role))
        self._function("intercom_connections", "Open connections.", sockets)
        oldest = "How long ago the most silent client was heard."
        self._function("intercom_link_age_max_seconds", oldest, lambda: max(silences_s(), default=0.0))
        self._function(
            "intercom_links_silent",
            f"Connections on which nothing was heard for {LINK_DEAD_S:g} s.",
            lambda: sum(age_s > LINK_DEAD_S for age_s in silences_s()),
        )

    def watch_calls(
        self, phases: Callable[[], Tally[HubPhase]], undecided: Callable[[], int], ready: Callable[[], bool]
    ) -> None:
        """Asked at each scrape: open calls by phase, what waits for the disk, whether calls can be taken."""
        open_calls = Gauge("intercom_open_calls", "Calls that are not over.", ("phase",), registry=self.registry)
        for phase in HubPhase:
            if phase is not HubPhase.ENDED:
                open_calls.labels(phase.value).set_function(partial(_count, phases, phase))
        self._function("intercom_decisions_waiting", "Decisions that wait for the database.", undecided)
        self._function("intercom_ready", "1 while new calls are taken.", ready)

    def _function(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(value)


def _count(phases: Callable[[], Tally[HubPhase]], phase: HubPhase) -> float:
    return phases()[phase]


def _histogram(registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, text, buckets=buckets, registry=registry)


def _calls_counter(registry: CollectorRegistry) -> Counter:
    """The pairs that are usual are there from the start: a rate needs the zero before the first one."""
    calls = Counter("intercom_calls_total", "Calls that are over.", ("outcome", "reason"), registry=registry)
    for pair in (
        ("completed", EndReason.COMPLETED), ("completed", EndReason.PEER_LOST), ("completed", EndReason.MEDIA_FAILED),
        ("missed", EndReason.TIMEOUT), ("missed", EndReason.CANCELLED), ("missed", EndReason.OFFLINE),
        ("missed", EndReason.BUSY), ("rejected", EndReason.REJECTED),
    ):  # fmt: skip
        calls.labels(pair[0], pair[1].value)
    return calls


def _doors_counter(registry: CollectorRegistry) -> Counter:
    doors = Counter(
        "intercom_door_openings_total", "Orders to open a door, by what came of them.", ("outcome",), registry=registry
    )
    for code in (Code.NOT_ALLOWED, Code.USER_OFFLINE, Code.NO_DOOR, Code.DOOR_STUCK, Code.EXPIRED, Code.UNCONFIRMED):
        doors.labels(code.value)
    doors.labels(OPENED)
    return doors


def _pushes_counter(registry: CollectorRegistry) -> Counter:
    pushes = Counter(
        "intercom_pushes_total", "Messages for browsers' push services, by what came of them.", ("outcome",),
        registry=registry,
    )  # fmt: skip
    for came_of_it in Outcome:
        pushes.labels(came_of_it.value)
    return pushes


def _refusals_counter(registry: CollectorRegistry) -> Counter:
    refusals = Counter(
        "intercom_refusals_total", "Connections and requests that were refused.", ("code",), registry=registry
    )
    for code in Code:
        refusals.labels(code.value)
    return refusals


def _quality_histograms(registry: CollectorRegistry) -> dict[str, Histogram]:
    """One observation for each participant of a call that is over."""
    described = {
        "mos": ("intercom_call_mos", "Mean opinion score by the E-model (ITU-T G.107), 1 to 4.5.", _MOS),
        "loss": ("intercom_call_loss_ratio", "Packets of the far end that were lost.", _RATIO),
        "concealed": ("intercom_call_concealed_ratio", "Voice that had to be made up for missing packets.", _RATIO),
        "jitter": ("intercom_call_jitter_seconds", "Interarrival jitter (RFC 3550).", _JITTER_S),
        "round_trip": ("intercom_call_round_trip_seconds", "From one side to the other and back.", _DELAY_S),
        "mouth_to_ear": ("intercom_call_mouth_to_ear_seconds", "From the far end's mouth to the ear here.", _DELAY_S),
        "connection": ("intercom_call_connection_seconds", "From the answer until voice is heard.", _SETUP_S),
    }
    return {name: _histogram(registry, *words) for name, words in described.items()}
