"""The rig itself: the demo's rooms must be there, be apart from each other, and leave nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from intercomd.demo.listen import SAME_VOICE, find, read_raw, read_wav
from intercomd.demo.sound import SoundError, SoundRig, asound_conf, sentence

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.platform("pulseaudio", "alsa-pulse")


@pytest.fixture
def rig() -> Iterator[SoundRig]:
    with SoundRig(["door", "flat"]) as rig:
        yield rig


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]


def test_each_station_s_room_hears_its_own_voice_only(rig: SoundRig, tmp_path: Path) -> None:
    door, flat = sentence(0), sentence(1)
    with (
        rig.speak("door", door),
        rig.speak("flat", flat),
        rig.record("door_mic", tmp_path / "door.raw"),
        rig.record("flat_mic", tmp_path / "flat.raw"),
    ):
        time.sleep(6.5)  # a sentence and its pause
    heard_at_door, heard_at_flat = read_raw(tmp_path / "door.raw"), read_raw(tmp_path / "flat.raw")
    assert find(read_wav(door), heard_at_door).correlation > SAME_VOICE
    assert find(read_wav(flat), heard_at_flat).correlation > SAME_VOICE
    assert find(read_wav(door), heard_at_flat).correlation < SAME_VOICE / 2
    assert find(read_wav(flat), heard_at_door).correlation < SAME_VOICE / 2


def test_the_rig_starts_and_stops_fast_and_leaves_nothing() -> None:
    before = children()
    began_s = time.monotonic()
    with SoundRig(["door", "flat"]) as rig:
        started_s = time.monotonic()
        voice = rig.speak("door", sentence(0))
        directory = Path(rig.env["ALSA_CONFIG_PATH"]).parent
        assert voice.running
        stopping_s = time.monotonic()
    assert started_s - began_s < 2.0
    assert time.monotonic() - stopping_s < 1.0
    assert not voice.running
    assert not directory.exists()
    assert children() == before


def test_an_unplugged_card_ends_its_streams_and_comes_back(rig: SoundRig, tmp_path: Path) -> None:
    voice = rig.speak("door", sentence(0))
    rig.unplug("door")
    deadline_s = time.monotonic() + 2.0
    while voice.running:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    voice.close()
    rig.plug("door")
    with rig.record("door_mic", tmp_path / "again.raw"):
        pass


def test_a_single_sink_can_be_pulled(rig: SoundRig) -> None:
    rig.unload_sink("door_mic")
    with pytest.raises(KeyError):
        rig.unload_sink("door_mic")
    rig.load_sink("door_mic")


def test_sound_ends_with_its_process_however_it_ends(tmp_path: Path) -> None:
    """kill -9 of the demo must not leave a sound server that plays on."""
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from intercomd.demo.sound import SoundRig, sentence\n"
        "rig = SoundRig(['door']).__enter__()\n"
        "rig.speak('door', sentence(0)), rig.record('door_mic', Path(sys.argv[1]))\n"
        "print(rig.env['ALSA_CONFIG_PATH'], flush=True)\n"
        "time.sleep(60)\n"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script, str(tmp_path / "x.raw")]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        ready = demo.stdout.readline()
        started = psutil.Process(demo.pid).children(recursive=True)
        demo.kill()
    assert ready
    assert len(started) == 4, started  # the server, the voice's two and the witness
    deadline_s = time.monotonic() + 5.0
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in started):
        assert time.monotonic() < deadline_s, started
        time.sleep(0.02)


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SoundError, match="pulseaudio is not installed: apt install pulseaudio"), SoundRig(["door"]):
        pass


def test_the_documented_configuration_is_the_one_in_use() -> None:
    shipped = (ROOT / "hw/asound/demo.conf").read_text()
    assert (
        "\n".join(line for line in shipped.splitlines() if not line.startswith("#")).strip()
        == asound_conf(["door", "flat"]).strip()
    )
