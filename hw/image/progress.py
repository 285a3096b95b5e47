"""What a long build shows: one line a step, with a clock that runs, and the whole output of a program that failed."""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

TAIL_LINES = 40


@dataclass(slots=True)
class Step:
    """One step of a build: its title, since when, and the programs that it runs."""

    title: str
    since: float = field(default_factory=time.monotonic)

    @property
    def taken_s(self) -> float:
        return time.monotonic() - self.since

    def run(
        self,
        command: Sequence[str],
        *,
        limit_s: float = 600,
        environ: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> str:
        """Run a program quietly; its output, and on failure the end of it with what was run."""
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, timeout=limit_s, env=environ, input=stdin, text=True,
                check=False,
            )  # fmt: skip
            output.seek(0)
            text = output.read()
        if done.returncode:
            tail = "\n".join(text.splitlines()[-TAIL_LINES:])
            raise SystemExit(
                f"\n{tail}\nimage: {self.title}: {command[0]} failed with status {done.returncode} (above)"
            )
        return text


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Show that this step runs, and at its end how long it took."""
    now = Step(title)
    ended = threading.Event()
    shown = threading.Thread(target=_count, args=(now, ended), daemon=True)
    if sys.stderr.isatty():
        shown.start()
    else:
        sys.stderr.write(f"==> {title}\n")
    try:
        yield now
    finally:
        ended.set()
        if sys.stderr.isatty():
            shown.join()
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.write(
                f"\r\033[K==> {title}: {now.taken_s:.0f} s\n" if sys.stderr.isatty() else f"    {now.taken_s:.0f} s\n"
            )


def _count(now: Step, ended: threading.Event) -> None:
    while not ended.wait(1.0):
        sys.stderr.write(f"\r\033[K... {now.title}: {now.taken_s:.0f} s")
        sys.stderr.flush()
