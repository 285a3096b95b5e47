"""The link supervisor decides rightly in every phase, and in no order of events does it give up or try twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from intercomd.core import link
from intercomd.core.effects import Report
from intercomd.core.link import (
    Acked,
    Announce,
    Connect,
    Connected,
    Disconnect,
    Ended,
    Fired,
    Heard,
    Kicked,
    Limits,
    Link,
    Phase,
    Refused,
    SendHeartbeat,
    SetTimer,
    Started,
    StopTimer,
    Timer,
)
from intercomd.errors import ErrorCode


@dataclass
class Bench:
    """Feeds the supervisor, keeps its timers by due time and remembers what it ordered."""

    state: Link = field(default_factory=Link)
    now_s: float = 1000.0
    chance: float = 0.5
    timers: dict[Timer, tuple[float, int]] = field(default_factory=dict)
    ordered: list[link.Effect] = field(default_factory=list)

    def hear(self, event: link.Event) -> Sequence[link.Effect]:
        self.state, effects = link.handle(self.state, event)
        for effect in effects:
            if isinstance(effect, SetTimer):
                self.timers[effect.timer] = (self.now_s + effect.delay_s, effect.attempt)
            elif isinstance(effect, StopTimer):
                self.timers.pop(effect.timer, None)
        self.ordered.extend(effects)
        return effects

    def next_timer(self) -> tuple[Timer, Sequence[link.Effect]]:
        """Let time pass until the next timer fires."""
        timer = min(self.timers, key=lambda name: self.timers[name])
        due_s, attempt = self.timers.pop(timer)
        self.now_s = max(self.now_s, due_s)
        return timer, self.hear(Fired(timer, attempt, self.now_s, self.chance))

    def until(self, timer: Timer) -> Sequence[link.Effect]:
        for _ in range(100):
            fired, effects = self.next_timer()
            if fired is timer:
                return effects
        raise AssertionError(f"{timer} never fired")

    def start(self) -> "Bench":
        self.hear(Started(self.now_s))
        return self

    def connect(self) -> "Bench":
        self.hear(Connected(self.state.attempt, self.now_s))
        return self

    def fail(self, reason: str = "connection refused") -> Sequence[link.Effect]:
        return self.hear(Ended(self.state.attempt, self.now_s, self.chance, reason))

    def refuse(self, code: str = "unauthorised") -> Sequence[link.Effect]:
        return self.hear(Refused(self.state.attempt, self.now_s, self.chance, code))

    def ack(self) -> Sequence[link.Effect]:
        return self.hear(Acked(self.state.attempt, self.now_s))

    def reports(self) -> list[ErrorCode]:
        return [effect.code for effect in self.ordered if isinstance(effect, Report)]

    def announcements(self) -> list[bool]:
        return [effect.up for effect in self.ordered if isinstance(effect, Announce)]


def delays(effects: Sequence[link.Effect], timer: Timer) -> list[float]:
    return [effect.delay_s for effect in effects if isinstance(effect, SetTimer) and effect.timer is timer]


# ------------------------------------------------------------------------------------------------- attempts


def test_the_first_attempt_is_at_once_and_has_a_deadline() -> None:
    bench = Bench().start()
    assert bench.ordered == [StopTimer(Timer.RETRY), SetTimer(Timer.DEADLINE, 1, 20.0), Connect(1)]
    assert link.shown(bench.state) == "connecting"


def test_an_attempt_that_is_never_answered_ends_at_its_deadline_and_is_let_go() -> None:
    bench = Bench().start()
    effects = bench.until(Timer.DEADLINE)
    assert bench.now_s == 1020.0
    assert Disconnect(1) in effects
    assert delays(effects, Timer.RETRY) == [0.5]
    assert "20 s" in bench.state.reason


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.999])
def test_the_back_off_doubles_to_five_seconds_with_full_jitter_and_never_ends(chance: float) -> None:
    bench = Bench(chance=chance).start()
    seen = []
    for _ in range(200):
        seen.extend(delays(bench.fail(), Timer.RETRY))
        bench.until(Timer.RETRY)
    assert seen[:5] == [pytest.approx(ceiling * chance) for ceiling in (1.0, 2.0, 4.0, 5.0, 5.0)]
    assert seen[-1] == pytest.approx(5.0 * chance)
    assert bench.state.phase is Phase.CONNECTING


def test_the_first_failure_and_the_fifth_are_reported_and_the_others_are_silent() -> None:
    bench = Bench().start()
    counts = []
    for _ in range(12):
        bench.fail()
        counts.append(list(bench.reports()))
        bench.until(Timer.RETRY)
    assert counts[3] == [ErrorCode.HUB_UNREACHABLE]
    assert counts[4] == counts[11] == [ErrorCode.HUB_UNREACHABLE, ErrorCode.HUB_GIVING_NO_ANSWER]


def test_the_report_says_how_it_failed() -> None:
    bench = Bench().start()
    assert Report(ErrorCode.HUB_UNREACHABLE, reason="connection refused") in bench.fail()


def test_a_stale_answer_of_an_older_attempt_changes_nothing() -> None:
    bench = Bench().start()
    bench.fail()
    bench.until(Timer.RETRY)
    before = bench.state
    stale = (
        Connected(1, 1.0),
        Ended(1, 1.0, 0.5, "late"),
        Refused(1, 1.0, 0.5, "banned"),
        Acked(1, 1.0),
        Heard(1, 1.0),
    )
    assert [bench.hear(event) for event in stale] == [()] * 5
    assert bench.hear(Fired(Timer.DEADLINE, 1, 1.0, 0.5)) == ()
    assert bench.state == before


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("code", ["unauthorised", "protocol_unsupported", "banned"])
def test_a_refused_station_retries_slowly_for_ever_and_says_so_once(code: str) -> None:
    bench = Bench(chance=0.5).start()
    for _ in range(5):
        effects = bench.refuse(code)
        assert link.shown(bench.state) == "refused"
        assert delays(effects, Timer.RETRY) == [pytest.approx(30.0)]
        bench.until(Timer.RETRY)
        assert link.shown(bench.state) == "refused", "the error stays visible while the station tries again"
    assert bench.reports() == [ErrorCode.HUB_REFUSED]


def test_the_refusals_reason_is_ours_and_never_the_wires() -> None:
    bench = Bench().start()
    effects = bench.refuse("<script>")
    assert all("<script>" not in effect.reason for effect in effects if isinstance(effect, Report))


def test_a_hub_that_puts_us_off_is_a_failed_attempt_and_no_refusal() -> None:
    bench = Bench().start()
    bench.refuse("rate_limited")
    assert link.shown(bench.state) == "down"
    assert bench.reports() == [ErrorCode.HUB_UNREACHABLE]
    assert bench.timers[Timer.RETRY][0] - bench.now_s <= 5.0


def test_a_refused_station_that_then_finds_no_hub_is_down_and_no_longer_refused() -> None:
    bench = Bench().start()
    bench.refuse()
    bench.until(Timer.RETRY)
    bench.fail()
    assert link.shown(bench.state) == "down"
    assert bench.reports() == [ErrorCode.HUB_REFUSED, ErrorCode.HUB_UNREACHABLE]


# ------------------------------------------------------------------------------------------------- heartbeat


def test_a_connection_is_announced_once_and_beats_every_five_seconds() -> None:
    bench = Bench().start().connect()
    beats = []
    for _ in range(4):
        assert SendHeartbeat(1) in bench.until(Timer.HEARTBEAT)
        beats.append(bench.now_s)
        bench.ack()
    assert beats == [1005.0, 1010.0, 1015.0, 1020.0]
    assert bench.announcements() == [True]
    assert bench.state.phase is Phase.UP


def test_a_hung_hub_is_seen_within_eight_seconds() -> None:
    bench = Bench().start().connect()
    while bench.state.phase is Phase.UP:
        bench.next_timer()
    assert bench.now_s == 1008.0
    assert bench.announcements() == [True, False]
    assert bench.reports() == [ErrorCode.HUB_LOST]
    assert Disconnect(1) in bench.ordered


def test_the_hubs_own_heartbeat_counts_as_heard_but_two_misses_are_still_too_many() -> None:
    bench = Bench().start().connect()
    while bench.state.phase is Phase.UP:
        bench.hear(Heard(1, bench.now_s))
        bench.next_timer()
    assert bench.now_s == 1013.0, "the second beat (10 s) was not acknowledged within 3 s"


def test_a_late_acknowledgement_forgives_the_miss() -> None:
    bench = Bench().start().connect()
    bench.until(Timer.HEARTBEAT)
    bench.hear(Heard(1, bench.now_s))
    bench.until(Timer.ACK)
    assert bench.state.missed == 1
    bench.now_s += 1.0
    bench.ack()
    assert bench.state.missed == 0
    bench.until(Timer.ACK)
    assert bench.state.phase is Phase.UP


def test_messages_keep_the_link_without_a_timer_for_each() -> None:
    bench = Bench().start().connect()
    for _ in range(1000):
        bench.now_s += 0.001
        assert bench.hear(Heard(1, bench.now_s)) == ()
    assert link.age_s(bench.state, bench.now_s + 2.0) == pytest.approx(2.0)


def test_the_age_is_unknown_before_the_hub_was_ever_heard() -> None:
    assert link.age_s(Bench().start().state, 1234.0) is None


# ------------------------------------------------------------------------------------------------- loss


def test_a_disconnect_by_the_hub_is_followed_by_a_jittered_attempt() -> None:
    bench = Bench(chance=0.3).start().connect()
    bench.until(Timer.HEARTBEAT)
    bench.ack()
    effects = bench.fail("closed by the hub")
    assert [type(effect) for effect in effects if not isinstance(effect, StopTimer)] == [
        Announce,
        Disconnect,
        Report,
        SetTimer,
    ]
    assert delays(effects, Timer.RETRY) == [pytest.approx(0.3)]
    assert not {Timer.HEARTBEAT, Timer.ACK, Timer.SILENCE} & set(bench.timers)


def test_a_loss_is_reported_and_the_failures_after_it_are_silent_until_the_fifth() -> None:
    bench = Bench().start().connect()
    bench.until(Timer.HEARTBEAT)
    bench.ack()
    bench.fail("closed by the hub")
    for _ in range(5):
        bench.until(Timer.RETRY)
        bench.fail()
    assert bench.reports() == [ErrorCode.HUB_LOST, ErrorCode.HUB_GIVING_NO_ANSWER]


def test_a_hub_that_accepts_and_drops_at_once_is_reported_once_and_approached_ever_slower() -> None:
    bench = Bench(chance=1.0 - 1e-9).start()
    pauses = []
    for _ in range(10):
        bench.connect()
        pauses.extend(delays(bench.fail("closed by the hub"), Timer.RETRY))
        bench.until(Timer.RETRY)
    assert bench.reports() == [ErrorCode.HUB_LOST, ErrorCode.HUB_GIVING_NO_ANSWER]
    assert pauses[-1] == pytest.approx(5.0)


def test_a_hub_that_answers_before_it_dies_again_is_approached_soon_and_reported_once() -> None:
    bench = Bench(chance=1.0 - 1e-9).start()
    pauses = []
    for _ in range(10):
        bench.connect()
        bench.hear(Heard(1 + len(pauses), bench.now_s, answered=True))
        pauses.extend(delays(bench.fail("closed by the hub"), Timer.RETRY))
        bench.until(Timer.RETRY)
    assert bench.reports() == [ErrorCode.HUB_LOST]
    assert pauses == [pytest.approx(1.0)] * 10


def test_an_acknowledged_heartbeat_begins_a_new_cycle() -> None:
    bench = Bench().start()
    for _ in range(2):
        bench.fail()
        bench.until(Timer.RETRY)
        bench.connect()
        bench.until(Timer.HEARTBEAT)
        bench.ack()
        assert bench.state.failed_attempts == 0
        bench.fail("closed by the hub")
        bench.until(Timer.RETRY)
    assert bench.reports() == [ErrorCode.HUB_UNREACHABLE, ErrorCode.HUB_LOST, ErrorCode.HUB_LOST]


# ------------------------------------------------------------------------------------------------- kicks


@pytest.mark.parametrize("refused", [False, True])
def test_a_kick_ends_the_wait(refused: bool) -> None:
    bench = Bench().start()
    _ = bench.refuse() if refused else bench.fail()
    effects = bench.hear(Kicked(bench.now_s))
    assert Connect(2) in effects
    assert Timer.RETRY not in bench.timers


def test_kicks_leave_a_young_attempt_alone_and_replace_an_old_one() -> None:
    bench = Bench().start()
    for _ in range(10):
        bench.now_s += 0.4
        assert bench.hear(Kicked(bench.now_s)) == ()
    bench.now_s += 2.0
    effects = bench.hear(Kicked(bench.now_s))
    assert Disconnect(1) in effects
    assert Connect(2) in effects


def test_a_kick_while_up_asks_at_once_and_one_miss_is_enough() -> None:
    bench = Bench().start().connect()
    bench.now_s += 1.0
    assert SendHeartbeat(1) in bench.hear(Kicked(bench.now_s))
    bench.until(Timer.ACK)
    assert bench.now_s == 1004.0
    assert bench.announcements() == [True, False]


@pytest.mark.parametrize("up", [True, False])
def test_another_way_to_the_hub_is_taken_at_once_up_or_not(up: bool) -> None:
    """No heartbeat and no deadline is waited for: what leaves from an address that is gone never arrives."""
    bench = Bench().start()
    if up:
        bench.connect()
    bench.now_s += 0.1
    effects = bench.hear(Kicked(bench.now_s, rerouted=True))
    assert effects.index(Disconnect(1)) < effects.index(Connect(2))
    assert bench.announcements() == ([True, False] if up else [])
    assert set(bench.timers) == {Timer.DEADLINE}
    assert not [effect for effect in effects if isinstance(effect, Report)], "that is no failure of the hub's"
    assert bench.hear(Connected(1, bench.now_s)) == ()


def test_another_way_to_the_hub_ends_a_wait() -> None:
    bench = Bench().start()
    bench.fail()
    assert Connect(2) in bench.hear(Kicked(bench.now_s, rerouted=True))


def test_a_kick_while_up_tears_nothing_down_when_the_hub_is_heard() -> None:
    bench = Bench().start().connect()
    bench.hear(Kicked(bench.now_s))
    bench.now_s += 1.0
    bench.hear(Heard(1, bench.now_s))
    bench.until(Timer.ACK)
    assert bench.state.phase is Phase.UP


def test_a_kick_during_a_beat_sends_no_second_one() -> None:
    bench = Bench().start().connect()
    bench.until(Timer.HEARTBEAT)
    bench.hear(Heard(1, bench.now_s))
    assert bench.hear(Kicked(bench.now_s)) == ()
    bench.until(Timer.ACK)
    assert bench.state.phase is not Phase.UP


def test_own_limits_are_kept() -> None:
    limits = Limits(attempt_s=2.0, heartbeat_s=0.5, ack_s=0.2, silence_s=0.9)
    bench = Bench(Link(limits)).start().connect()
    while bench.state.phase is Phase.UP:
        bench.next_timer()
    assert bench.now_s == pytest.approx(1000.9)


# ------------------------------------------------------------------------------------------------- any order


class AnyOrder(RuleBasedStateMachine):
    """Any order of answers, losses, stale events, kicks and late timers."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.open: set[int] = set()
        self.up: bool = False

    def hear(self, event: link.Event) -> None:
        for effect in self.bench.hear(event):
            match effect:
                case Connect(attempt):
                    assert not self.open, "two attempts at a time"
                    self.open.add(attempt)
                case Disconnect(attempt):
                    self.open.discard(attempt)
                case Announce(up):
                    assert up is not self.up, "announced twice"
                    self.up = up
                case SetTimer(_, attempt, delay_s):
                    assert attempt == self.bench.state.attempt
                    assert 0.0 <= delay_s <= 33.0

    @initialize()
    def begin(self) -> None:
        self.hear(Started(self.bench.now_s))

    def attempt(self, back: int) -> int:
        return max(0, self.bench.state.attempt - back)

    @rule(back=st.integers(0, 1))
    def connected(self, back: int) -> None:
        if self.attempt(back) in self.open:
            self.hear(Connected(self.attempt(back), self.bench.now_s))

    @rule(back=st.integers(0, 2), chance=st.floats(0, 1, exclude_max=True))
    def ended(self, back: int, chance: float) -> None:
        self.hear(Ended(self.attempt(back), self.bench.now_s, chance, "x"))

    @rule(back=st.integers(0, 2), code=st.sampled_from(["unauthorised", "banned", "rate_limited", "?"]))
    def refused(self, back: int, code: str) -> None:
        self.hear(Refused(self.attempt(back), self.bench.now_s, 0.5, code))

    @rule(back=st.integers(0, 2), kind=st.sampled_from([Heard, Acked]))
    def heard(self, back: int, kind: type[Heard] | type[Acked]) -> None:
        self.hear(kind(self.attempt(back), self.bench.now_s))

    @rule(passed_s=st.floats(0, 10), rerouted=st.booleans())
    def kicked(self, passed_s: float, rerouted: bool) -> None:
        self.bench.now_s += passed_s
        self.hear(Kicked(self.bench.now_s, rerouted))

    @precondition(lambda self: self.bench.timers)
    @rule(late_s=st.floats(0, 2), chance=st.floats(0, 1, exclude_max=True))
    def fired(self, late_s: float, chance: float) -> None:
        timer = min(self.bench.timers, key=lambda name: self.bench.timers[name])
        due_s, attempt = self.bench.timers.pop(timer)
        self.bench.now_s = max(self.bench.now_s, due_s) + late_s
        self.hear(Fired(timer, attempt, self.bench.now_s, chance))

    @rule(timer=st.sampled_from(list(Timer)), back=st.integers(1, 3))
    def fired_stale(self, timer: Timer, back: int) -> None:
        before = self.bench.state
        self.hear(Fired(timer, self.bench.state.attempt - back, self.bench.now_s, 0.5))
        assert self.bench.state == before

    @invariant()
    def never_gives_up(self) -> None:
        timers = self.bench.timers
        match self.bench.state.phase:
            case Phase.CONNECTING:
                assert Timer.DEADLINE in timers
                assert self.open == {self.bench.state.attempt}
            case Phase.UP:
                assert Timer.HEARTBEAT in timers
                assert Timer.SILENCE in timers
            case Phase.DOWN | Phase.REFUSED:
                assert self.bench.state.attempt == 0 or Timer.RETRY in timers
                assert not self.open, "an old client was not let go"

    @invariant()
    def announced_is_true(self) -> None:
        assert self.up is (self.bench.state.phase is Phase.UP)


TestAnyOrder = AnyOrder.TestCase
