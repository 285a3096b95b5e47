"""Voice processing between the microphone and the encoder: high-pass, echo cancellation, noise suppression, automatic
gain, and half duplex where there is no canceller or it does not do.

    playout thread   card.write(period) ──▶ Reference (what was really played, xruns as silence)
    capture thread   card.read() ─▶ high-pass ─▶ canceller ◀─ Reference.matching ─▶ half duplex ─▶ encoder
                                         └─ at 16 kHz: delay of the echo, ERLE, double talk ─┘

The canceller is a library that takes most of a second to load: that happens in a thread of its own, and until it is
there the microphone is on half duplex.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from intercomd.media.alignment import MARGIN_FRAMES, Reference
from intercomd.media.canceller import Canceller, CancellerError, LoadCanceller, VoiceStatus
from intercomd.media.double_talk import DoubleTalk
from intercomd.media.duplex import HalfDuplex
from intercomd.media.echo_delay import EchoDelay
from intercomd.media.erle import EchoMeter
from intercomd.media.highpass import HighPass
from intercomd.media.narrow import Narrower, Wave
from intercomd.media.pcm import PERIOD_FRAMES, RATE_HZ, Pcm, level_dbfs

POOR_DB: Final = 12.0
"""An echo that is only so much weaker is heard as an echo."""
GOOD_DB: Final = 20.0
POOR_PERIODS: Final = 200
"""Of metered echo: a canceller that just converges is not poor."""
PROVEN_DB: Final = 25.0
_PROVING_PERIODS: Final = 300
"""Of far-end speech at the beginning of each call: so long a canceller may take to be proven, and half duplex stands in
for it."""
_LISTENING_PERIODS: Final = 120
"""After so many without an echo there is none to wait for."""
_REACH_FRAMES: Final = RATE_HZ * 300 // 1000
"""AEC3 finds an echo that is as late, and is better off when nobody moves its reference (a second of echo each time).
Beyond, the reading is moved nearer."""
_JUMP_FRAMES: Final = RATE_HZ * 10 // 1000
"""An echo that comes so much sooner or later than before is another one: the canceller must learn it."""
_AHEAD_FRAMES: Final = RATE_HZ * 30 // 1000
"""How far the reference stays ahead of its echo after that."""
_LOAD_LIMIT_S: Final = 2.0
_CPU_SMOOTHING: Final = 1 / 100


@dataclass(frozen=True, slots=True)
class Switches:
    """What is wanted. `engine` is "livekit" or "half-duplex"."""

    engine: str = "livekit"
    echo: bool = True
    noise: bool = True
    gain: bool = True
    highpass: bool = True
    chirp: bool = True
    double_talk: bool = True


class VoiceProcessing:
    """One for the process's life. `played` and `restarted` belong to the playout thread; `begin`, `captured` to the
    capture thread; `start`, `status`, `close` to any."""

    def __init__(
        self,
        switches: Switches,
        load: LoadCanceller | None = None,
        *,
        on_failed: Callable[[str], None] = lambda _reason: None,
        on_half_duplex: Callable[[bool], None] = lambda _active: None,
        play_chirp: Callable[[], None] = lambda: None,
    ) -> None:
        """`load` is called in a thread of its own. `on_failed(reason)` tells from there that there is no canceller;
        `on_half_duplex` tells each change from the capture thread."""
        self._switches, self._load = switches, load
        self._on_failed, self._on_half_duplex = on_failed, on_half_duplex
        self.play_chirp = play_chirp
        self.reference = Reference()
        self._highpass, self._narrower = HighPass(), Narrower(2)
        self._metered = switches.echo or switches.engine == "half-duplex"
        self._tracker, self._meter, self._duplex = EchoDelay(), EchoMeter(), HalfDuplex()
        self._canceller: Canceller | None = None
        self._double_talk: DoubleTalk | None = None
        self._loader: threading.Thread | None = None
        self._started, self._closed = threading.Lock(), False
        self._behind_frames: dict[str, int] = {}
        self._playout_pcm = self._way = ""
        self._levels: deque[float] = deque(maxlen=RATE_HZ // PERIOD_FRAMES)
        self._poor_periods = self._proving = 0
        self._poor = False
        self._told_half_duplex = False
        self._told_delay = -1
        self._slipped = False
        self._period_s = 0.0

    # ------------------------------------------------------------------------------------------------- any thread

    def start(self) -> None:
        """Load the canceller in the background. Idempotent."""
        with self._started:
            if self._loader is None and self._load is not None and not self._closed:
                self._loader = threading.Thread(target=self._run_load, name="canceller", daemon=True)
                self._loader.start()

    def _run_load(self) -> None:
        assert self._load is not None
        switches = self._switches
        try:
            canceller = self._load(echo=switches.echo, noise=switches.noise, gain=switches.gain)
        except CancellerError as error:
            self._on_failed(str(error))
            return
        if switches.echo and switches.double_talk:
            self._double_talk = DoubleTalk(canceller.late_frames)
        self._canceller = canceller

    def wait_loaded(self, limit_s: float) -> bool:
        """Whether the canceller is there, at the latest after `limit_s`. For measurements; a call never waits."""
        if self._loader is not None:
            self._loader.join(limit_s)
        return self._canceller is not None

    def status(self) -> VoiceStatus:
        """What is in force now."""
        switches, meter, delay = self._switches, self._meter, self._tracker.delay_frames
        ahead = self.reference.behind_frames - PERIOD_FRAMES  # the period that is read was written as it was captured
        parts = [name for name in ("echo", "noise", "gain") if self._canceller is not None and getattr(switches, name)]
        if switches.highpass:
            parts.insert(0, "highpass")
        if self.half_duplex:
            parts.append("half-duplex")
        return VoiceStatus(
            parts=tuple(parts),
            erle_db=meter.erle_db if "echo" in parts else None,
            echo_delay_ms=None if delay is None else (delay + ahead) * 1000 / RATE_HZ,
            half_duplex=self.half_duplex,
            period_cpu_s=self._period_s,
        )

    @property
    def half_duplex(self) -> bool:
        """Whoever speaks first has the line: as configured, without a canceller, or with one that does not do."""
        if self._switches.engine == "half-duplex":
            return True
        return self._switches.echo and (self._canceller is None or self._poor)

    @property
    def _gated(self) -> bool:
        """Half duplex, or its stand-in while the canceller still learns the room: no state that is worth a lamp."""
        return self.half_duplex or (self._switches.echo and self._proving > 0)

    def close(self) -> None:
        """Idempotent; the audio threads have ended."""
        self._closed = True
        if self._loader is not None:
            self._loader.join(_LOAD_LIMIT_S)
        canceller, self._canceller = self._canceller, None
        if canceller is not None:
            canceller.close()

    # ---------------------------------------------------------------------------------------------- playout thread

    def played(self, period: Pcm, lost_frames: int = 0) -> None:
        """The card took `period`, after `lost_frames` of silence."""
        self.reference.played(period, lost_frames)
        self._slipped = self._slipped or lost_frames > 0

    def restarted(self, pcm: str) -> None:
        """This playback PCM was opened."""
        self._playout_pcm = pcm
        self.reference.restarted()

    # ---------------------------------------------------------------------------------------------- capture thread

    def begin(self, pcm: str) -> None:
        """This capture PCM was opened for a call, or again."""
        way = f"{self._playout_pcm} {pcm}"
        if way != self._way:
            self._meter.clear()
            self._way = way
        self._meter.renew()
        self._tracker.clear()
        self._highpass.clear()
        self._levels.clear()
        self._proving = _PROVING_PERIODS
        known = self._behind_frames.get(way)
        self.reference.begin(MARGIN_FRAMES if known is None else known)
        if known is None and self._switches.chirp and self._switches.echo:
            self.play_chirp()

    def captured(self, period: Pcm, lost_frames: int = 0) -> Pcm:
        """The period as it is to be sent, shape (480,), later by what the canceller takes (some 10 ms)."""
        began_s = time.thread_time()
        reference = self.reference.matching(lost_frames)
        if lost_frames or self._slipped:
            self._doubt()
        if self._switches.highpass:
            period = self._highpass(period)
        canceller = self._canceller
        sent = period if canceller is None else self._cancelled(canceller, period, reference)
        if self._metered:
            sent = self._judged(self._narrower(period, reference), period, sent)
        self._period_s += (time.thread_time() - began_s - self._period_s) * _CPU_SMOOTHING
        return sent

    def _cancelled(self, canceller: Canceller, period: Pcm, reference: Pcm) -> Pcm:
        try:
            return canceller.process(period, reference)
        except CancellerError as error:
            self._canceller = None
            canceller.close()
            self._on_failed(str(error))
            return period

    def _judged(self, narrow: Wave, period: Pcm, sent: Pcm) -> Pcm:
        """`narrow`: the period and its reference. The period to send."""
        if self._tracker.see(narrow[1], narrow[0]) and self._tracker.audible:
            self._found()
        self._levels.append(level_dbfs(narrow[1]))
        late = (self._tracker.delay_frames or 0) // PERIOD_FRAMES
        reference_dbfs = self._levels[max(0, len(self._levels) - 1 - late)]
        both = self._double_talk is not None and self._double_talk.both
        heard_dbfs, sent_dbfs = level_dbfs(period), level_dbfs(sent)
        audible = self._tracker.delay_frames is not None
        talk = self._meter.see(reference_dbfs, heard_dbfs, sent_dbfs, audible=audible, both=both)
        if talk.far and audible and not both:
            self._judge()
        if talk.far and self._proving:
            self._prove()
        if self.half_duplex != self._told_half_duplex:
            self._told_half_duplex = not self._told_half_duplex
            self._on_half_duplex(self._told_half_duplex)
        if self._double_talk is not None and self._canceller is not None:
            trusted = audible and not self._proving
            gain_db = self._meter.near_gain_db if self._switches.gain else 0.0
            sent = self._double_talk.blend(period, narrow, sent, talk, trusted=trusted, gain_db=gain_db)
        return self._duplex(sent, talk, active=self._gated)

    def _doubt(self) -> None:
        """An xrun's length is reckoned by the clock: after a slip of milliseconds the canceller must learn anew."""
        self._slipped = False
        self._meter.renew()
        self._proving = _PROVING_PERIODS

    def _prove(self) -> None:
        self._proving -= 1
        listened = _PROVING_PERIODS - self._proving
        proven = self._meter.erle_db is not None and self._meter.erle_db > PROVEN_DB
        if proven or (listened > _LISTENING_PERIODS and self._tracker.delay_frames is None):
            self._proving = 0

    def _judge(self) -> None:
        """A canceller that leaves an echo for long, in its best moments too, is helped by half duplex until it does
        better."""
        best_db = self._meter.best_db
        if self._canceller is None or not self._switches.echo or self._proving:
            return
        if best_db < POOR_DB:
            self._poor_periods = min(POOR_PERIODS, self._poor_periods + 1)
        elif best_db > GOOD_DB:
            self._poor_periods = max(0, self._poor_periods - 3)
        if self._poor_periods in (0, POOR_PERIODS):
            self._poor = self._poor_periods == POOR_PERIODS

    def _found(self) -> None:
        """The canceller hears of the delay. An echo beyond its reach is brought nearer, once."""
        delay = self._tracker.delay_frames
        assert delay is not None
        behind = self.reference.behind_frames
        if self._canceller is not None and delay != self._told_delay:
            if self._told_delay >= 0 and abs(delay - self._told_delay) > _JUMP_FRAMES:
                self._doubt()
            self._told_delay = delay
            self._canceller.expect_delay(delay * 1000 // RATE_HZ)
            if self._double_talk is not None:
                self._double_talk.linear.aim(delay)
        if delay > _REACH_FRAMES:
            behind += delay - _AHEAD_FRAMES
            self.reference.begin(behind)
            self._tracker.clear()
            self._levels.clear()
        self._behind_frames[self._way] = behind
