"""The receive buffer that adapts: as little delay as the network of the last seconds allows. Pure; time is passed in.

Theory of operation. `_next` is the RTP timestamp to be heard next; how far the playout clock is ahead of it is the
stream's offset, and a packet is in time if its transit is below the offset (`media/delay.py` says which offset pays).
Playing begins at the wanted offset. When the buffer runs dry, `_next` stands still while concealment stands in: a
packet that was only late is played afterwards, at an offset that has grown by the stand-in; for one that proves to be
lost the stand-in is taken, unless a larger offset is wanted. Otherwise the offset moves by the periods of pitch that
the decoding thread leaves out or repeats when `Play` asks for it, so that drifting clocks need no correction of their
own. It is lowered only if all packets of the last half second would still have been in time. After 100 ms without a
packet the stream counts as paused; beyond the ceiling the oldest packets go at once.

Playout takes whole periods: all frames that a period needs must be there when it is asked for. A packet that begins
`ahead` frames into a period is therefore needed that much before it is heard, and these frames of delay are free to go.
Unless its place within a period slides, which it does once drifting clocks are corrected by resampling: from one period
to the next the packet is needed 10 ms sooner, so those are kept (up to 10 ms more delay instead of a gap each time).
"""

from dataclasses import dataclass

import numpy as np

from intercomd.media.delay import Transits
from intercomd.media.jitter import CONCEALED_FRAMES, QUANTUM_FRAMES, Decision, Play
from intercomd.media.packet import Packet, carries_fec
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ
from intercomd.media.sequence import Sequence, Waiting
from intercomd.media.stretch import LEAST_LAG, MOST_LAG

_MS = RATE_HZ // 1000
_MOST_WAITING = 96
"""240 ms of the shortest packets (2.5 ms)."""
_MARGIN_FRAMES = _MS
"""Between a packet that came just in time and one that is needed: the playout thread is not woken to the frame."""
_START_FRAMES = 20 * _MS
_LEARNING_FRAMES = RATE_HZ
"""For so long nothing is known of the network, and the delay stays what it was at the start."""
_WATCH_FRAMES = RATE_HZ // 2
_SPACING_FRAMES = RATE_HZ // 10
"""One period of pitch in this time is not heard; a stretched voice would be."""
_WORTH_FRAMES = 2 * _MS
"""Less than this is not worth a change."""
_HURRY_FRAMES = 40 * _MS
"""Excess from which on coming back counts for more than that nobody hears it."""
_MOST_STEPS = 16
_STEPS = np.arange(-_MOST_STEPS, _MOST_STEPS + 1)
_LATE_IN_A_ROW, _LATE_WHILE_DRY = 25, 5
"""Nothing but late packets: the sender has begun a new timeline. Sooner where there is nothing else to play."""
_HISTORY = 64


@dataclass(slots=True)
class _Least:
    """The least of half a second: the offset at which a packet was heard, and how long it had waited by then."""

    known: bool = False
    offset: int = 0
    wait: int = 0

    def see(self, offset: int, wait: int) -> None:
        self.offset = min(self.offset, offset) if self.known else offset
        self.wait = min(self.wait, wait) if self.known else wait
        self.known = True

    def shift(self, frames: int) -> None:
        self.offset += frames
        self.wait += frames


class AdaptiveBuffer(Sequence):
    """A `ReceiveBuffer` whose delay follows the network's."""

    def __init__(self, most_ms: int = 120, ceiling_ms: int = 200) -> None:
        """`most_ms`: the delay that jitter may cost; `ceiling_ms`: what is ever kept."""
        self._most = most_ms * _MS
        self._ceiling = max(ceiling_ms * _MS, self._most)
        self._transits = Transits(self._most)
        self._slides = False
        self.restart()

    def _forget(self) -> None:
        super()._forget()
        self._transits.forget()
        self._highest_sequence: int | None = None
        self._seen = 0
        self._filling_frames = 0
        self._since_look, self._hurry = 0, False
        self._watch_anew()

    @property
    def target_frames(self) -> int:
        """The delay that jitter and loss of the last seconds are worth, beyond the fastest packet's."""
        target = self._transits.target
        return 0 if target is None else target - self._transits.base

    # ------------------------------------------------------------------------------------------------- arrival

    def put(self, packet: Packet) -> None:
        frames = self._count(packet)
        if not frames:
            return
        if self._seen_before(packet.sequence):
            self._tally["duplicates"] += 1
            return
        at = self._unwrapped(packet.timestamp)
        if self._next is not None and at < self._next and self._is_another_timeline(packet, at):
            self._begin(packet)
            at = packet.timestamp
        self._take(at, packet, frames)

    def _take(self, at: int, packet: Packet, frames: int) -> None:
        arrived = round(packet.arrived_s * RATE_HZ)
        self._transits.see(at, arrived)
        if self._note_sequence(packet.sequence) and carries_fec(packet.payload):
            self._transits.could_rebuild(at, frames, arrived)
        if self._next is not None and at < self._next:
            self._tally["late"] += 1
            self._late_in_a_row += 1
        elif at in self._waiting:
            self._tally["duplicates"] += 1
        else:
            self._insert(at, Waiting(packet, frames, arrived))
            self._keep_ceiling()

    def _is_another_timeline(self, packet: Packet, at: int) -> bool:
        """Too late to be heard, and no straggler."""
        assert self._next is not None
        in_order = self._highest_sequence is not None and packet.sequence == (self._highest_sequence + 1) & 0xFFFF
        if in_order and self._next - at > self._ceiling:
            return True
        dry = not self._order
        return self._late_in_a_row + 1 >= (_LATE_WHILE_DRY if dry and self._filling else _LATE_IN_A_ROW)

    def _seen_before(self, sequence: int) -> bool:
        if self._highest_sequence is None:
            return False
        back = (self._highest_sequence - sequence) & 0xFFFF
        return back < _HISTORY and bool(self._seen >> back & 1)

    def _note_sequence(self, sequence: int) -> bool:
        """Whether the packet before this one has not come."""
        if self._highest_sequence is None:
            self._highest_sequence, self._seen = sequence, 1
            return False
        ahead = (sequence - self._highest_sequence) & 0xFFFF
        if ahead < 0x8000:
            self._seen = ((self._seen << min(ahead, _HISTORY)) | 1) & ((1 << _HISTORY) - 1)
            self._highest_sequence = sequence
            return ahead > 1
        back = 0x1_0000 - ahead
        if back < _HISTORY:
            self._seen |= 1 << back
        return False

    def _keep_ceiling(self) -> None:
        """What came together in a stall is not worth its delay: only the newest of it stays, as much as is wanted."""
        if self._fill() <= self._ceiling and len(self._order) <= _MOST_WAITING:
            return
        keep = self.target_frames + _MARGIN_FRAMES + self._step
        if self._next is not None and not self._filling:
            self._next = min(self._order[0], self._next + self._fill() - keep)
        while len(self._order) > 1 and (self._fill() > keep or len(self._order) > _MOST_WAITING):
            self._drop_oldest("overflowed")
        self._watch_anew()

    # ------------------------------------------------------------------------------------------------ decisions

    def decide(self, now_s: float, ahead_frames: int = 0, /) -> Decision:
        now = round(now_s * RATE_HZ)
        if self._filling:
            if not self._ready(now):
                return self._silence()
            self._start_playing(now)
        if not self._order:
            return self._run_dry(ahead_frames)
        self._dry = 0
        return self._serve(now, ahead_frames)

    def _wanted(self) -> int:
        """The offset at which to play."""
        target, base = self._transits.target or 0, self._transits.base
        if self._transits.age_frames < _LEARNING_FRAMES:
            target = max(target, base + _START_FRAMES - _MARGIN_FRAMES)
        return target + _MARGIN_FRAMES

    def _ready(self, now: int) -> bool:
        """Its time has come, or it has waited for as long as any packet should."""
        if not self._order:
            self._filling_frames = 0
            return False
        self._filling_frames += PERIOD_FRAMES
        oldest = self._order[0]
        settled = now - self._waiting[oldest].arrived >= _MARGIN_FRAMES or len(self._order) > 1
        return (settled and now - oldest >= self._wanted()) or self._filling_frames > self._most

    def _start_playing(self, now: int) -> None:
        """With what is due: older packets of a heap are not worth their delay."""
        while len(self._order) > 1 and now - self._order[1] >= self._wanted():
            self._drop_oldest("left_out")
        self._filling, self._filling_frames, self._stand_in = False, 0, 0
        self._next = self._order[0]
        self._watch_anew()

    def _run_dry(self, ahead: int) -> Decision:
        """Only for what the period still lacks: the packet may be there when the next one is asked for."""
        if self._dry >= CONCEALED_FRAMES:
            self._filling, self._dry = True, 0
            return self._silence()
        frames = -(-(PERIOD_FRAMES - ahead % PERIOD_FRAMES) // QUANTUM_FRAMES) * QUANTUM_FRAMES
        self._dry += frames
        self._stand_in += frames
        self._shift(frames)
        return self._conceal(frames, missing=not self._paused)

    def _serve(self, now: int, ahead: int) -> Decision:
        at = self._order[0]
        gap = self._gap(now, at)
        return self._play(now, ahead, at) if gap < QUANTUM_FRAMES else self._bridge(at, gap)

    def _gap(self, now: int, at: int) -> int:
        """Frames missing before the oldest packet, less what concealment has already stood in for; but the offset keeps
        what is wanted of it: else a lost packet's successor would never be there in time to rebuild it from."""
        assert self._next is not None
        used, offset, most = 0, now - self._next, max(0, min(at - self._next, self._stand_in))
        if most:
            choices = np.arange(most, -1, -PERIOD_FRAMES)
            used = int(choices[np.argmin(self._transits.costs(offset - _MARGIN_FRAMES - choices))])
        self._stand_in = 0
        self._next += used
        self._shift(-used)
        return at - self._next

    def _play(self, now: int, ahead: int, at: int) -> Play:
        packet, frames, arrived = self._hear(at)
        heard = now + ahead
        self._delay += (heard - arrived - self._delay) / 16
        self._watch(heard - at, heard - arrived, frames)
        stretch, hurry = (0, False) if self._paused else self._stretch(ahead, frames)
        return Play(packet.payload, frames, stretch, hurry)

    # --------------------------------------------------------------------------------------- moving the offset

    def slide(self, slides: bool) -> None:
        self._slides = slides

    def stretched(self, frames: int) -> None:
        self._shift(frames)
        self._tally["lengthened_frames" if frames > 0 else "shortened_frames"] += abs(frames)

    def _watch_anew(self) -> None:
        self._lately, self._before, self._watched = _Least(), _Least(), 0

    def _watch(self, offset: int, wait: int, frames: int) -> None:
        self._lately.see(offset, wait)
        self._watched += frames
        self._since_look += frames
        if self._watched >= _WATCH_FRAMES:
            self._lately, self._before, self._watched = _Least(), self._lately, 0

    def _shift(self, frames: int) -> None:
        self._lately.shift(frames)
        self._before.shift(frames)

    def _stretch(self, ahead: int, frames: int) -> tuple[int, bool]:
        """By how much the packet that is played now should be longer, or shorter (below 0) at most; whether in a hurry.
        Needed is what the playout thread does not yet have when it asks: not the frames that are ahead already. So a
        delay can only be one period shorter or longer than it is, and is judged at these steps."""
        if self._since_look < (0 if self._hurry else _SPACING_FRAMES):
            return 0, False
        self._since_look, self._hurry = 0, False
        # Whole periods keep their place within a period; others are some time as far ahead as can be.
        whole = frames % PERIOD_FRAMES == 0 and not self._slides
        offset, wait = self._least()
        needed = offset - (ahead if whole else PERIOD_FRAMES - 1)
        spare = wait - (offset - needed) - _MARGIN_FRAMES
        steps = self._steps(needed)
        if steps > 0:
            self._since_look = _SPACING_FRAMES  # the next packet too, if need be
            return max(LEAST_LAG, min(MOST_LAG, PERIOD_FRAMES - ahead + LEAST_LAG)), False
        most = ahead if whole else 0
        if steps < 0 and self._before.known and spare >= PERIOD_FRAMES:
            most += PERIOD_FRAMES
            self._hurry = -steps * PERIOD_FRAMES >= _HURRY_FRAMES and spare >= _HURRY_FRAMES
        return (-min(most, MOST_LAG) if most >= LEAST_LAG else 0), self._hurry

    def _steps(self, offset: int) -> int:
        """By how many periods the delay should change."""
        costs = self._transits.costs(offset - _MARGIN_FRAMES + _STEPS * PERIOD_FRAMES)
        best = int(np.argmin(costs))
        return best - _MOST_STEPS if costs[best] + _WORTH_FRAMES < costs[_MOST_STEPS] else 0

    def _least(self) -> tuple[int, int]:
        known = [least for least in (self._before, self._lately) if least.known]
        return min(least.offset for least in known), min(least.wait for least in known)
