"""`make test-image`: the image that is flashed boots, takes an installer's files, and tells of their mistakes.

    python -m tests.image [packed] [virt] [mistake] [raspi3b]

QEMU loads kernel and device tree itself: the Pi's firmware (start.elf, config.txt) is exercised nowhere here, nor are
Wi-Fi, a HAT, or a card that fails. Results: build/image/results.json.
"""

import argparse
import io
import json
import shutil
import sys
from collections.abc import Callable

from hw.image import ROOT
from hw.image.__main__ import FIGURES, image
from hw.image.packing import wrong
from intercomd.demo.checks import Findings, Row
from tests.image import voice
from tests.image.boot import PI_3, SERIAL, VIRT, Boot, BootError, Card
from tests.image.hub import Hub

RESULTS = ROOT / "build" / "image" / "results.json"
SCENE_RESULTS = ROOT / "build" / "image" / "scenes"
RUN = ROOT / "build" / "image" / "run"
LIMIT_S = 1200.0
"""For one boot, on whatever machine; a quiet one takes a minute or two."""
READY = "The station is registered at the hub and its sound card is open."
STARTED = "The station has started."
NO_PINS = "buttons and LEDs do not work"
SOUND = (
    'pcm.intercom_speaker { type hw card "Loopback" device 0 subdevice 0 }\n'
    'pcm.intercom_mic { type hw card "Loopback" device 0 subdevice 1 }\n'
)
NEEDED = {"qemu-system-aarch64": "qemu-system-arm", "mcopy": "mtools", "fdtput": "device-tree-compiler"}


CONFIGURATION = '[station]\nname = "door"\n\n[call]\npeer = "flat"\n'
WIFI = 'ssid = "home"\npassword = "correct horse"\n'
"""But for the country, which is asked for: it says which channels are allowed."""
WRONG = '[station]\nnam = "door"\nlanguage = "zh"\n\n[audio]\nframe_ms = 30\n'
SENTENCES_S = 24.0
"""Of sound: what is wrong with that file takes 11 s, and the first time a busy machine may swallow some of it."""
SAID, OTHER = 0.7, 0.3


def virt(card: Card, findings: Findings) -> None:
    """Files as they should be: the station has paired itself and is at its hub, whose address and certificate it has of
    the line in pairing.txt; that line is gone from the FAT partition."""
    with Hub(RUN / "hub-virt") as hub:
        card.put({
            "intercomd.toml": CONFIGURATION, "pairing.txt": hub.line("door") + "\r\n", "asound.conf": SOUND,
            "wifi.toml": f'{WIFI}country = "DE"\n',
        })  # fmt: skip
        with Boot(VIRT, card, RUN) as boot:
            ready_s = boot.until(READY, LIMIT_S)
            findings.figure("virt: power → station ready (emulated)", ready_s, "s")
            findings.check("virt: the hub has the station that its file names", hub.connected("door"))
            said = boot.said()
            findings.check("virt: no unit has failed", "Failed to start" not in said, _first(said, "Failed to start"))
            wifi = "Started wpa_supplicant@wlan0.service"
            findings.check(
                "virt: wifi.toml is taken for the card's (simulated) radio", wifi in said, _first(said, wifi)
            )
            named = _first(said, "Using system hostname 'intercom")
            findings.check("virt: resolved answers for the station's host name", bool(named), named)
    findings.check("virt: no wifi-error.txt", card.take("wifi-error.txt") is None)
    findings.check("virt: the pairing has left the FAT partition", card.take("pairing.txt") is None)
    findings.check("virt: no pairing-error.txt", card.take("pairing-error.txt") is None)
    findings.check("virt: no intercomd-error.txt", card.take("intercomd-error.txt") is None)


def packed(card: Card, findings: Findings) -> None:
    """What is published says the truth: the packed image, its checksum, and the list that Imager reads."""
    lies = wrong(image())
    findings.check("packed: unpacked it is the image; checksum and Imager's list are true", not lies, "; ".join(lies))
    packages = image().raw.with_suffix(".packages.txt").read_text()
    findings.check("packed: the package list names kernel and station",
                   all(name in packages for name in ("linux-image-", "aiortc==", "intercomd==")))  # fmt: skip


def mistake(card: Card, findings: Findings) -> None:
    """A file with two mistakes: the station does not run, both are written beside it, and where the first one is is
    said aloud through the USB card, which the shipped asound.conf finds."""
    heard = RUN / "heard.wav"
    card.put({"intercomd.toml": WRONG})
    with Boot(VIRT, card, RUN, heard=heard) as boot:
        told = boot.until_file(card, "intercomd-error.txt", "frame_ms", LIMIT_S)
        findings.check("mistake: each is written to intercomd-error.txt", "nam" in told, told[:200])
        boot.wait_for(lambda: voice.played_s(heard) > SENTENCES_S, LIMIT_S, "nothing is said")
    recorded = voice.played(heard)
    for name in ("configuration", "station"):
        share = voice.said(recorded, "zh", name)
        findings.check(f"mistake: it is said aloud: {name}", share >= SAID, round(share, 2), target=f"≥ {SAID}")
    # Of the same words in the other language; sentences about other tables begin alike.
    other = max(voice.said(recorded, "en", name) for name in ("configuration", "station"))
    findings.check("mistake: the other language is not heard", other < OTHER, round(other, 2), target=f"< {OTHER}")


def raspi3b(card: Card, findings: Findings) -> None:
    """A Pi 3 with its own device tree, from an SD card: GPIO chip and USB have their real drivers. An installer's way:
    mistakes, which the drive tells of, and then the files are mended on the very same card."""
    card.put({"intercomd.toml": WRONG, "asound.conf": SOUND})
    with Boot(PI_3, card, RUN) as boot:
        told = boot.until_file(card, "intercomd-error.txt", "frame_ms", LIMIT_S)
        findings.check("raspi3b: a mistake is written to intercomd-error.txt", "nam" in told, told[:200])
    with Hub(RUN / "hub-raspi3b") as hub:
        card.put({"intercomd.toml": CONFIGURATION, "pairing.txt": hub.line("door") + "\r\n",
                  "wifi.toml": WIFI})  # fmt: skip
        with Boot(PI_3, card, RUN) as boot:
            boot.until(STARTED, LIMIT_S)
            findings.figure("raspi3b: power → station ready (emulated)", boot.until(READY, LIMIT_S), "s")
            _header(boot.said(), findings)
            waited = _first(boot.said(), "Timed out waiting for device")
            findings.check("raspi3b: without a radio nothing waits for one", not waited, waited)
            findings.check("raspi3b: the hub has the station that its file names", hub.connected("door"))
            wifi = boot.until_file(card, "wifi-error.txt", "country", LIMIT_S)
            findings.check("raspi3b: a mistake in wifi.toml is told beside it", True, wifi.strip())
    findings.check("raspi3b: the pairing has left the FAT partition", card.take("pairing.txt") is None)
    findings.check("raspi3b: mended, intercomd-error.txt is gone", card.take("intercomd-error.txt") is None)


def _header(said: str, findings: Findings) -> None:
    line, missing = _first(said, STARTED), _first(said, NO_PINS)
    has = "3 buttons, 5 LEDs" in line and not missing
    findings.check("raspi3b: buttons and LEDs are the header's", has, missing or line[-100:])
    findings.check("raspi3b: the host is named after the Pi's number", f"intercom-{SERIAL[-8:]}" in said)


def _built(findings: Findings) -> None:
    """What the build has left of itself."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    kept = "the tree of Debian was kept" if figures.get("tree_kept") else "with the tree of Debian"
    for key, name, unit in (
        ("packed_mib", "packed", "MiB"),
        ("card_mib", "on the card", "MiB"),
        ("build_s", f"built, {kept}", "s"),
        ("pack_s", "packing", "s"),
        ("tree_s", "its tree of Debian, emulated", "s"),
    ):
        if figures.get(key) is not None:
            findings.figure(name, figures[key], unit)


def _first(said: str, words: str) -> str:
    return next((line.strip() for line in said.splitlines() if words in line), "")


SCENES: dict[str, Callable[[Card, Findings], None]] = {
    "packed": packed, "virt": virt, "mistake": mistake, "raspi3b": raspi3b,
}  # fmt: skip


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
    for name in chosen:
        _scene(name)
    found = _gathered()
    print(f"\n{found.table()}\nin {RESULTS.relative_to(ROOT)}")
    return 0 if found.ok else 1


def _scene(name: str) -> None:
    findings = Findings()
    findings.say(f"---- {name}")
    card = Card(image().raw, RUN / f"{name}.img")
    try:
        SCENES[name](card, findings)
    except BootError as error:
        findings.check(f"{name} is played to its end", False, str(error))
    finally:
        card.path.unlink(missing_ok=True)
        findings.write(SCENE_RESULTS / f"{name}.json")


def _gathered() -> Findings:
    """The results of each scene that was played on this build, in their order, written as one: a scene alone can be
    played again."""
    findings = Findings(io.StringIO())
    _built(findings)
    for name in SCENES:
        file = SCENE_RESULTS / f"{name}.json"
        if not file.exists() or file.stat().st_mtime < image().raw.stat().st_mtime:
            findings.check(f"{name} was played on this build", False)
            continue
        findings.rows += [Row(**row) for row in json.loads(file.read_text())["checks"]]
    findings.write(RESULTS)
    return findings


if __name__ == "__main__":
    sys.exit(main())
