"""A call's figures at the station: over all its connections, from its own beginning."""

from msgspec.structs import replace

from intercomd.core.vocabulary import Metrics
from intercomd.device.figures import CallFigures
from intercomd.ids import CallId
from intercomd.media.canceller import VoiceStatus
from intercomd.ports import Levels

FIRST, SECOND = CallId("first"), CallId("second")
UP = Metrics(
    connection_time=0.2, call_duration=10.0, audio_packets_received=500, audio_packets_lost=1, round_trip_time=0.02,
    buffer_delay=0.03, concealed_ratio=0.0, played_frames=480_000, concealed_frames=0, concealments=0,
)  # fmt: skip


class Station:
    """Its media, its engine and its clocks."""

    def __init__(self) -> None:
        self.connection: Metrics | None = UP
        self.drift_ppm, self.packet_s = 25.0, 0.02
        self.voice = VoiceStatus(erle_db=30.0)
        self.xruns, self.now_s, self.cpu_s = 3, 100.0, 7.0
        self.figures = CallFigures(self, self, lambda: self.now_s, lambda: self.cpu_s)

    def metrics(self) -> Metrics | None:
        return self.connection

    def levels(self) -> Levels:
        return Levels(xruns=self.xruns, playout_queued_ms=20.0)

    def read(self) -> Metrics:
        found = self.figures.read()
        assert found is not None
        return found


def test_a_call_counts_from_its_own_beginning() -> None:
    station = Station()
    station.figures.follow(FIRST)
    station.xruns, station.now_s, station.cpu_s = 5, 110.0, 9.0
    found = station.read()
    assert (found.xruns, found.cpu_ratio, found.erle_db, found.drift_ppm) == (2, 0.2, 30.0, 25.0)
    assert found.mos is not None
    assert found.mos > 4.3
    station.figures.follow(SECOND)
    assert (station.read().xruns, station.read().cpu_ratio) == (0, None)


def test_the_end_of_a_call_takes_nothing_from_its_figures() -> None:
    """The record is written when the call is gone from the state."""
    station = Station()
    station.figures.follow(FIRST)
    station.xruns = 4
    station.figures.follow(None)
    station.figures.follow(FIRST)
    assert station.read().xruns == 1


def test_without_a_connection_there_is_nothing_to_tell() -> None:
    station = Station()
    station.connection = None
    assert station.figures.read() is None


def test_a_rebuilt_connection_adds_to_what_was() -> None:
    station = Station()
    station.figures.follow(FIRST)
    station.read()
    station.connection = Metrics()
    assert station.read().audio_packets_received == 500, "while it comes up"
    for received in (10, 20, 30):
        station.connection = replace(UP, connection_time=0.4, audio_packets_received=received, call_duration=1.0)
        found = station.read()
        assert (found.audio_packets_received, found.call_duration) == (500 + received, 11.0)
    station.connection = replace(UP, connection_time=0.5, audio_packets_received=7)
    assert station.read().audio_packets_received == 537
    assert station.read().connection_time == 0.2


def test_a_call_that_ends_without_a_connection_has_what_it_had() -> None:
    """Its connection was lost and none came up again: the record is written then."""
    station = Station()
    station.figures.follow(FIRST)
    station.read()
    station.connection = None
    assert station.read().audio_packets_received == 500
    station.connection = Metrics()
    station.read()
    station.connection = None
    assert station.read().audio_packets_received == 500
    station.figures.follow(SECOND)
    assert station.figures.read() is None


def test_the_next_call_begins_with_nothing() -> None:
    station = Station()
    station.figures.follow(FIRST)
    station.read()
    station.figures.follow(SECOND)
    station.connection = replace(UP, connection_time=0.4, audio_packets_received=10)
    assert station.read().audio_packets_received == 10
