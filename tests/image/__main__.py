"""`make test-image`: the image that is flashed boots, takes an installer's files, and tells of their mistakes.

    python -m tests.image [virt] [mistake] [raspi3b]

QEMU loads kernel and device tree itself: the Pi's firmware (start.elf, config.txt) is exercised nowhere here, nor are
Wi-Fi, a HAT, or a card that fails. Results: build/image/results.json.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable

from hw.image import ROOT
from hw.image.__main__ import FIGURES, image
from intercomd.demo.checks import Findings
from tests.image.boot import PI_3, VIRT, Boot, BootError, Card
from tests.image.hub import Hub

RESULTS = ROOT / "build" / "image" / "results.json"
RUN = ROOT / "build" / "image" / "run"
LIMIT_S = 1200.0
"""For one boot, on whatever machine; a quiet one takes a minute or two."""
READY = "The station is registered at the hub and its sound card is open."
STARTED = "The station has started."
SOUND = (
    'pcm.intercom_speaker { type hw card "Loopback" device 0 subdevice 0 }\n'
    'pcm.intercom_mic { type hw card "Loopback" device 0 subdevice 1 }\n'
)
NEEDED = {"qemu-system-aarch64": "qemu-system-arm", "mcopy": "mtools"}


CONFIGURATION = '[station]\nname = "door"\n\n[call]\npeer = "flat"\n'
NO_HUB = CONFIGURATION.replace("\n\n", '\nhub_url = "https://192.0.2.1:8443"\n\n', 1)


def virt(card: Card, findings: Findings) -> None:
    """Files as they should be: the station has paired itself and is at its hub, whose address and certificate it has of
    the line in pairing.txt; that line is gone from the FAT partition."""
    with Hub(RUN / "hub") as hub:
        card.put({
            "intercomd.toml": CONFIGURATION, "pairing.txt": hub.line("door") + "\r\n", "asound.conf": SOUND,
            "wifi.toml": 'ssid = "home"\npassword = "correct horse"\n',
        })  # fmt: skip
        with Boot(VIRT, card, RUN) as boot:
            ready_s = boot.until(READY, LIMIT_S)
            findings.figure("virt: power → station ready (emulated)", ready_s, "s")
            findings.check("virt: the hub has the station that its file names", hub.connected("door"))
            said = boot.said()
            findings.check("virt: no unit has failed", "Failed to start" not in said, _first(said, "Failed to start"))
            wifi = boot.until_file(card, "wifi-error.txt", "country", LIMIT_S)
            findings.check("virt: a mistake in wifi.toml is told beside it", True, wifi.strip())
    findings.check("virt: the pairing has left the FAT partition", card.take("pairing.txt") is None)
    findings.check("virt: no pairing-error.txt", card.take("pairing-error.txt") is None)
    findings.check("virt: no intercomd-error.txt", card.take("intercomd-error.txt") is None)


def mistake(card: Card, findings: Findings) -> None:
    """A file with two mistakes: the station does not run, both are written beside it."""
    card.put({"intercomd.toml": '[station]\nnam = "door"\nlanguage = "zh"\n\n[audio]\nframe_ms = 30\n',
              "asound.conf": SOUND})  # fmt: skip
    with Boot(VIRT, card, RUN) as boot:
        told = boot.until_file(card, "intercomd-error.txt", "frame_ms", LIMIT_S)
    findings.check("mistake: each is written to intercomd-error.txt", "nam" in told, told[:200])


def raspi3b(card: Card, findings: Findings) -> None:
    """A Pi 3 with its own device tree, from an SD card: its GPIO chip has the real driver. QEMU gives it no network."""
    card.put({"intercomd.toml": NO_HUB, "pairing.txt": "q" * 43 + "\n", "asound.conf": SOUND})
    with Boot(PI_3, card, RUN) as boot:
        started_s = boot.until(STARTED, 2 * LIMIT_S)
        findings.figure("raspi3b: power → the station has started (emulated)", started_s, "s")
        line = _first(boot.said(), STARTED)
        findings.check("raspi3b: buttons and LEDs are the header's", "3 buttons, 5 LEDs" in line, line[-100:])


def _built(findings: Findings) -> None:
    """What the build has left of itself."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    kept = "the tree of Debian was kept" if figures.get("tree_kept") else "with the tree of Debian"
    for key, name, unit in (
        ("packed_mib", "packed", "MiB"),
        ("card_mib", "on the card", "MiB"),
        ("build_s", f"built, {kept}", "s"),
        ("tree_s", "its tree of Debian, emulated", "s"),
    ):
        if figures.get(key) is not None:
            findings.figure(name, figures[key], unit)


def _first(said: str, words: str) -> str:
    return next((line.strip() for line in said.splitlines() if words in line), "")


SCENES: dict[str, Callable[[Card, Findings], None]] = {"virt": virt, "mistake": mistake, "raspi3b": raspi3b}


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.image", description="The image that is flashed, in QEMU.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; default: all")
    chosen = parser.parse_args().scenes or list(SCENES)
    if unknown := [scene for scene in chosen if scene not in SCENES]:
        parser.error(f"there is no scene {unknown[0]}")
    if missing := sorted({package for program, package in NEEDED.items() if not shutil.which(program)}):
        print(f"test-image: programs are missing: apt-get install --no-install-recommends {' '.join(missing)}")
        return 1
    if not image().raw.exists():
        print("test-image: there is no image: sudo make image")
        return 1
    RUN.mkdir(parents=True, exist_ok=True)
    return _play(chosen)


def _play(chosen: list[str]) -> int:
    findings = Findings()
    _built(findings)
    for name in chosen:
        findings.say(f"---- {name}")
        card = Card(image().raw, RUN / "card.img")
        try:
            SCENES[name](card, findings)
        except BootError as error:
            findings.check(f"{name} is played to its end", False, str(error))
        finally:
            card.path.unlink(missing_ok=True)
    findings.write(RESULTS)
    checks = [row for row in findings.rows if row.kind == "check"]
    passed = sum(row.ok for row in checks)
    print(f"{passed} passed, {len(checks) - passed} failed")
    return 0 if findings.ok else 1


if __name__ == "__main__":
    sys.exit(main())
