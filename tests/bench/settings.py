"""What was measured with what: versions, and the settings of ours and of the peers."""

import ctypes
import os
import platform
import subprocess
from importlib.metadata import version

from intercomd.config.tables import Audio
from intercomd.media import pcm
from intercomd.media.opus import library
from tests.bench import baresip

PACKAGES = ("aiortc", "aioice", "av", "pyalsaaudio", "python-socketio", "aiohttp", "numpy")
STOCK = (
    "stock aiortc: its own encoder (stereo, 96 kbit/s, 20 ms) and buffer (4 packets ahead), our ALSA adapter and fill"
)


def settings() -> str:
    """Some lines for people."""
    audio = Audio()
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    opus = library().opus_get_version_string
    opus.restype = ctypes.c_char_p
    return "\n".join(
        f"  {line}"
        for line in (
            f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, {_cpu()}, "
            f"Python {platform.python_version()}",
            f"{versions}, {opus().decode()}, {_pulseaudio()}",
            f"cards: null sinks, {pcm.RATE_HZ} Hz mono, periods of {pcm.PERIOD_FRAMES} × {pcm.PERIODS}, "
            f"{pcm.QUEUED_PERIODS} queued; over loopback (recovery: over veth)",
            f"ours: Opus mono {audio.bitrate_bps} bit/s, {audio.frame_ms} ms, FEC {audio.fec}, DTX {audio.dtx}, "
            f"receive buffer {audio.buffer_ms or 'adaptive'}, voice processing off",
            STOCK,
            f"{baresip.version()}; {baresip.NOTE}"
            if not baresip.missing()
            else f"without baresip: {baresip.missing()}",
        )
    )


def _cpu() -> str:
    with open("/proc/cpuinfo") as cpus:
        names = [line.partition(":")[2].strip() for line in cpus if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()


def _pulseaudio() -> str:
    done = subprocess.run(["pulseaudio", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
