"""The fill of a playout PCM: believed while the card tells, reckoned when it does not."""

import pytest

from intercomd.media import fill
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ

BUFFER = 1920
PERIOD_S = PERIOD_FRAMES / RATE_HZ


def test_the_card_is_believed() -> None:
    state = fill.empty(BUFFER, 10.0)
    assert fill.queued_frames(state, BUFFER, 10.0) == 0
    assert fill.queued_frames(state, BUFFER - 500, 99.0) == 500


@pytest.mark.parametrize(("avail", "queued"), [(BUFFER + 700, 0), (-5, BUFFER)])
def test_a_card_that_tells_too_much_is_taken_at_its_limits(avail: int, queued: int) -> None:
    assert fill.queued_frames(fill.empty(BUFFER, 0.0), avail, 0.0) == queued


@pytest.mark.parametrize(("queued", "due_in_s"), [(0, 0.0), (480, 0.0), (481, 1 / RATE_HZ), (960, 0.01), (1920, 0.03)])
def test_a_period_is_due_when_it_makes_two(queued: int, due_in_s: float) -> None:
    assert fill.due_in_s(queued) == pytest.approx(due_in_s)


def test_after_a_refusal_the_clock_reckons_from_a_full_buffer() -> None:
    state = fill.refused(fill.empty(BUFFER, 0.0), 5.0)
    assert fill.queued_frames(state, BUFFER, 5.0) == BUFFER
    assert fill.queued_frames(state, BUFFER, 5.03) == BUFFER - 3 * PERIOD_FRAMES
    assert fill.queued_frames(state, BUFFER, 6.0) == 0


def write_for(duration_s: float, card_ppm: float, avail_lies: bool) -> tuple[fill.Fill, float]:
    """Two periods kept queued on a card with its own crystal. Gives the fill and the true queue's mean in frames."""
    now_s, played, written, queues = 0.0, 0.0, 0, []
    state = fill.empty(BUFFER, now_s)
    while now_s < duration_s:
        played = min(written, played + PERIOD_S / 10 * RATE_HZ * (1 + card_ppm / 1e6))
        now_s += PERIOD_S / 10
        true_avail = BUFFER - (written - int(played))
        queued = fill.queued_frames(state, BUFFER if avail_lies else true_avail, now_s)
        if fill.due_in_s(queued) == 0:
            if true_avail < PERIOD_FRAMES:
                state = fill.refused(state, now_s)
            else:
                written += PERIOD_FRAMES
                state = fill.wrote(state, queued, PERIOD_FRAMES, now_s)
        queues.append(written - int(played))
    return state, sum(queues[len(queues) // 2 :]) / (len(queues) - len(queues) // 2)


@pytest.mark.parametrize("ppm", [-1000, -50, 0, 50, 1000])
def test_a_drifting_crystal_is_not_a_lie(ppm: float) -> None:
    state, mean = write_for(200.0 if ppm == 1000 else 10.0, ppm, avail_lies=False)
    assert state.told
    assert PERIOD_FRAMES <= mean <= 2 * PERIOD_FRAMES


def test_an_avail_that_always_promises_room_is_caught_and_the_queue_does_not_stay_full() -> None:
    state, mean = write_for(10.0, 0, avail_lies=True)
    assert not state.told
    assert mean <= 2 * PERIOD_FRAMES + 1


def test_a_card_that_takes_more_than_time_allows_is_caught() -> None:
    state, now_s = fill.empty(BUFFER, 0.0), 0.0
    for _ in range(20):
        state = fill.wrote(state, 0, PERIOD_FRAMES, now_s)
    assert not state.told


def test_dry_time_counts_from_the_end_of_what_was_queued() -> None:
    state = fill.wrote(fill.empty(BUFFER, 0.0), PERIOD_FRAMES, PERIOD_FRAMES, 1.0)
    assert fill.dry_s(state, 1.01) == 0.0
    assert fill.dry_s(state, 1.02) == pytest.approx(0.0)
    assert fill.dry_s(state, 1.32) == pytest.approx(0.3)
