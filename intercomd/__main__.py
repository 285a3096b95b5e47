"""The command `intercomd`: reads its arguments and the configuration, then hands over to one part.

Each part is imported only when it runs: `intercomd --version` needs none of them, and a station's start-up time is
a figure that people feel after a power cut.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intercomd import __version__

if TYPE_CHECKING:
    from intercomd.config import Config, ConfigError
    from intercomd.config.loading import Part

DONE, CONFIGURATION = 0, 78
"""Exit statuses; 78 is EX_CONFIG of sysexits.h, after which systemd does not start the daemon again."""

DEFAULT_CONFIG = "/etc/intercomd/intercomd.toml"

COMMANDS = """commands:
  device [--config FILE]               run the station
  hub [--config FILE]                  run the hub
  hub set-up                           print the link of the first administrator, once
  hub add-admin | reset-admin NAME     print a link with which an administrator chooses a password, once
  hub add-station NAME [--group G]     make a station known; prints its token, once
  hub pair NAME [--typed]              make a code by which a station gets its token, once
  hub rotate NAME [--now]              give a station a new token; the former one works for a day more
  hub invite NAME                      print a link that signs in one browser of a resident, once
  hub revoke | ban | unban NAME        end a station's tokens or a resident's sessions; keep out; at once
  hub allow | forbid | clear WHO call | door | door_in_call WHOM   who may call whom, open which door
  hub list | rights                    who is known, who is connected; the rules
  pair URL CODE [--fingerprint F]      give this station its token, and the hub's certificate to trust
  fault [--config FILE]                say and show why the station does not start, until it does
  check-config FILE                    name every mistake of a configuration file
  demo [--scripted] [--json FILE]      a hub and two stations on this machine, with a panel page
  replay FILE                          feed a log of events to the call logic again

exit status: 0 done, 1 failed, 2 wrong usage, 69 daemon not reachable, 75 try again, 78 configuration
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="intercomd",
        description="An intercom station, or its hub.",
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"intercomd {__version__}")
    parser.add_argument("command", choices=_RUN, metavar="COMMAND", help="one of those below")
    # The rest belongs to the command; its --help too.
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    return _RUN[options.command](options.rest)


def _device(argv: list[str]) -> int:
    options = _config_parser("device", "Run the station.").parse_args(argv)

    def run(config: "Config") -> int:
        from intercomd.device.lines import shut

        pins = shut(config.panel)
        from intercomd.device.run import main as run_station

        _forget_mistakes()
        return run_station(config, pins)

    return _with_config(options.config, "device", run, _tell_mistakes)


def _tell_mistakes(error: "ConfigError") -> None:
    from intercomd.device.unusable import tell

    tell(error, os.environ)


def _forget_mistakes() -> None:
    from intercomd.device.unusable import leave

    leave((), os.environ)


def _fault(argv: list[str]) -> int:
    parser = _config_parser("fault", "Say and show why the station does not start, until it does.")
    station = "the runtime directory of the station that failed; default: %(default)s"
    parser.add_argument("--left-in", default="/run/intercomd", metavar="DIRECTORY", help=station)
    options = parser.parse_args(argv)
    from intercomd.device.fault import main as tell

    return tell(Path(options.config), Path(options.left_in))


def _hub(argv: list[str]) -> int:
    parser = _config_parser("hub", "Run the hub or, with one of its commands, administer it.")
    options, rest = parser.parse_known_args(argv)
    if rest and rest[0].startswith("-"):
        parser.error(f"unknown option {rest[0]}")

    def run(config: "Config") -> int:
        if rest:
            from intercomd.hub.admin import main as administer

            return administer(config, rest)
        from intercomd.hub.run import main as run_hub

        return run_hub(config)

    return _with_config(options.config, "hub", run, None if rest else _tell_mistakes)


def _pair(argv: list[str]) -> int:
    from intercomd.device.pairing import main as pair

    return pair(argv, DEFAULT_CONFIG)


def _check_config(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="intercomd check-config", description="Name every mistake of the file.")
    parser.add_argument("file", metavar="FILE")
    parts = ("device", "hub")
    parser.add_argument("--part", choices=parts, help="what runs with it; default: what it has a table for")
    options = parser.parse_args(argv)

    def run(_config: "Config") -> int:
        sys.stdout.write(f"{options.file}: no mistakes\n")
        return DONE

    return _with_config(options.file, options.part, run)


def _demo(argv: list[str]) -> int:
    from intercomd.demo.run import main as run_demo

    return run_demo(argv)


def _replay(argv: list[str]) -> int:
    from intercomd.device.replay import main as replay

    return replay(argv)


_RUN: dict[str, Callable[[list[str]], int]] = {
    "device": _device,
    "hub": _hub,
    "fault": _fault,
    "pair": _pair,
    "check-config": _check_config,
    "demo": _demo,
    "replay": _replay,
}


def _config_parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"intercomd {command}",
        description=description,
        epilog=COMMANDS if command == "hub" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", default=DEFAULT_CONFIG, metavar="FILE", help="default: %(default)s")
    return parser


def _with_config(
    file: str,
    part: "Part | None",
    run: "Callable[[Config], int]",
    tell: "Callable[[ConfigError], None] | None" = None,
) -> int:
    """Run with the configuration; its mistakes, also one that only shows later, go to `tell`, else to stderr."""
    from intercomd.config import ConfigError, load

    try:
        return run(load(file, part))
    except ConfigError as error:
        if tell is None:
            sys.stderr.write(f"{error}\n")
        else:
            tell(error)
        return CONFIGURATION


if __name__ == "__main__":
    sys.exit(main())
