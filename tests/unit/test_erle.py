"""The echo meters on levels alone: what is far-end speech, what is double talk, and what an echo was reduced by."""

import numpy as np
import pytest

from intercomd.media.erle import EchoMeter, Talk

NOISE_DBFS = -65.0


class Call:
    """Far-end speech of wandering level, whose echo is weaker by 6 dB, and a canceller of `erle_db`."""

    def __init__(self, erle_db: float = 30.0) -> None:
        self.meter = EchoMeter()
        self.erle_db = erle_db
        self._dice = np.random.default_rng(1)

    def far(self, periods: int, *, near_dbfs: float | None = None, audible: bool = True) -> list[Talk]:
        return [self._period(float(self._dice.uniform(-30, -15)), near_dbfs, audible) for _ in range(periods)]

    def near(self, periods: int, level_dbfs: float, gain_db: float = 0.0) -> list[Talk]:
        levels = self._dice.uniform(level_dbfs - 5, level_dbfs + 5, periods)
        return [self.meter.see(-96.0, float(one), float(one) + gain_db, audible=True) for one in levels]

    def silence(self, periods: int) -> list[Talk]:
        return [self.meter.see(-96.0, NOISE_DBFS, NOISE_DBFS, audible=True) for _ in range(periods)]

    def _period(self, far_dbfs: float, near_dbfs: float | None, audible: bool) -> Talk:
        pauses = near_dbfs is None or self._dice.random() < 0.3
        near = -96.0 if near_dbfs is None or pauses else near_dbfs
        captured = _sum(far_dbfs - 6, near, NOISE_DBFS)
        return self.meter.see(
            far_dbfs, captured, _sum(captured - self.erle_db if pauses else near, -80), audible=audible
        )


def _sum(*levels_db: float) -> float:
    return float(10 * np.log10(sum(10 ** (one / 10) for one in levels_db)))


@pytest.mark.parametrize("erle_db", [8.0, 20.0, 35.0])
def test_tells_what_the_canceller_does(erle_db: float) -> None:
    call = Call(erle_db)
    call.silence(50)
    call.far(400)
    assert call.meter.erle_db == pytest.approx(erle_db, abs=3)


def test_is_silent_before_a_second_of_echo_was_heard_and_where_there_is_none() -> None:
    call = Call()
    call.far(50)
    assert call.meter.erle_db is None
    other = Call()
    other.far(500, audible=False)
    assert other.meter.erle_db is None


@pytest.mark.parametrize("near_dbfs", [-22.0, -12.0])
def test_double_talk_is_no_fault_of_the_canceller(near_dbfs: float) -> None:
    call = Call(35.0)
    call.far(400)
    call.far(800, near_dbfs=near_dbfs)
    assert call.meter.best_db > 20
    assert call.meter.erle_db is not None
    assert call.meter.erle_db > 20


def test_a_canceller_that_fails_has_no_good_moments() -> None:
    call = Call(35.0)
    call.far(400)
    call.erle_db = 2.0
    call.far(600)
    assert call.meter.best_db < 12
    assert call.meter.erle_db is not None
    assert call.meter.erle_db < 12


def test_a_near_end_breaks_in_by_being_louder_than_the_echo_and_an_echo_never_does() -> None:
    call = Call()
    call.silence(50)
    call.far(300)
    assert not any(talk.near for talk in call.far(300))
    assert all(talk.near for talk in call.near(40, -15.0)[-10:])


def test_the_tail_of_a_room_still_belongs_to_the_far_end() -> None:
    call = Call()
    call.far(200)
    tail = [call.meter.see(-96.0, -26.0 - 1.2 * period, -60.0, audible=True) for period in range(20)]
    assert all(talk.far for talk in tail[:15])
    assert not any(talk.near for talk in tail)


def test_automatic_gain_is_not_taken_for_an_echo() -> None:
    call = Call(30.0)
    call.near(900, -35.0, gain_db=12.0)
    call.silence(100)
    call.erle_db = 18.0  # 30, of which the gain takes 12 away
    call.far(400)
    assert call.meter.erle_db == pytest.approx(30.0, abs=4)


def test_another_call_must_prove_itself_but_knows_the_room() -> None:
    call = Call()
    call.far(300)
    coupling_db = call.meter.coupling_db
    call.meter.renew()
    assert call.meter.erle_db is None
    assert call.meter.coupling_db == coupling_db
