"""What the trials say, in rows: seconds until both hear each other again, holes, one call and one record."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from intercomd.demo.listen import read_wav
from intercomd.demo.page_scene import VOICE
from intercomd.demo.sound import sentence
from tests.bench.recovery import stock
from tests.bench.recovery.judge import HOLE_S, back_s, holes, longest_hole_s, presence, share
from tests.bench.recovery.laboratory import CALLER
from tests.bench.recovery.scenarios import LOSS_PERCENT, PAGE_CUT_S, SETUP_LIMIT_S, Trials
from tests.bench.recovery.trial import STEADY_S, Ground, Trial, ends, presences
from tests.bench.report import Peer, Row, invalid, row
from tests.bench.sounds import without_pauses

TARGET_S = 3.0
HUNG_TARGET_S = 8.0
AUDIBLE_MS = 100.0
"""A hole of so many milliseconds is heard as one; shorter ones are concealed."""
MANY_PACKETS = 10
"""In a moment of half a second; a voice makes 25."""
NO_STATE = Peer(None, reason="a stock peer keeps no state: killed, it knows of no call")
Records = Mapping[str, int]
"""How many the hub has, by call id."""
Rows = Callable[[str, Ground, Trials, Records], list[Row]]


def killed(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    return [*_again(f"{title} → voice both ways", ground, trials, NO_STATE), one_call(title, trials, records)]


def booted(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    return [
        *_again(f"{title}: its start → voice both ways", ground, trials, NO_STATE),
        one_call(title, trials, records),
    ]


def relayed(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    one = Peer(None, reason="stock aiortc knows one relay and asks no other one")
    name = f"{title}, another is there → voice both ways"
    direct = [made for made in trials if made.figures["relayed packets"] < MANY_PACKETS]
    rows = [*_again(name, ground, trials, one, target_s=None), one_call(title, trials, records)]
    return invalid(rows, "the call did not go through the relay that was killed") if direct else rows


def on_the_page(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    times = []
    for made in trials:
        heard = presence(without_pauses(read_wav(sentence(VOICE))), made.heard[CALLER].pcm)
        times.append((back_s(holes(heard, made.heard[CALLER].began_s), made.since_s), back_s(made.page, made.since_s)))
    told = "s at the door/on the page: " + ", ".join("/".join(map(_said, pair)) for pair in times)
    peer = Peer(None, reason="a stock page keeps no call")
    back = [max(door_s, page_s) for door_s, page_s in times if door_s is not None and page_s is not None]
    name = f"{title} → voice both ways: worst"
    if len(back) < len(trials):
        return [_missed(name, f"≤ {TARGET_S:g}", peer, told), one_call(title, trials, records)]
    return [row(name, max(back), "s", peer, at_most=TARGET_S, reason=told), one_call(title, trials, records)]


def cut(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    rows = []
    for seconds in dict.fromkeys(made.figures["seconds"] for made in trials):
        some = [made for made in trials if made.figures["seconds"] == seconds]
        name = f"{title} for {seconds:g} s"
        rows += [*_again(f"{name}: back → voice both ways", ground, some), one_call(name, some, records)]
    return rows


def moved(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    name = f"{title} → voice both ways"
    return [*_again(name, ground, trials, target_s=None), one_call(title, trials, records)]


def hub_killed(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    ours = max(made.figures["link"] for made in trials)
    times = [made.figures.get("stock link") for made in trials]
    known = [time for time in times if time is not None]
    peer = Peer(stock.NAME, max(known)) if len(known) == len(times) else Peer(None, reason="its link did not come back")
    return [
        _hole(title, ground, trials),
        row(
            f"{title} → both registered again: worst",
            ours,
            "s",
            peer,
            reason=f"{len(trials)} kills; the hub's own start is part of it, and the stock one opens no database",
        ),
        one_call(title, trials, records),
    ]


def hub_hung(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    (made,) = trials
    seen = made.figures.get("seen down")
    waits = Peer(None, reason="a stock client waits 45 s by default (ping 25 s + 20 s)")
    named = f"{title} → both stations see it"
    row_seen = (
        _missed(named, f"≤ {HUNG_TARGET_S:g}", waits, "not seen while it hung")
        if seen is None
        else row(named, seen, "s", waits, at_most=HUNG_TARGET_S)
    )
    return [
        row_seen,
        _hole(title, ground, trials),
        row(f"{title}, goes on → both registered again", made.figures["link"], "s", waits),
        one_call(title, trials, records),
    ]


def lossy(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    """From a second after the loss began, when what was on its way has been played."""
    (made,) = trials
    heard = presences(ground, made)
    from_s, to_s = made.fault_s + 1.0, made.figures["lossy until"]
    shares = {who: share(*one, from_s, to_s) * 100 for who, one in heard.items()}
    longest = {who: longest_hole_s(*one, from_s, to_s) * 1000 for who, one in heard.items()}
    ours, theirs = ends(beside=False), ends(beside=True)
    return [
        row(f"{title}: voice heard at the worse end", min(shares[who] for who in ours), "%",
            Peer(stock.NAME, min(shares[who] for who in theirs)), reason="of windows of 40 ms that are like the voice"),
        row(f"{title}: longest hole", max(longest[who] for who in ours), "ms",
            Peer(stock.NAME, max(longest[who] for who in theirs))),
        one_call(title, trials, records),
    ]  # fmt: skip


def set_up(title: str, ground: Ground, trials: Trials, records: Records) -> list[Row]:
    ours = [made.figures["set up"] for made in trials if "set up" in made.figures]
    theirs = [made.figures["stock set up"] for made in trials if "stock set up" in made.figures]
    told = f"{len(ours)} of {len(trials)} came up within {SETUP_LIMIT_S:g} s"
    stock_told = f"stock: {len(theirs)} of {len(trials)}"
    peer = Peer(stock.NAME, max(theirs), stock_told) if theirs else Peer(None, reason=stock_told)
    named = f"{title}: answer → both connected: worst"
    rows = [row(f"{title}: calls that come up", len(ours), f"of {len(trials)}",
                Peer(stock.NAME, len(theirs)), equal=len(trials))]  # fmt: skip
    rows.append(row(named, max(ours), "s", peer, reason=told) if ours else _missed(named, "", peer, told))
    return [*rows, one_call(title, [made for made in trials if made.call_id], records)]


# ---------------------------------------------------------------------------------------------------------- pieces


def _again(
    name: str, ground: Ground, trials: Sequence[Trial], peer: Peer | None = None, target_s: float | None = TARGET_S
) -> list[Row]:
    """Median and worst of the later end's time. Without `peer` the stock pair was beside."""
    holes_of = [_holes(ground, made) for made in trials]
    ours = [_both(found, made, beside=False) for found, made in zip(holes_of, trials, strict=True)]
    if peer is None:
        theirs = [_both(found, made, beside=True) for found, made in zip(holes_of, trials, strict=True)]
        peer = _peer(theirs, trials)
    told = _told(trials, holes_of)
    back = [time for time in ours if time is not None]
    if len(back) < len(ours):
        away = f"{len(ours) - len(back)} of {len(ours)} did not come back within the time given; {told}"
        return [_missed(f"{name}: worst", f"≤ {target_s:g}" if target_s else "", peer, away)]
    worst = row(f"{name}: worst", max(back), "s", peer, at_most=target_s, reason=told)
    return (
        [row(f"{name}: median", median(back), "s", _median(peer), at_most=target_s), worst]
        if len(back) > 2
        else [worst]
    )


def _median(peer: Peer) -> Peer:
    return peer if peer.value is None else Peer(None, reason="see the worst")


def _holes(ground: Ground, made: Trial) -> dict[str, float | None]:
    """When each listener's voice is back for good, in seconds."""
    return {who: back_s(holes(*one), made.since_s) for who, one in presences(ground, made).items()}


def _both(found: Mapping[str, float | None], made: Trial, *, beside: bool) -> float | None:
    times = [found[who] for who in ends(beside)]
    known = [time for time in times if time is not None]
    return max(known) if len(known) == len(times) else None


def _peer(times: Sequence[float | None], trials: Sequence[Trial]) -> Peer:
    known = [time for time in times if time is not None]
    if len(known) == len(times):
        return Peer(stock.NAME, max(known))
    waited_s = min(made.end_s - made.since_s for made, time in zip(trials, times, strict=True) if time is None)
    lost = f"{len(times) - len(known)} of {len(times)}"
    states = ", ".join(dict.fromkeys(made.stock_state for made in trials if made.stock_state))
    listened = f"stayed silent as long as it was listened to, {waited_s:.0f} s; its connection then: {states}"
    return Peer(None, reason=f"{stock.NAME}: {lost} {listened}")


def _told(trials: Sequence[Trial], found: Sequence[Mapping[str, float | None]]) -> str:
    each = ", ".join("/".join(_said(times[who]) for who in ends(beside=False)) for times in found)
    epochs = ", ".join(str(made.epoch) for made in trials)
    return f"s at the door/at the flat (0: no hole of {HOLE_S * 1000:.0f} ms): {each}; epochs afterwards: {epochs}"


def _said(time_s: float | None) -> str:
    return "never" if time_s is None else f"{time_s:.2f}"


def _hole(title: str, ground: Ground, trials: Sequence[Trial]) -> Row:
    ours, theirs, before = [], [], []
    for made in trials:
        heard = presences(ground, made)
        stop_s = made.end_s - STEADY_S / 2
        ours += [longest_hole_s(*heard[who], made.fault_s, stop_s) for who in ends(beside=False)]
        before += [longest_hole_s(*heard[who], made.begun_s + 0.2, made.fault_s) for who in ends(beside=False)]
        theirs += [longest_hole_s(*heard[who], made.fault_s, stop_s) for who in ends(beside=True) if who in heard]
    peer = Peer(stock.NAME, max(theirs) * 1000) if theirs else Peer(None, reason="no stock pair beside this one")
    told = f"longest hole before the fault: {max(before) * 1000:.0f} ms"
    return row(f"{title}: longest hole in the voice", max(ours) * 1000, "ms", peer, at_most=AUDIBLE_MS, reason=told)


def one_call(title: str, trials: Sequence[Trial], records: Records) -> Row:
    """Whether each call was the same one afterwards, at both ends, and has exactly one record at the hub."""
    good = sum(made.same_call and records.get(made.call_id) == 1 for made in trials)
    bad = [f"{made.call_ids} for {made.call_id}, {records.get(made.call_id, 0)} records"
           for made in trials if not (made.same_call and records.get(made.call_id) == 1)]  # fmt: skip
    return row(f"{title}: the same call id, one record", good, f"of {len(trials)}",
               Peer(None, reason="no stock notion of a call"), equal=len(trials), reason="; ".join(bad))  # fmt: skip


def _missed(name: str, target: str, peer: Peer, why: str) -> Row:
    """A figure that there is none of, which is a miss and no invalid run."""
    return Row(name, None, peer.value, peer.name, "s", target, False, "; ".join(filter(None, (why, peer.reason))))


ROWS: Mapping[str, tuple[str, Rows]] = {
    "station-killed": ("kill −9 of a station", killed),
    "both-killed": ("kill −9 of both stations", killed),
    "hub-killed": ("kill −9 of the hub", hub_killed),
    "hub-hung": ("hub hung for 15 s", hub_hung),
    "away": ("station without power for 60 s", booted),
    "cuts": ("link cut", cut),
    "roam": ("station's address changes", moved),
    "rebinding": ("NAT mapping changes", moved),
    "loss": (f"{LOSS_PERCENT} % loss each way", lossy),
    "relay-killed": ("kill −9 of the relay that carries the call", relayed),
    "page-reloaded": ("resident's page reloaded", on_the_page),
    "page-cut": (f"page's link cut for {PAGE_CUT_S:g} s, back", on_the_page),
    "set-up-in-loss": (f"set-up at {LOSS_PERCENT} % loss", set_up),
}
