"""One suite for `FakeCanceller` and for livekit's audio processing module."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from intercomd.adapters.livekit_apm import LivekitCanceller, load_livekit
from intercomd.fakes.canceller import FakeCanceller
from intercomd.media.canceller import Canceller, CancellerError
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm
from tests.unit.sounds import speech

ECHO_FRAMES = 2 * PERIOD_FRAMES
MOST_LATE_S = 0.02

Make = Callable[[], Canceller]


def livekit() -> Canceller:
    return load_livekit(echo=True, noise=False, gain=False)


@pytest.fixture(scope="module", autouse=True)
def _loaded_once() -> None:
    """Its runtime keeps threads and descriptors for the process's life: they are no test's leak."""
    livekit().close()


def livekit_by_its_own_messages() -> Canceller:
    return load_livekit(echo=True, noise=False, gain=False, direct=False)


@pytest.fixture(
    params=[lambda: FakeCanceller(0.5, ECHO_FRAMES), livekit, livekit_by_its_own_messages],
    ids=["fake", "livekit", "livekit's messages"],
)
def canceller(request: pytest.FixtureRequest) -> Iterator[Canceller]:
    made: Canceller = request.param()
    yield made
    made.close()


def through(canceller: Canceller, captured: Pcm, reference: Pcm) -> Pcm:
    periods = zip(captured.reshape(-1, PERIOD_FRAMES), reference.reshape(-1, PERIOD_FRAMES), strict=True)
    return np.concatenate([canceller.process(heard, known) for heard, known in periods])


def rms(sound: Pcm) -> float:
    return float(np.sqrt(np.mean(sound.astype(float) ** 2)))


def test_takes_the_echo_away_within_three_seconds(canceller: Canceller) -> None:
    played = speech(1, 6 * RATE_HZ)
    heard = np.concatenate([np.zeros(ECHO_FRAMES), played[:-ECHO_FRAMES] * 0.5]).astype(np.int16)
    out = through(canceller, heard, played)
    assert out.dtype == np.int16
    assert len(out) == len(heard)
    assert rms(out[3 * RATE_HZ :]) < rms(heard[3 * RATE_HZ :]) / 30


def test_leaves_a_near_end_alone_and_is_not_late(canceller: Canceller) -> None:
    said = speech(2, 3 * RATE_HZ)
    out = through(canceller, said, np.zeros_like(said))
    size = 1 << (2 * len(said)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(said, size)), size)
    late = int(np.argmax(cross[: RATE_HZ // 10]))
    assert late <= MOST_LATE_S * RATE_HZ
    assert rms(out) == pytest.approx(rms(said), rel=0.3)


@pytest.mark.parametrize("frames", [0, 240, 479, 481, 960])
def test_refuses_any_other_size_before_the_native_code_sees_it(canceller: Canceller, frames: int) -> None:
    wrong, right = np.zeros(frames, np.int16), np.zeros(PERIOD_FRAMES, np.int16)
    for captured, reference in ((wrong, right), (right, wrong)):
        with pytest.raises(ValueError, match=r"480|960"):
            canceller.process(captured, reference)
    assert len(canceller.process(right, right)) == PERIOD_FRAMES, "and goes on"


def test_refuses_another_type(canceller: Canceller) -> None:
    wrong, right = np.zeros(PERIOD_FRAMES // 2, np.int32), np.zeros(PERIOD_FRAMES, np.int16)
    with pytest.raises(ValueError, match="int32"):
        canceller.process(wrong.astype(np.int32), right)


def test_takes_a_hint_of_the_delay_and_closes_twice(canceller: Canceller) -> None:
    canceller.expect_delay(60)
    silence = np.zeros(PERIOD_FRAMES, np.int16)
    canceller.process(silence, silence)
    canceller.close()
    canceller.close()
    with pytest.raises(CancellerError):
        canceller.process(silence, silence)


def test_the_direct_way_is_there_and_hears_the_same() -> None:
    """The private names of the package: without them processing costs twice as much, and nobody would notice."""
    played = speech(1, RATE_HZ)
    heard = np.concatenate([np.zeros(ECHO_FRAMES), played[:-ECHO_FRAMES] * 0.5]).astype(np.int16)
    direct, public = livekit(), livekit_by_its_own_messages()
    assert isinstance(direct, LivekitCanceller)
    assert direct.late_frames == public.late_frames
    assert np.array_equal(through(direct, heard, played), through(public, heard, played))
    assert "_request" in direct._way.process.__qualname__
    direct.close()
    public.close()
