"""`intercomd pair`: gives this station its token, and the hub's certificate to trust, by a code that works once."""

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from intercomd.config import Config, ConfigError, load
from intercomd.config.credentials import HUB_CA, HUB_TOKEN, HUB_URL
from intercomd.link.pairing import NotNow, Offer, Pairing, Refused, Unfit, Unverified, pair, parse

CREDSTORE: Final = Path("/etc/credstore")
DONE, FAILED, TRY_AGAIN, CONFIGURATION = 0, 1, 75, 78


def main(argv: Sequence[str], default_config: str) -> int:
    """Returns the exit status."""
    options = _parse(argv, default_config)
    try:
        offer = _offer(options)
        config = _config(options)
        paired = _pair(offer, allow_insecure=config.station.allow_insecure)
        kept = keep(paired, config, options.into)
    except (Unfit, ConfigError) as error:
        return _tell(str(error), CONFIGURATION)
    except Refused as error:
        return _tell(str(error), FAILED)
    except NotNow as error:
        return _tell(str(error), TRY_AGAIN)
    except OSError as error:
        return _tell(f"{error.filename}: {error.strerror}; run this as root or as the station's user", FAILED)
    if options.file:
        options.file.unlink(missing_ok=True)
    print(f"This station is {paired.station} at {paired.url}.")
    for path in kept:
        print(f"  {path}")
    for line in _advice(paired, config, options):
        print(line)
    return DONE


def keep(paired: Pairing, config: Config, into: Path | None) -> tuple[Path, ...]:
    """Write what was got, each file for its owner only, old or new and never half; the token last, because it is what
    the station waits for. Where the configuration names files, there; else as systemd credentials. Raises `OSError`."""
    station = config.station
    token = Path(station.token_file) if station.token_file and into is None else None
    authority = Path(station.hub_ca_file) if station.hub_ca_file and into is None else None
    folder = into or CREDSTORE
    files = []
    if paired.authority:
        files.append((authority or _credential(folder, HUB_CA), paired.authority))
    if token is None:
        files.append((_credential(folder, HUB_URL), paired.url + "\n"))
    files.append((token or _credential(folder, HUB_TOKEN), paired.token + "\n"))
    for path, text in files:
        _write(path, text)
    if not paired.authority:
        # A former hub's: this one is to be trusted by the system's authorities.
        _credential(folder, HUB_CA).unlink(missing_ok=True)
    return tuple(path for path, _ in files)


def _parse(argv: Sequence[str], default_config: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="intercomd pair",
        description="Exchange a pairing code of the hub's page for this station's token. Without --fingerprint the "
        "hub's certificate is shown, to be compared with the page.",
    )
    parser.add_argument("url", nargs="?", metavar="URL", help="the hub's address, https://NAME:PORT")
    parser.add_argument("code", nargs="?", metavar="CODE", help="8 digits, or the long code")
    parser.add_argument("--fingerprint", default="", metavar="F", help="of the hub's certificate, as the page shows it")
    parser.add_argument("--file", type=Path, metavar="FILE", help="the page's whole line, instead of URL and CODE; "
                        "deleted when it is done")  # fmt: skip
    parser.add_argument("--into", type=Path, metavar="DIRECTORY", help="where to put the credentials; default: the "
                        f"files that the configuration names, else {CREDSTORE}")  # fmt: skip
    parser.add_argument("--config", default=default_config, metavar="FILE", help="default: %(default)s")
    options = parser.parse_args(argv)
    if (options.file is None) == (options.url is None) or (options.url is not None and options.code is None):
        parser.error("either URL and CODE, or --file FILE")
    return options


def _offer(options: argparse.Namespace) -> Offer:
    if options.file is None:
        return Offer(options.url.rstrip("/"), "".join(options.code.split()), options.fingerprint)
    try:
        return parse(options.file.read_text())
    except UnicodeDecodeError:
        raise Unfit(f"{options.file} is not text") from None


def _config(options: argparse.Namespace) -> Config:
    """Only its types are checked: the token is still missing. None at all is one of defaults."""
    return load(options.config, "pair") if Path(options.config).exists() else Config()


def _pair(offer: Offer, *, allow_insecure: bool) -> Pairing:
    try:
        return pair(offer, allow_insecure=allow_insecure)
    except Unverified as unverified:
        if not _is_confirmed(unverified.fingerprint):
            raise Refused("not confirmed; the code was not shown to anybody") from None
        return pair(Offer(offer.url, offer.code, unverified.fingerprint), allow_insecure=allow_insecure)


def _is_confirmed(fingerprint: str) -> bool:
    """By a person at the keyboard; nobody there confirms nothing."""
    print(f"The hub shows this certificate:\n  {fingerprint}", file=sys.stderr)
    if not sys.stdin.isatty():
        print("Compare it with the hub's page, and give it as --fingerprint.", file=sys.stderr)
        return False
    with suppress(EOFError):
        print("Does the hub's page show the same? [y/N] ", end="", file=sys.stderr, flush=True)
        return input().strip().lower() in ("y", "yes")
    return False


def _advice(paired: Pairing, config: Config, options: argparse.Namespace) -> tuple[str, ...]:
    """What is left to a person to do."""
    station = config.station
    if options.into is not None:
        return ()
    lines = []
    says_url = bool(station.token_file) or _says_hub_url(Path(options.config))
    if says_url and station.hub_url.rstrip("/") != paired.url:
        lines.append(f'Set [station] hub_url = "{paired.url}" in {options.config}.')
    if station.name != paired.station:
        lines.append(f'The configuration calls it {station.name}: set [station] name = "{paired.station}".')
    return (*lines, "Then: systemctl restart intercomd")


def _says_hub_url(file: Path) -> bool:
    """Then the credential does not count."""
    return file.exists() and "hub_url" in tomllib.loads(file.read_text()).get("station", {})


def _credential(folder: Path, name: str) -> Path:
    return folder / f"intercomd.{name}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        _inherit_owner(descriptor, path)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def _inherit_owner(descriptor: int, path: Path) -> None:
    """A token that root renews stays the station's to read."""
    with suppress(FileNotFoundError):
        before = path.stat()
        if os.geteuid() == 0:
            os.fchown(descriptor, before.st_uid, before.st_gid)


def _tell(text: str, status: int) -> int:
    print(f"intercomd pair: {text}", file=sys.stderr)
    return status
