"""An epoch's life with a scripted peer, on a clock that jumps from timer to timer."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from intercomd.core.vocabulary import Candidate, Sdp
from intercomd.media.epoch import Described, Epoch, EpochLimits, Lost, PeerError, Silent, Up, Word
from intercomd.media.near_end import SentVoice
from intercomd.media.quality import NetworkStats
from intercomd.media.sending import Report
from intercomd.media.voice import ReceivedVoice
from tests.unit.jumping_loop import JumpingLoop
from tests.unit.test_description import HOST, LOCAL, text

pytestmark = pytest.mark.platform("libopus")

OFFER, ANSWER = Sdp("offer", text(HOST)), Sdp("answer", text(HOST))


class Peer:
    """Carries out what it is ordered and notes it. Knobs: `error`, `slow_s`, `other_packets`, `network`."""

    def __init__(self, on_first: Callable[[], None], on_end: Callable[[str], None]) -> None:
        self.on_first, self.on_end = on_first, on_end
        self.voice_packets = 0
        self.checks = 0
        self.local_address: str | None = None
        self.candidate_types: str | None = None
        self.other_packets = 0
        self.network = NetworkStats()
        self.done: list[object] = []
        self.readings = 0
        self.error: str | None = None
        self.slow_s = 0.0

    async def _do(self, what: object) -> None:
        self.done.append(what)
        await asyncio.sleep(self.slow_s)
        if self.error:
            raise PeerError(self.error)

    async def describe(self) -> Sdp:
        await self._do("describe")
        return OFFER

    async def take(self, sdp: Sdp) -> None:
        await self._do(sdp)

    async def add_candidate(self, candidate: Candidate | None) -> None:
        await self._do(candidate)

    async def statistics(self) -> tuple[NetworkStats, int]:
        self.readings += 1
        return self.network, self.voice_packets + self.other_packets

    def detach(self) -> None:
        self.done.append("detach")

    async def close(self) -> None:
        self.done.append("close")

    def hear(self) -> None:
        self.voice_packets += 1
        self.on_first()


class Stage:
    """One epoch with its peer, its voices and what it told."""

    def __init__(self, offerer: bool = False) -> None:
        self.words: list[tuple[float, Word]] = []
        self.sent, self.received = SentVoice(), ReceivedVoice()
        self.peers: list[Peer] = []
        self.epoch = Epoch(7, offerer, self._make, EpochLimits(), self.sent, self.received, self._tell)
        self.peer = self.peers[0]

    def _make(self, on_first: Callable[[], None], on_end: Callable[[str], None]) -> Peer:
        self.peers.append(Peer(on_first, on_end))
        return self.peers[0]

    def _tell(self, epoch: Epoch, word: Word) -> None:
        assert epoch is self.epoch
        self.words.append((round(asyncio.get_running_loop().time(), 1), word))

    async def come_up(self, offer: Sdp = OFFER) -> None:
        self.epoch.apply(offer)
        await asyncio.sleep(0.01)
        self.peer.hear()
        await asyncio.sleep(0)

    async def talk(self, seconds: float) -> None:
        """The peer sends 50 packets a second."""
        for _ in range(round(seconds * 50)):
            self.peer.hear()
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.epoch.close()
        self.sent.close()
        self.received.close()


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        yield runner.run


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_the_offerer_describes_first_the_answerer_after_the_offer(run: Run) -> None:
    async def script() -> None:
        offerer, answerer = Stage(offerer=True), Stage()
        await asyncio.sleep(1)
        assert offerer.peer.done == ["describe"]
        assert answerer.peer.done == []
        answerer.epoch.apply(OFFER)
        offerer.epoch.apply(ANSWER)
        await asyncio.sleep(1)
        assert offerer.peer.done == ["describe", ANSWER]
        assert answerer.peer.done == [OFFER, "describe"]
        for stage in (offerer, answerer):
            assert [word for _, word in stage.words] == [Described(OFFER)]
            await stage.close()

    run(script())


@pytest.mark.parametrize(("applied", "stage_text"), [(False, "offer did not come"), (True, "no path to the peer")])
def test_the_connect_limit_names_what_was_missing(run: Run, applied: bool, stage_text: str) -> None:
    async def script() -> None:
        stage = Stage()
        if applied:
            stage.epoch.apply(OFFER)
        await asyncio.sleep(20)
        at_s, word = stage.words[-1]
        assert at_s == 10.0
        assert isinstance(word, Lost)
        assert stage_text in word.reason
        assert stage.peer.done[-2:] == ["detach", "close"]
        await stage.close()

    run(script())


def test_a_peer_that_hangs_is_given_up(run: Run) -> None:
    async def script() -> None:
        stage = Stage(offerer=True)
        stage.peer.slow_s = 1000
        await asyncio.sleep(20)
        assert stage.words == [(10.0, Lost("no audio within 10 s: no local description could be made"))]
        await stage.close()

    run(script())


def test_an_error_of_the_peer_is_the_reason(run: Run) -> None:
    async def script() -> None:
        stage = Stage(offerer=True)
        stage.peer.error = "it will not"
        await asyncio.sleep(1)
        assert stage.words == [(0.0, Lost("it will not"))]
        await stage.close()

    run(script())


def test_up_silent_lost_and_up_again(run: Run) -> None:
    async def script() -> None:
        stage = Stage()
        await stage.come_up()
        await stage.talk(3)
        await asyncio.sleep(6)
        await stage.talk(1)
        assert [type(word) for _, word in stage.words] == [Described, Up, Silent, Lost, Up]
        assert [at_s for at_s, _ in stage.words] == pytest.approx([0.0, 0.0, 4.0, 6.0, 9.0], abs=0.15)
        assert "close" not in stage.peer.done
        await stage.close()

    run(script())


def test_reports_alone_keep_a_muted_peer_up(run: Run) -> None:
    """RTCP counts: the statistics are read in each turn in which no voice came."""

    async def script() -> None:
        stage = Stage()
        await stage.come_up()
        await stage.talk(1)
        for _ in range(20):
            await asyncio.sleep(0.9)
            stage.peer.other_packets += 1
        assert [type(word) for _, word in stage.words] == [Described, Up]
        await stage.close()

    run(script())


def test_statistics_are_read_once_a_second_while_voice_comes(run: Run) -> None:
    async def script() -> None:
        stage = Stage()
        await stage.come_up()
        await stage.talk(10)
        assert 9 <= stage.peer.readings <= 12
        await stage.close()

    run(script())


@pytest.mark.parametrize("parameters", ["", "a=fmtp:111 minptime=10;useinbandfec=1"])
def test_the_sending_side_hears_of_the_path_once_a_second(
    run: Run, monkeypatch: pytest.MonkeyPatch, parameters: str
) -> None:
    """Also while nothing comes, when the statistics are read ten times as often."""

    async def script() -> None:
        stage = Stage()
        told: list[Report] = []
        monkeypatch.setattr(stage.sent, "report", told.append)
        stage.peer.network = NetworkStats(peer_loss=0.2, round_trip_s=0.03, peer_jitter_s=0.004)
        await stage.come_up(Sdp("offer", text(HOST, parameters)))
        await stage.talk(2)
        for _ in range(80):
            stage.peer.other_packets += 1
            await asyncio.sleep(0.1)
        await stage.close()
        assert len(told) in (10, 11)
        assert {(report.loss, report.round_trip_s, report.jitter_s) for report in told} == {(0.2, 0.03, 0.004)}
        assert {report.takes_short for report in told} == {bool(parameters)}
        assert all(report.cpu_ratio is not None and 0 <= report.cpu_ratio < 1 for report in told[1:])

    run(script())


@pytest.mark.parametrize("up", [False, True])
def test_the_end_of_the_connection_is_told_once(run: Run, up: bool) -> None:
    async def script() -> None:
        stage = Stage()
        if up:
            await stage.come_up()
        stage.peer.on_end("it closed")
        stage.peer.on_end("again")
        await asyncio.sleep(20)
        assert [word for _, word in stage.words if isinstance(word, Lost)] == [Lost("it closed")]
        assert "close" in stage.peer.done
        await stage.close()

    run(script())


def test_an_end_after_the_watchdogs_word_is_not_told_again(run: Run) -> None:
    async def script() -> None:
        stage = Stage()
        await stage.come_up()
        await asyncio.sleep(5)
        stage.peer.on_end("consent expired")
        await asyncio.sleep(5)
        assert [word for _, word in stage.words if isinstance(word, Lost)] == [Lost("no packet for 3 s")]
        await stage.close()

    run(script())


def test_candidates_wait_for_the_description_and_are_bounded(run: Run) -> None:
    async def script() -> None:
        stage = Stage()
        for number in range(1000):
            stage.epoch.add_candidate(Candidate(HOST.replace("40000", str(number + 1))))
        await asyncio.sleep(1)
        assert stage.peer.done == []
        stage.epoch.apply(OFFER)
        await asyncio.sleep(1)
        assert stage.peer.done[:2] == [OFFER, "describe"]
        assert len(stage.peer.done) == 2 + 64
        await stage.close()

    run(script())


@pytest.mark.parametrize("end", [None, Candidate("")])
@pytest.mark.parametrize("hidden", [False, True])
def test_the_end_of_candidates_passes_only_if_all_were_usable(run: Run, hidden: bool, end: Candidate | None) -> None:
    async def script() -> None:
        stage = Stage()
        stage.epoch.apply(OFFER)
        if hidden:
            stage.epoch.add_candidate(Candidate(LOCAL))
        stage.epoch.add_candidate(end)
        await asyncio.sleep(1)
        assert stage.peer.done[2:] == ([] if hidden else [None])
        await stage.close()

    run(script())


def test_a_bad_candidate_does_not_end_the_feeding(run: Run) -> None:
    async def script() -> None:
        stage = Stage()
        stage.epoch.apply(OFFER)
        await asyncio.sleep(1)
        stage.peer.error = "refused"
        stage.epoch.add_candidate(Candidate(HOST))
        await asyncio.sleep(1)
        stage.peer.error = None
        stage.epoch.add_candidate(Candidate(HOST))
        await asyncio.sleep(1)
        assert stage.peer.done[2:] == [Candidate(HOST)] * 2
        await stage.close()

    run(script())


def test_missing_statistics_do_not_end_the_watch(run: Run) -> None:
    async def script() -> None:
        stage = Stage()

        async def none() -> tuple[NetworkStats, int]:
            raise PeerError("none")

        stage.peer.statistics = none  # type: ignore[method-assign]
        await stage.come_up()
        await asyncio.sleep(5)
        assert [type(word) for _, word in stage.words] == [Described, Up, Silent, Lost]
        await stage.close()

    run(script())


def test_a_mistake_of_ours_is_a_loss_and_is_reported(run: Run) -> None:
    async def script() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        stage = Stage()

        async def broken() -> tuple[NetworkStats, int]:
            raise ZeroDivisionError

        stage.peer.statistics = broken  # type: ignore[method-assign]
        await stage.come_up()
        await asyncio.sleep(1)
        assert stage.words[-1][1] == Lost("the media path failed by itself (ZeroDivisionError)")
        assert isinstance(reported[0]["exception"], ZeroDivisionError)
        await stage.close()

    run(script())


def test_metrics_tell_connection_time_and_duration(run: Run) -> None:
    async def script() -> None:
        stage = Stage()
        assert stage.epoch.metrics().connection_time is None
        await asyncio.sleep(0.5)
        await stage.come_up()
        await stage.talk(2)
        metrics = stage.epoch.metrics()
        assert metrics.connection_time == pytest.approx(0.51, abs=0.01)
        assert metrics.call_duration == pytest.approx(2.0, abs=0.05)
        await stage.close()

    run(script())


def test_close_while_it_hangs(run: Run) -> None:
    async def script() -> None:
        stage = Stage(offerer=True)
        stage.peer.slow_s = 1000
        await asyncio.sleep(0.1)
        await stage.close()
        assert asyncio.get_running_loop().time() < 1
        assert stage.words == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(script())
