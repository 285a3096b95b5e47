"""With what the audio is compared and judged: versions and settings beside those that `settings` tells of every one."""

import subprocess
from importlib.metadata import PackageNotFoundError, version

from tests.bench.audio import talkers
from tests.bench.audio.cancellers import speexdsp
from tests.bench.audio.rooms import SCORING

_PACKAGES = ("livekit", "pesq", "pystoi", "matplotlib")


def peers() -> str:
    """Some lines for people."""
    return "\n".join(
        f"  {line}"
        for line in (
            ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
            f"{_said('espeak-ng', '--version')}; voices {', '.join(talkers.VOICES)} at {talkers.LEVEL_DBFS:.0f} dBFS",
            f"speexdsp {_debian('libspeexdsp1')}: echo canceller of 200 ms with residual suppressor; preprocessor with "
            "its defaults"
            if speexdsp() is not None
            else "without speexdsp: libspeexdsp1 is not installed",
            f"rooms: {', '.join(room.name for room in SCORING)}",
            "ours offline: Opus and receive buffer as above; voice processing by livekit: high-pass, echo, noise, gain",
        )
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.split("  ")[0]
    except FileNotFoundError:
        return f"{command[0]} (not installed)"


def _debian(package: str) -> str:
    return _said("dpkg-query", "-W", "-f", "${Version}", package)
