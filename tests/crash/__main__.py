"""`make crash`: the power fails at every instant of a station's life, and nothing that was acknowledged is lost.

    python -m tests.crash [--short] [--seed N] [--level block|vfs|full] [--replay FILE]
                            [--where-possible]

Writes build/bench/crash.json. Exit status 1 where a state breaks the store's promise, where a mode that is known to
lose data was not caught, and where too few states were tried: a run that tried nothing proves nothing. A broken state
is named by seed and event and kept in build/crash/, with the recording that it is made of: times and random numbers of
the kernel's and of SQLite's differ from run to run, and with --replay they do not.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tests.allowed import known_missing
from tests.bench.report import table, write
from tests.capabilities import missing
from tests.crash import budget, kernel
from tests.crash.figures import Measured, rows
from tests.crash.trial import Outcome, Trial, replay, run

OUTPUT = Path(__file__).parents[2] / "build" / "bench"
_T = TypeVar("_T")
GRACE_S = 60.0
"""A trial that has begun is let end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`gates`: at least so many states of each level, or the run fails; `goals` are tried while there is time."""

    gates: dict[str, int]
    goals: dict[str, int]
    parts: dict[str, int]
    limit_s: float
    budget_calls: int
    """Calls whose cost is measured at their own pace."""


FULL = Plan({"block": 2_500, "vfs": 300_000}, {"block": 12_000, "vfs": 400_000}, {"block": 4, "vfs": 64}, 510.0, 4)
SHORT = Plan({"block": 100, "vfs": 500}, {"block": 300, "vfs": 4_000}, {"block": 1, "vfs": 16}, 60.0, 0)
CONTROLS = ("DELETE+FULL", "WAL+NORMAL")
AGAIN_EVERY = {"block": 100, "vfs": 1_000}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make crash", description="Crash states of the store; see the README.")
    parser.add_argument("--short", action="store_true", help="a pass of less than two minutes, with lower gates")
    parser.add_argument("--seed", type=int, help="one life alone, as a report of a broken state names it")
    parser.add_argument("--level", choices=("block", "vfs", "full"), default="block", help="of that life")
    parser.add_argument("--replay", type=Path, help="a recording in build/crash/, whose states are judged once more")
    words = "a machine that tests/known_missing.txt excuses passes untested"
    parser.add_argument("--where-possible", action="store_true", help=words)
    options = parser.parse_args(argv)
    lacking = missing("crashlab")
    if lacking:
        excused = options.where_possible and "crashlab" in known_missing()
        print(f"make crash needs root, /dev/fuse, loop devices and ext4: {lacking}", file=sys.stderr)
        return 0 if excused else 1
    plan = SHORT if options.short else FULL
    if options.replay is not None:
        return _one(replay, options.replay)
    if options.seed is not None:
        again_every = AGAIN_EVERY.get(options.level, 0)
        return _one(run, Trial(options.level, "shipped", options.seed, plan.parts.get(options.level, 4), again_every))
    return _all(plan, "crash-short" if options.short else "crash")


def _one(judge: Callable[[_T], Outcome], what: _T) -> int:
    with _pool(1) as pool:
        outcome = pool.submit(judge, what).result()
    _tell(outcome, 0.0)
    return 1 if outcome.broken or not outcome.states else 0


def _all(plan: Plan, name: str) -> int:
    began_s = time.monotonic()
    workers = max(2, min(4, len(os.sched_getaffinity(0))))
    with _pool(1) as other, _pool(workers) as pool:
        spent = other.submit(budget.measure, plan.budget_calls)
        complete = False
        try:
            outcomes = list(_tried(pool, workers, plan, began_s))
            if not spent.done():
                print("what a call costs is still being measured, at its own pace", flush=True)
            costs = spent.result(timeout=600.0)
            complete = True
        finally:
            if not complete:  # the processes would go on to their ends; so they end with this one
                traceback.print_exc()
                os._exit(1)
    figures, passed = rows(Measured(outcomes, costs, plan.budget_calls, plan.gates, time.monotonic() - began_s))
    path = OUTPUT / f"{name}.json"
    write(figures, path)
    print(f"\n{table(figures)}\n\n{'passed' if passed else 'FAILED'}; written to {path.relative_to(OUTPUT.parents[1])}")
    return 0 if passed else 1


def _pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes, each with mounts of its own."""
    return ProcessPoolExecutor(workers, get_context("spawn"), kernel.own_mounts)


def _tried(pool: ProcessPoolExecutor, workers: int, plan: Plan, began_s: float) -> Iterator[Outcome]:
    """First what must be in every run, then lives until there are enough or the time is over."""
    states = dict.fromkeys(plan.goals, 0)
    waiting = list(_always(plan))
    seeds = dict.fromkeys(plan.goals, 1)
    under_way: set[Future[Outcome]] = set()
    while True:
        while len(under_way) < workers:
            trial = waiting.pop(0) if waiting else _next(plan, states, seeds, time.monotonic() - began_s)
            if trial is None:
                break
            under_way.add(pool.submit(run, trial))
        if not under_way:
            return
        done, under_way = wait(under_way, plan.limit_s + GRACE_S, FIRST_COMPLETED)
        if not done:
            raise TimeoutError("a trial hangs")
        for future in done:
            outcome = future.result()
            if outcome.trial.mode == "shipped" and outcome.trial.level in states:
                states[outcome.trial.level] += outcome.states
            _tell(outcome, time.monotonic() - began_s)
            yield outcome


def _always(plan: Plan) -> Iterator[Trial]:
    for level in plan.parts:
        for mode in CONTROLS:
            yield Trial(level, mode, 0, min(2, plan.parts[level]))
        yield Trial(level, "shipped", 0, plan.parts[level], AGAIN_EVERY[level])
    yield Trial("full", "shipped", 0, min(2, plan.parts["block"]))


def _next(plan: Plan, states: dict[str, int], seeds: dict[str, int], spent_s: float) -> Trial | None:
    """Of the level that is further from its gate; beyond the gates, from its goal."""
    if spent_s > plan.limit_s:
        return None
    for wanted in (plan.gates, plan.goals):
        level = min(wanted, key=lambda name: states[name] / wanted[name])
        if states[level] < wanted[level]:
            seed = seeds[level]
            seeds[level] += 1
            return Trial(level, "shipped", seed, plan.parts[level], AGAIN_EVERY[level])
    return None


def _tell(outcome: Outcome, spent_s: float) -> None:
    trial = outcome.trial
    rate = outcome.states / max(outcome.seconds, 0.001)
    words = [f"{spent_s:4.0f} s  {trial.level:5} {trial.mode:11} seed {trial.seed:3}: {outcome.states:6} states"]
    words.append(f"{rate:5.0f}/s" + (f", {outcome.again} of a second crash" if outcome.again else ""))
    if outcome.refused:
        words.append(f"{outcome.refused} saves refused by the full disk")
    words.append(f"{outcome.broken} broken of {outcome.judged}" if outcome.broken else "none broken")
    print(", ".join(words), flush=True)
    if trial.mode == "shipped":
        for broken in outcome.first:
            print(f"    BROKEN {broken.where}: {broken.problem}; kept as {broken.kept}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
