"""The media port's contract, on the fake and on aiortc over this machine's own addresses."""

import asyncio
import time

import numpy as np
import pytest

from intercomd.core.vocabulary import Candidate, Sdp
from intercomd.media.pcm import SILENCE, level_dbfs
from tests.contract.media_rig import FakeKind, Kind, MakePair, Pair, RealKind
from tests.unit.sounds import SAME_VOICE, best_alignment, likeness, speech

QUICK = {"silent_s": 0.4, "lost_s": 1.0}
MOST_LATE_MS = 400
"""Beyond it people talk into each other's words (ITU-T G.114: one way, mouth to ear). How much less it is, `make bench`
measures: on a busy machine the buffer rightly grows by what the machine holds up."""


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.platform("libopus"))])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    return FakeKind() if request.param == "fake" else RealKind(monkeypatch)


async def test_it_comes_up_and_says_so_once(pair: Pair) -> None:
    await pair.come_up(7)
    offer = await pair.caller.listener.heard("described", 7)
    answer = await pair.callee.listener.heard("described", 7)
    assert (offer.type, answer.type) == ("offer", "answer")
    await asyncio.sleep(0.3)
    assert pair.caller.listener.of(7) == pair.callee.listener.of(7) == ["described", "up"]


async def test_the_types_of_the_paths_two_ends_are_known_while_there_is_one(pair: Pair) -> None:
    media = pair.caller.media
    assert media.candidate_types is None
    await pair.come_up()
    assert media.candidate_types == "host-host"
    media.stop()
    assert media.candidate_types is None


async def test_no_event_comes_from_within_a_method(pair: Pair) -> None:
    pair.start()
    assert pair.caller.listener.words == []
    pair.caller.media.apply(1, Sdp("answer", "garbage"))
    assert pair.caller.listener.words == []


async def test_voice_both_ways(pair: Pair) -> None:
    await pair.come_up()
    voices = speech(1, 100_000), speech(2, 100_000)
    pair.caller.talk(voices[0])
    pair.callee.talk(voices[1])
    await asyncio.sleep(2.4)
    heard = pair.callee.hush(), pair.caller.hush()
    for voice, recording, stranger in zip(voices, heard, reversed(voices), strict=True):
        assert likeness(voice[:84_000], recording) > SAME_VOICE
        assert likeness(stranger[:84_000], recording) < 0.4
        assert best_alignment(voice[:12_000], recording)[0] < 48 * MOST_LATE_MS, f"more than {MOST_LATE_MS} ms late"


async def test_a_closed_microphone_is_heard_as_silence_and_not_as_a_loss(pair_of: MakePair) -> None:
    pair = pair_of(**QUICK)
    await pair.come_up()
    pair.caller.talk(None)
    pair.callee.talk(None)
    await asyncio.sleep(1.5)
    assert max(level_dbfs(recording) for recording in (pair.caller.hush(), pair.callee.hush())) < -70
    assert pair.caller.listener.of(1) == pair.callee.listener.of(1) == ["described", "up"]


async def test_lost_packets_are_covered(pair: Pair) -> None:
    await pair.come_up()
    pair.kind.drop(pair.caller.media, lambda number: number % 8 in (3, 4))
    voice = speech(3, 150_000)
    pair.caller.talk(voice)
    pair.callee.talk(None)
    await asyncio.sleep(3.2)
    metrics = pair.callee.media.metrics()
    alike = likeness(voice[:132_000], pair.callee.hush())
    pair.caller.hush()
    assert metrics is not None
    assert metrics.audio_packets_lost is not None
    assert metrics.audio_packets_lost > 15
    assert metrics.concealed_ratio is not None
    assert 0.05 < metrics.concealed_ratio < 0.35
    assert alike > 0.5


async def test_silence_then_loss_then_up_again(pair_of: MakePair) -> None:
    pair = pair_of(**QUICK)
    await pair.come_up()
    await asyncio.sleep(0.3)
    pair.kind.hold(pair.caller.media, True)
    begin_s = time.monotonic()
    await pair.callee.listener.heard("silent", 1)
    silent_s = time.monotonic() - begin_s
    reason = await pair.callee.listener.heard("lost", 1)
    lost_s = time.monotonic() - begin_s
    pair.kind.hold(pair.caller.media, False)
    await pair.callee.listener.heard("up", 1, times=2)
    assert 0.3 <= silent_s < 0.9
    assert 0.9 <= lost_s < 1.6
    assert "no packet" in str(reason)
    assert pair.callee.listener.of(1) == ["described", "up", "silent", "lost", "up"]
    assert pair.caller.listener.of(1) == ["described", "up"]


async def test_a_short_silence_ends_by_itself(pair_of: MakePair) -> None:
    pair = pair_of(silent_s=0.4, lost_s=5.0)
    await pair.come_up()
    await asyncio.sleep(0.3)
    pair.kind.hold(pair.caller.media, True)
    await pair.callee.listener.heard("silent", 1)
    pair.kind.hold(pair.caller.media, False)
    await pair.callee.listener.heard("up", 1, times=2)
    assert pair.callee.listener.of(1) == ["described", "up", "silent", "up"]


async def test_after_stop_it_is_silent_and_the_peer_hears_of_it(pair: Pair) -> None:
    await pair.come_up()
    pair.caller.talk(speech(1, 48_000))
    pair.callee.talk(speech(2, 48_000))
    await asyncio.sleep(0.5)
    pair.callee.media.stop()
    assert pair.callee.media.source.pull() is SILENCE
    assert pair.callee.media.metrics() is None
    reason = await pair.caller.listener.heard("lost", 1)
    assert "closed" in str(reason)
    assert pair.callee.listener.of(1) == ["described", "up"]


async def test_the_peers_goodbye_is_no_loss_when_this_end_stops_too(pair: Pair) -> None:
    """At the end of a call the connection's goodbye overtakes the hub's word."""
    await pair.come_up()
    pair.callee.media.stop()
    await asyncio.sleep(0.2)
    pair.caller.media.stop()
    await asyncio.sleep(0.8)
    assert pair.caller.listener.of(1) == ["described", "up"]


async def test_a_new_epoch_replaces_the_last_one(pair: Pair) -> None:
    await pair.come_up(1)
    pair.caller.talk(speech(1, 500_000))
    await asyncio.sleep(0.3)
    source, sink = pair.callee.media.source, pair.callee.media.sink
    await pair.come_up(2)
    pair.callee.talk(None)
    await asyncio.sleep(1.2)
    assert level_dbfs(pair.callee.hush()) > -40
    pair.caller.hush()
    assert pair.callee.media.source is source
    assert pair.callee.media.sink is sink
    await asyncio.sleep(0.7)
    for station in (pair.caller, pair.callee):
        assert station.listener.of(1) == ["described", "up"]
        assert station.listener.of(2) == ["described", "up"]


async def test_the_same_epoch_again_is_a_new_connection(pair: Pair) -> None:
    """A browser's ICE restart comes as another offer in the same epoch; the core starts the epoch anew."""
    await pair.come_up(1)
    pair.start(1)
    await pair.caller.listener.heard("up", 1, times=2)
    await pair.callee.listener.heard("up", 1, times=2)
    assert "lost" not in pair.caller.listener.of(1) + pair.callee.listener.of(1)


async def test_what_belongs_to_another_epoch_is_dropped(pair: Pair) -> None:
    await pair.come_up(5)
    for epoch in (4, 6):
        pair.callee.media.apply(epoch, Sdp("offer", "garbage"))
        pair.callee.media.add_candidate(epoch, Candidate("garbage"))
    await asyncio.sleep(0.2)
    assert pair.callee.listener.of(5) == ["described", "up"]
    assert [epoch for _, epoch, _ in pair.callee.listener.words] == [5, 5]


@pytest.mark.parametrize("garbage", ["", "v=0", "\x00\r\n=\r\n", "m=audio 9 x 0\r\n" * 50, "a=" * 1000])
async def test_garbage_is_a_loss_and_no_exception(pair: Pair, garbage: str) -> None:
    pair.callee.media.start(3, False, ())
    pair.callee.media.apply(3, Sdp("offer", garbage))
    reason = await pair.callee.listener.heard("lost", 3)
    assert reason
    assert not garbage or garbage not in str(reason)
    assert pair.callee.listener.of(3) == ["lost"]


async def test_an_offer_where_an_answer_is_due(pair: Pair) -> None:
    pair.caller.listener.on_described = pair.caller.media.apply
    pair.caller.media.start(1, True, ())
    assert "offer" in str(await pair.caller.listener.heard("lost", 1))


async def test_the_same_description_twice_is_nothing_another_one_a_loss(pair: Pair) -> None:
    await pair.come_up()
    offer = await pair.caller.listener.heard("described", 1)
    pair.callee.media.apply(1, offer)
    await asyncio.sleep(0.3)
    assert pair.callee.listener.of(1) == ["described", "up"]
    pair.callee.media.apply(1, Sdp("offer", offer.sdp + "a=x\r\n"))
    assert "second" in str(await pair.callee.listener.heard("lost", 1))


async def test_candidates_before_the_offer_wait_for_it(pair: Pair) -> None:
    def trickle(epoch: int, sdp: Sdp) -> None:
        lines = sdp.sdp.splitlines()
        for line in lines:
            if line.startswith("a=candidate:"):
                pair.callee.media.add_candidate(epoch, Candidate(line.removeprefix("a="), "0", 0))
        pair.callee.media.add_candidate(epoch, None)
        bare = [line for line in lines if not line.startswith(("a=candidate:", "a=end-of"))]
        pair.callee.media.apply(epoch, Sdp(sdp.type, "\r\n".join(bare) + "\r\n" if len(lines) > 1 else sdp.sdp))

    pair.caller.listener.on_described = trickle
    await pair.come_up()


async def test_a_flood_of_candidates_does_no_harm(pair: Pair) -> None:
    pair.callee.media.start(1, False, ())
    for number in range(10_000):
        pair.callee.media.add_candidate(1, Candidate(f"candidate:{number} 1 udp 1 192.0.2.9 9 typ host", "0", 0))
        pair.callee.media.add_candidate(1, Candidate("\x00" * 99))
    pair.caller.media.start(1, True, ())
    await pair.callee.listener.heard("up", 1)


async def test_no_answer_is_a_loss_after_the_limit(pair_of: MakePair) -> None:
    pair = pair_of(connect_limit_s=0.5)
    pair.caller.listener.on_described = lambda *_: None
    begin_s = time.monotonic()
    pair.caller.media.start(1, True, ())
    reason = await pair.caller.listener.heard("lost", 1)
    assert 0.4 < time.monotonic() - begin_s < 1.0
    assert "0.5 s" in str(reason)


async def test_metrics(pair: Pair) -> None:
    assert pair.caller.media.metrics() is None
    await pair.come_up()
    pair.caller.talk(speech(1, 96_000))
    pair.callee.talk(None)
    await asyncio.sleep(2.2)
    metrics = pair.callee.media.metrics()
    pair.caller.hush()
    pair.callee.hush()
    assert metrics is not None
    assert metrics.connection_time is not None
    assert metrics.call_duration is not None
    assert metrics.audio_packets_received is not None
    assert 0 <= metrics.connection_time < 2
    assert 2 < metrics.call_duration < 3
    assert metrics.audio_packets_received > 40
    assert metrics.audio_packets_lost == 0
    assert metrics.concealed_ratio is not None
    assert metrics.concealed_ratio < 0.1


async def test_the_moment_of_the_first_voice(pair: Pair) -> None:
    await pair.come_up()
    began_ns = time.monotonic_ns()
    pair.caller.talk(speech(1, 96_000))
    pair.callee.talk(None)
    await asyncio.sleep(0.6)
    heard_ns = pair.callee.media.first_voice_ns
    assert heard_ns is not None
    assert began_ns < heard_ns < began_ns + 500_000_000
    assert pair.caller.media.first_voice_ns is None, "the other end has not spoken"
    await asyncio.sleep(0.2)
    assert pair.callee.media.first_voice_ns == heard_ns, "it is the first"
    pair.caller.hush()
    pair.callee.hush()
    pair.callee.media.stop()
    assert pair.callee.media.first_voice_ns is None


async def test_push_and_pull_without_a_connection(pair: Pair) -> None:
    for media in (pair.caller.media, pair.callee.media):
        media.sink.push(SILENCE)
        assert np.array_equal(media.source.pull(), SILENCE)
        media.apply(1, Sdp("offer", "garbage"))
        media.add_candidate(1, None)
        media.stop()


async def test_what_was_prepared_comes_up_like_anything_else(pair: Pair) -> None:
    for media in (pair.caller.media, pair.callee.media):
        media.prepare(())
        media.prepare(())
    await asyncio.sleep(0.2)
    assert pair.caller.listener.words == pair.callee.listener.words == []
    await pair.come_up(3)
    voice = speech(1, 96_000)
    pair.caller.talk(voice)
    pair.callee.talk(None)
    await asyncio.sleep(1.6)
    heard = pair.callee.hush()
    pair.caller.hush()
    assert likeness(voice[:60_000], heard) > SAME_VOICE
    for media in (pair.caller.media, pair.callee.media):
        media.prepare(())
    assert pair.caller.listener.of(3) == pair.callee.listener.of(3) == ["described", "up"]
    await pair.come_up(4)


async def test_what_was_prepared_in_vain_is_never_heard_of(pair: Pair) -> None:
    pair.caller.media.prepare(())
    pair.caller.media.stop()
    pair.callee.media.prepare(())
    await pair.come_up()
    pair.caller.media.prepare(())
    await asyncio.sleep(0.2)
    assert pair.caller.listener.of(1) == pair.callee.listener.of(1) == ["described", "up"]


async def test_stop_in_the_middle_of_anything(pair: Pair) -> None:
    for epoch in range(1, 12):
        pair.start(epoch)
        await asyncio.sleep(0.004 * epoch)
    pair.caller.media.stop()
    pair.callee.media.stop()
    words = len(pair.caller.listener.words) + len(pair.callee.listener.words)
    await asyncio.sleep(0.7)
    assert len(pair.caller.listener.words) + len(pair.callee.listener.words) == words


async def test_close_twice_while_it_comes_up(pair: Pair) -> None:
    pair.start()
    await asyncio.sleep(0.02)
    for _ in range(2):
        await pair.close()
