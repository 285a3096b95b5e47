"""`intercomd replay FILE`: feed a trace to the call reducer again and show where it differs."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from intercomd.core import call as core
from intercomd.core.vocabulary import BadMessage
from intercomd.device.trace import TraceError, effect_lines, read, read_event, read_settings


def main(argv: Sequence[str]) -> int:
    """Exit 0: every step ordered the same effects. 1: it differs (the first difference is shown). 2: not a trace."""
    if len(argv) != 1:
        print("usage: intercomd replay FILE", file=sys.stderr)
        return 2
    try:
        return _replay(Path(argv[0]))
    except OSError as error:
        print(f"intercomd replay: {argv[0]}: {error.strerror}", file=sys.stderr)
    except (TraceError, KeyError, AttributeError, TypeError, BadMessage, msgspec.ValidationError) as error:
        print(f"intercomd replay: {argv[0]} is not a trace of this version: {error}", file=sys.stderr)
    return 2


def _replay(path: Path) -> int:
    lines = read(path)
    _, first = next(lines, (0, {}))
    station = read_settings(first)
    steps = 0
    for number, line in lines:
        station, effects = core.handle(station, read_event(line["event"]), line["now_s"])
        ordered = effect_lines(effects)
        steps += 1
        if ordered != line["effects"]:
            print(f"line {number}: {json.dumps(line['event'], ensure_ascii=False)}")
            print(f"  then: {json.dumps(line['effects'], ensure_ascii=False)}")
            print(f"  now:  {json.dumps(ordered, ensure_ascii=False)}")
            return 1
    phase = station.call.phase.name.lower() if station.call else "idle"
    print(f"{steps} steps, the same effects each time; at the end the station is {phase}")
    return 0
