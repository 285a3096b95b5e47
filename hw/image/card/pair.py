"""Had pairing.txt a hub's line (`intercom-pairing URL CODE FINGERPRINT`): lets `intercomd pair` exchange its code
for the station's token, again and again until the hub answers. The station waits for the first attempts, for it can do
nothing without a token. Only the standard library.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

BOOT = Path("/boot/firmware")
SECRETS = Path("/var/lib/intercom-state/secrets")
CREDENTIALS = Path("/run/credstore")
PROGRAM = ("/opt/intercomd/bin/intercomd", "pair")
LINE = "pairing"
"""In SECRETS: as card.py took it from the partition that every computer reads."""
REPORT = "pairing-error.txt"
DONE, TRY_AGAIN = 0, 75
ATTEMPT_LIMIT_S = 90.0
FIRST_LIMIT_S = 45.0
"""So long the station waits; a Pi has its network within 20 s."""
AGAIN_S = 5.0


def attempt() -> tuple[int, str]:
    """Exit status, and the program's sentence."""
    command = [*PROGRAM, "--file", str(SECRETS / LINE), "--into", str(SECRETS)]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=ATTEMPT_LIMIT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return TRY_AGAIN, f"no answer within {ATTEMPT_LIMIT_S:.0f} s"
    return done.returncode, done.stderr.strip().removeprefix("intercomd pair: ")


def lay_out() -> None:
    """What was kept of pairings, to where systemd finds credentials for this boot."""
    CREDENTIALS.mkdir(mode=0o700, parents=True, exist_ok=True)
    for kept in SECRETS.glob("intercomd.*"):
        if not kept.name.endswith(".new"):
            shutil.copyfile(kept, CREDENTIALS / kept.name)
            (CREDENTIALS / kept.name).chmod(0o600)


def report(words: str) -> None:
    """Beside pairing.txt, where a laptop finds it, and in the journal; no words: nothing is wrong any more."""
    place = BOOT / REPORT
    with suppress(OSError):
        if words:
            place.write_text(f"pairing.txt: {words}\r\n", newline="")
        else:
            place.unlink(missing_ok=True)
    if words:
        print(f"<4>{words}", file=sys.stderr)  # priority warning (sd-daemon(3))


def pair() -> bool:
    """Whether there is nothing more to do: paired, or refused for good."""
    status, words = attempt()
    if status == TRY_AGAIN:
        report(f"it is tried again and again: {words}")
        return False
    if status == DONE:
        lay_out()
        os.sync()
        report("")
        print("<5>paired with the hub", file=sys.stderr)
    else:
        report(f"{words}. Make a new code at the hub, and write its line into pairing.txt.")
        (SECRETS / LINE).unlink(missing_ok=True)
    return True


def main() -> int:
    began_s, awaited = time.monotonic(), True
    while not pair():
        if awaited and time.monotonic() - began_s > FIRST_LIMIT_S:
            awaited = False
            tell_systemd("READY=1")
        time.sleep(AGAIN_S)
    if awaited:
        tell_systemd("READY=1")
    else:
        # It runs, and complains that it has no token.
        subprocess.run(["systemctl", "--no-block", "restart", "intercomd.service"], check=False, timeout=20)
    return 0


def tell_systemd(words: str) -> None:
    """sd_notify(3)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.sendto(words.encode(), "\0" + address[1:] if address.startswith("@") else address)


if __name__ == "__main__":
    sys.exit(main())
