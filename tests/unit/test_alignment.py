"""Reference and capture side by side. Each frame that is played carries its number, so a slip of one is seen."""

import numpy as np
import pytest

from intercomd.media.alignment import MARGIN_FRAMES, Reference
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm


class Card:
    """Both directions of one card, by one clock or by two: a frame is heard in the moment in which it is captured."""

    def __init__(self) -> None:
        self.reference = Reference(lambda: 0.0)
        self.at = 1
        self.reference.begin()

    def period(self) -> Pcm:
        period = np.arange(self.at, self.at + PERIOD_FRAMES).astype(np.int16)
        self.at += PERIOD_FRAMES
        return period

    def play(self, periods: int = 1, lost: int = 0) -> None:
        for _ in range(periods):
            self.reference.played(self.period(), lost)

    def turn(self, periods: int = 1) -> Pcm:
        """Playout and capture in turn; the last reference."""
        reference = np.zeros(0, np.int16)
        for _ in range(periods):
            self.play()
            reference = self.reference.matching()
        return reference


@pytest.fixture
def card() -> Card:
    card = Card()
    card.play(4)
    return card


def steps(one: Pcm, other: Pcm) -> int:
    """From the first frame of one to the first of the other."""
    return (int(other[0]) - int(one[0]) + 32768) % 65536 - 32768


def behind(card: "Card", reference: Pcm) -> int:
    """How far what was just read began behind what was just played."""
    return (card.at - int(reference[0])) % 65536


def test_reads_whole_periods_behind_what_was_played_and_goes_on(card: Card) -> None:
    first = card.turn()
    assert behind(card, first) == MARGIN_FRAMES
    assert np.all(np.diff(first) == 1)
    assert steps(first, card.turn()) == PERIOD_FRAMES


def test_a_playout_thread_that_comes_late_costs_nothing(card: Card) -> None:
    card.turn(200)
    before = card.reference.matching()
    after = card.reference.matching()
    card.play(2)
    assert steps(before, after) == PERIOD_FRAMES
    assert steps(after, card.turn()) == PERIOD_FRAMES
    assert card.reference.slipped_frames == 0


def test_what_is_not_written_yet_is_silence_and_its_place_is_kept(card: Card) -> None:
    before = card.turn(200)
    late = before
    for _ in range(4):
        late = card.reference.matching()
    assert not late.any()
    card.play(4)
    assert steps(before, card.turn()) == 5 * PERIOD_FRAMES


def test_an_overrun_skips_exactly_the_lost_frames(card: Card) -> None:
    before = card.turn(200)
    card.play(5)  # what was played while nobody read
    after = card.reference.matching(lost_frames=2000)
    assert steps(before, after) == PERIOD_FRAMES + 2000


def test_an_underrun_is_silence_of_its_length(card: Card) -> None:
    card.turn(200)
    dry = [card.reference.matching() for _ in range(3)]  # the card runs dry while capture goes on
    card.play(lost=700)
    heard = np.concatenate([*dry, *(card.turn() for _ in range(6))])
    assert np.count_nonzero(heard == 0) == 700, "1 ms less or more, and the canceller loses the room"


def test_crystals_that_differ_are_followed_frame_by_frame(card: Card) -> None:
    slips: list[int] = []
    last = card.turn(300)
    for turn in range(12_000):  # two minutes at 208 ppm: 1200 frames
        card.play()
        if turn % 10 == 9:
            card.reference.played(np.array([card.at], np.int64).astype(np.int16))  # the loudspeaker is faster
            card.at += 1
        reference = card.reference.matching()
        slips.append(abs(steps(last, reference) - PERIOD_FRAMES))
        last = reference
    slips = [slip for slip in slips if slip < 1000]  # but for the frames that bear no number
    assert 1100 <= card.reference.slipped_frames <= 1200
    assert max(slips) == 1
    assert behind(card, last) == pytest.approx(MARGIN_FRAMES, abs=100)


@pytest.mark.parametrize("jitter_ms", [0.1, 3.0])
@pytest.mark.parametrize("ppm", [200, -200])
def test_two_cards_whose_clocks_differ_stay_aligned_for_five_minutes(ppm: int, jitter_ms: float) -> None:
    """Two threads, each by its own card's clock and each as late as threads are. Frames bear their number, so the
    echo's delay is seen: the drift alone is 2880 frames, and the beat of the two clocks 480."""
    dice, now = np.random.default_rng(1000 + ppm), [0.0]
    reference, written, delays = Reference(lambda: now[0]), 0, []
    reference.begin()
    plays = _late(np.arange(-2, 30_000) * 0.01, jitter_ms, dice)
    ends = np.arange(1, 29_900) * 0.01 / (1 + ppm * 1e-6)
    for end, read_s in zip(ends, _late(ends, jitter_ms, dice), strict=True):
        while plays[written] <= read_s:
            now[0] = plays[written]
            frames = np.arange(written * PERIOD_FRAMES, (written + 1) * PERIOD_FRAMES)
            reference.played((frames % 30_000).astype(np.int16))
            written += 1
        now[0] = read_s
        first = int(reference.matching()[0])
        delays.append((round((end + 0.01) * RATE_HZ) - first + 15_000) % 30_000 - 15_000)
    settled = np.array(delays[500:])
    assert np.abs(np.diff(settled)).max() <= 2, "frame by frame"
    assert np.ptp(settled) <= (2.5 if jitter_ms < 1 else 3.5) * RATE_HZ / 1000


def _late(times: np.ndarray, jitter_ms: float, dice: np.random.Generator) -> np.ndarray:
    return np.maximum.accumulate(times + np.abs(dice.normal(0, jitter_ms / 1000, len(times))))


def test_a_wrong_length_of_an_xrun_is_set_right_within_a_second(card: Card) -> None:
    card.turn(300)
    card.play(lost=480)  # it was told twice as long as it was
    card.reference.matching()
    card.turn(100)
    assert card.reference.slipped_frames == pytest.approx(480, abs=60)


def test_scheduling_moves_nothing(card: Card) -> None:
    dice = np.random.default_rng(3)
    card.turn(200)
    for _ in range(2000):
        late = int(dice.integers(1, 3)) if dice.random() < 0.1 else 0
        for _ in range(late):  # one of the threads is held up, then catches up
            card.reference.matching()
        card.play(late)
        card.turn()
    assert abs(card.reference.slipped_frames) <= 120, "2.5 ms, one frame at a time, when load begins"


def test_another_playback_stream_is_anchored_anew(card: Card) -> None:
    card.turn(200)
    for _ in range(20):
        card.reference.matching()
    card.reference.restarted()
    card.play(3)
    assert behind(card, card.reference.matching()) == MARGIN_FRAMES


def test_a_playout_that_stays_behind_is_anchored_anew(card: Card) -> None:
    card.turn(200)
    for _ in range(20):
        card.reference.matching()
    for _ in range(150):
        reference = card.turn()
    assert reference.any(), "or there would be no reference for the rest of the call"
