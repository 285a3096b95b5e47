"""Real ALSA without a sound card: a private PulseAudio whose null sinks stand for the rooms of the stations.

What a station plays goes to the sink `NAME_spk` or, on the handset, `NAME_handset`; what is said at the station is
played into `NAME_mic`, which both of its microphones hear. Nothing of the machine's own sound is touched, and nothing
survives the process that holds the rig.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, Self

from intercomd.demo.listen import read_wav
from intercomd.media.pcm import RATE_HZ

START_LIMIT_S: Final = 10.0
STOP_LIMIT_S: Final = 1.0
_LOOK_S: Final = 0.01
_CONTROL_LIMIT_S: Final = 5.0
_SPOKEN_LATENCY_MS: Final = 100
"""A voice with gaps proves nothing: on a busy machine 20 ms had them."""
_RECORDED_LATENCY_MS: Final = 10
_NOWHERE: Final = "nowhere"
_NO_ORPHAN: Final = ("setpriv", "--pdeathsig", "KILL", "--")
"""prctl(2) PR_SET_PDEATHSIG: the kernel ends the server with us, however we end; its clients end without it."""

_AGAIN_AND_AGAIN: Final = """\
import signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sound = open(sys.argv[1], "rb").read()
while True:
    sys.stdout.buffer.write(sound)
"""

SPEECH: Final = Path(__file__).parent / "speech"


class SoundError(Exception):
    """The private sound server does not do what it must; the text says what to look at."""


def sentence(position: int) -> Path:
    """The sentence of the station at this position: different for neighbours."""
    files = sorted(SPEECH.glob("*.wav"))
    return files[position % len(files)]


def sinks(station: str) -> tuple[str, str, str]:
    """The sinks of a station: loudspeaker, handset, and the air before its microphones."""
    return f"{station}_spk", f"{station}_handset", f"{station}_mic"


def asound_conf(stations: Sequence[str]) -> str:
    """The ALSA configuration of all stations; complete by itself (ALSA_CONFIG_PATH replaces alsa.conf)."""
    return "\n".join(_STATION.replace("@", station) for station in stations)


_STATION: Final = """\
pcm.@_speaker            { type pulse device "@_spk" }
pcm.@_handset            { type pulse device "@_handset" }
pcm.@_microphone         { type pulse device "@_mic.monitor" }
pcm.@_handset_microphone { type pulse device "@_mic.monitor" }
ctl.@_mixer              { type pulse device "@_spk" }
"""


class SoundRig:
    """`with SoundRig(["door", "flat"]) as rig:` Children need `rig.env` in their environment.

    To be entered in the process's main thread: the kernel ends the server when the *thread* that started it ends.
    """

    def __init__(self, stations: Sequence[str], *, nice: int = 0) -> None:
        """`nice` is that of the server and of everybody before its sinks; below 0 only root may."""
        self.stations = tuple(stations)
        self.nice: Final = nice
        self.rank: Final = ("nice", "-n", str(nice)) if nice else ()
        """What the command of whoever belongs to the rig begins with."""
        self.env: dict[str, str] = {}
        """To be added to the environment of whatever opens the stations' PCMs."""
        self._modules: dict[str, str] = {}
        self._stack = ExitStack()
        self._directory = Path()

    def __enter__(self) -> Self:
        try:
            self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="intercomd-sound-")))
            self._write()
            self._serve()
            self._fence()
            for station in self.stations:
                self.plug(station)
        except BaseException:  # Ctrl-C too: the sound server is ended
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ---- cards that come and go

    def load_sink(self, name: str) -> None:
        """Make the sink; it exists when this returns."""
        # Without norewinds=1 writes stall for two seconds at a time.
        arguments = ["module-null-sink", "norewinds=1", f"sink_name={name}", f"rate={RATE_HZ}", "channels=1"]
        self._modules[name] = self._control("load-module", *arguments, "format=s16le")

    def unload_sink(self, name: str) -> None:
        """Every stream on it ends with an error."""
        self._control("unload-module", self._modules.pop(name))

    def plug(self, station: str) -> None:
        """All sinks of a station."""
        for name in sinks(station):
            self.load_sink(name)

    def unplug(self, station: str) -> None:
        """As if the USB plug were pulled. Speech and recordings on these sinks end too."""
        for name in sinks(station):
            self.unload_sink(name)

    # ---- people and witnesses

    def speak(self, station: str, wav: Path, pause_s: float = 1.0) -> "Child":
        """Somebody at the station says this again and again, until the result is closed."""
        raw = self._directory / f"{station}-{wav.stem}.raw"
        raw.write_bytes(read_wav(wav).tobytes() + bytes(2 * round(pause_s * RATE_HZ)))
        # Without the server pacat ends, and then the other by SIGPIPE.
        again = [sys.executable, "-S", "-c", _AGAIN_AND_AGAIN, str(raw)]
        return self._start(again, [*self.rank, *_pacat("-p", f"{station}_mic", _SPOKEN_LATENCY_MS)])

    def play(self, sink: str, raw: Path, latency_ms: int = _SPOKEN_LATENCY_MS) -> "Child":
        """A raw file (48 kHz 16-bit mono) into any sink, once. Where delays are measured, `latency_ms` is 20."""
        return self._start([*self.rank, *_pacat("-p", sink, latency_ms), str(raw)])

    def record(self, sink: str, path: Path) -> "Child":
        """A witness: records what a sink plays into a raw file (48 kHz 16-bit mono) until it is closed. It has begun
        when this returns."""
        with path.open("wb") as output:
            child = self._start([*self.rank, *_pacat("-r", f"{sink}.monitor", _RECORDED_LATENCY_MS)], output=output)
        _poll(lambda: path.stat().st_size > 0, f"nothing is recorded from {sink}", START_LIMIT_S)
        return child

    # ---- inside

    def _write(self) -> None:
        home = self._directory
        (home / "asound.conf").write_text(asound_conf(self.stations))
        # Or the streams of a pulled card go on, on the card of another station.
        (home / "daemon.conf").write_text(f"rescue-streams = no\nnice-level = {self.nice}\n")
        self.env = {
            "ALSA_CONFIG_PATH": str(home / "asound.conf"),
            "PULSE_SERVER": f"unix:{home}/native",
            "PULSE_CONFIG": str(home / "daemon.conf"),
            "PULSE_COOKIE": str(home / "cookie"),
            "PULSE_RUNTIME_PATH": str(home),
            "PULSE_STATE_PATH": str(home),
        }

    def _serve(self) -> None:
        for program, package in (
            ("pulseaudio", "pulseaudio"),
            ("pactl", "pulseaudio-utils"),
            ("setpriv", "util-linux"),
        ):
            if shutil.which(program) is None:
                raise SoundError(f"{program} is not installed: apt install {package}")
        options = ["--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes", "--realtime=no"]
        quiet = [f"--high-priority={'yes' if self.rank else 'no'}", "--log-level=error", "--log-target=stderr"]
        path = self._directory / "native"
        protocol = f"module-native-protocol-unix socket={path} auth-anonymous=1"
        # pulseaudio(1) begins by setting its niceness to 0, whoever started it: it must raise itself.
        server = self._start([*_NO_ORPHAN, "pulseaudio", "-n", *options, *quiet, "-L", protocol])
        _poll(lambda: _listens(path) or not server.running, "PulseAudio does not start", START_LIMIT_S)
        if not server.running:
            raise SoundError(f"PulseAudio ended at once: {(self._directory / 'stderr').read_text().strip()}")

    def _fence(self) -> None:
        """Streams of a sink that goes move to another one, into another station's room: always when it was the default,
        else by rescue-streams. So the default is a sink of its own that never goes."""
        self.load_sink(_NOWHERE)
        self._control("set-default-sink", _NOWHERE)
        self._control("set-default-source", f"{_NOWHERE}.monitor")

    def _start(self, *pipeline: Sequence[str], output: "IO[bytes] | int" = subprocess.DEVNULL) -> "Child":
        home = str(self._directory)
        own = {"HOME": home, "XDG_RUNTIME_DIR": home, "PULSE_CONFIG": f"{home}/daemon.conf"}
        env = {**os.environ, **self.env, **own}
        with (self._directory / "stderr").open("ab") as errors:
            child = Child(pipeline, env, output, errors)
        self._stack.callback(child.close)
        return child

    def _control(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pactl", *arguments],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=_CONTROL_LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise SoundError(f"pactl {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
        return done.stdout.strip()


class Child:
    """A process, or a pipeline of them. Context manager; `close` is idempotent and waits `STOP_LIMIT_S` at most."""

    def __init__(
        self, pipeline: Sequence[Sequence[str]], env: Mapping[str, str], output: "IO[bytes] | int", errors: IO[bytes]
    ) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        source: IO[bytes] | int = subprocess.DEVNULL
        for command in pipeline:
            target = output if command is pipeline[-1] else subprocess.PIPE
            process = subprocess.Popen(
                command, env=env, stdin=source, stdout=target, stderr=errors, start_new_session=True
            )
            if not isinstance(source, int):
                source.close()  # theirs alone: the reader's end must break the pipe
            source = process.stdout or subprocess.DEVNULL
            self._processes.append(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def close(self) -> None:
        """Killed: none of them has anything to put in order, and sound must stop at once."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(STOP_LIMIT_S)


def _pacat(direction: str, device: str, latency_ms: int) -> list[str]:
    shape = ["--raw", f"--rate={RATE_HZ}", "--channels=1", "--format=s16le"]
    return ["pacat", direction, "-d", device, *shape, f"--latency-msec={latency_ms}"]


def _listens(path: Path) -> bool:
    """A socket that is there refuses connections between bind(2) and listen(2)."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _poll(true: Callable[[], bool], complaint: str, limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > deadline_s:
            raise SoundError(f"{complaint} within {limit_s} s")
        time.sleep(_LOOK_S)
