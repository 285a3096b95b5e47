"""baresip, an intercom's worth of SIP in C, as an anchor for delay and cost: plain RTP without encryption or ICE."""

import asyncio
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from intercomd.config.tables import Audio
from tests.bench.programs import Program, ProgramError

MINIMAL_BUFFER, DEFAULT_BUFFER, NO_BUFFER = "1-3", "5-10", "0-0"
"""Frames, as `jitter_buffer_delay` is written; the default is its own."""
NOTE: Final = "baresip: SIP and plain RTP, no encryption, no ICE; its own ALSA module and fill, 1 to 3 frames buffered"
ESTABLISHED_LIMIT_S: Final = 10.0
MODULES: Final = ("alsa", "opus", "uuid", "account", "menu")
_PLACES: Final = ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules")

_CONFIG: Final = """\
poll_method epoll
sip_listen {address}:{port}
{interface}audio_source alsa,{capture}
audio_player alsa,{playout}
audio_alert alsa,{playout}
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 1
auplay_channels 1
ausrc_format s16
auplay_format s16
auenc_format s16
audec_format s16
audio_buffer 20-160
jitter_buffer_delay {buffer_frames}
opus_stereo no
opus_sprop_stereo no
opus_bitrate {bitrate_bps}
opus_inbandfec yes
opus_application voip
opus_complexity {complexity}
module_path {modules}
module opus.so
module alsa.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
"""


def missing() -> str:
    """Why it cannot be measured here; empty if it can."""
    if shutil.which("baresip") is None:
        return "baresip is not installed (apt install baresip-core)"
    if _modules() is None:
        return f"baresip's modules {', '.join(MODULES)} are not in {' or '.join(_PLACES)}"
    return ""


def version() -> str:
    """As it says itself; empty without it."""
    if missing():
        return ""
    said = subprocess.run(["baresip", "-h"], capture_output=True, text=True, check=False)
    found = re.search(r"baresip v?([\d.]+)", said.stdout + said.stderr)
    return f"baresip {found.group(1)}" if found else "baresip"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance runs: its address, the command that goes before its own, and which interface it has to take
    its address from, where no route says that."""

    address: str = "127.0.0.1"
    before: Sequence[str] = ()
    interface: str = ""


HERE: Final = Place()


@asynccontextmanager
async def call(
    caller: tuple[str, str], callee: tuple[str, str], env: Mapping[str, str], *, buffer_frames: str = MINIMAL_BUFFER,
    places: tuple[Place, Place] = (HERE, HERE),
) -> AsyncIterator[Sequence[int]]:  # fmt: skip
    """Two instances in a call, each with its capture and playout PCM; yields their pids."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="intercomd-baresip-")))
        ports = _free_port(), _free_port()
        called = await _instance(
            stack, home / "callee", callee, places[1], ports[0], ";answermode=auto", buffer_frames, env
        )
        dial = ("-e", f"/dial sip:callee@{places[1].address}:{ports[0]}")
        calling = await _instance(stack, home / "caller", caller, places[0], ports[1], "", buffer_frames, env, *dial)
        for program in (called, calling):
            await _established(program)
        yield called.pid, calling.pid


async def _instance(
    stack: AsyncExitStack, home: Path, pcms: tuple[str, str], place: Place, port: int, account: str,
    buffer_frames: str, env: Mapping[str, str], *orders: str,
) -> Program:  # fmt: skip
    home.mkdir()
    capture, playout = pcms
    audio = Audio()  # the same codec settings as ours
    text = _CONFIG.format(
        address=place.address,
        interface=f"net_interface {place.interface}\n" if place.interface else "",
        port=port,
        buffer_frames=buffer_frames,
        capture=capture,
        playout=playout,
        modules=_modules(),
        bitrate_bps=audio.bitrate_bps,
        complexity=6,
    )
    (home / "config").write_text(text)
    (home / "accounts").write_text(f"<sip:{home.name}@{place.address}>;regint=0{account}\n")
    (home / "contacts").touch()
    return await stack.enter_async_context(Program([*place.before, "baresip", "-f", str(home), *orders], env))


async def _established(program: Program) -> None:
    try:
        async with asyncio.timeout(ESTABLISHED_LIMIT_S):
            while "established" not in (await program.line()).lower():
                pass
    except TimeoutError:
        raise ProgramError(f"baresip's call was not established within {ESTABLISHED_LIMIT_S:g} s") from None


def _modules() -> str | None:
    return next((place for place in _PLACES if all((Path(place) / f"{name}.so").exists() for name in MODULES)), None)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
