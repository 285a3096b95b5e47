"""`intercomd fault`: what runs instead of a station whose configuration cannot be used.

It writes every mistake beside the configuration, where a laptop finds it, lets the error LED blink fast, and says what
is wrong: without a network, without the hub, with the lines and the card that the file names
where that can be believed.
It goes on until it is ended: systemd does so when it starts the station again.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from intercomd.adapters.alsa import AlsaCard
from intercomd.adapters.journal import open_journal
from intercomd.adapters.systemd import SystemdSupervisor
from intercomd.boards.board import BARE_PI, Board, BoardError, panel_board
from intercomd.config import Config, ConfigError, Mistake, load, salvage
from intercomd.core.effects import Light
from intercomd.device.lights import Lights
from intercomd.device.lines import lines
from intercomd.device.speech import speak, spoken
from intercomd.device.unusable import left
from intercomd.errors import ErrorCode
from intercomd.ports import Journal, Pins, PinsError, SoundCard
from intercomd.texts import LANGUAGES, Language, text

REPORT = "intercomd-error.txt"
TIMES, PAUSE_S = 3, 20.0
"""Said this often by itself, and once more whenever a button is pressed."""
STOP_LIMIT_S = 2.0


def main(config_file: Path, left_in: Path) -> int:
    """Tell until SIGTERM; returns the exit status. `left_in` is the runtime directory of the station that failed."""
    journal, supervisor = open_journal(), SystemdSupervisor()
    mistakes = left(left_in) or _mistakes(config_file)
    config = salvage(config_file)
    try:
        report = write_report(config_file, mistakes)
    except OSError as error:
        report = report_file(config_file)
        journal.report(ErrorCode.CONFIG_INVALID, f"{report} cannot be written", reason=f"{report}: {error.strerror}")
    supervisor.status(text("fault.status", config.station.language).format(file=report))
    supervisor.ready()
    pcms = tuple(dict.fromkeys((config.audio.speaker_pcm, "default")))
    asyncio.run(_tell(config, journal, AlsaCard(), pcms, spoken(mistakes, config.station.language)))
    supervisor.stopping()
    journal.close()
    return 0


def _mistakes(config_file: Path) -> Sequence[Mistake]:
    """Where nothing was left: by trying it."""
    try:
        load(config_file, "device")
    except ConfigError as error:
        return error.mistakes
    return ()


# --------------------------------------------------------------------------------------------------------- the report


def report_file(config_file: Path) -> Path:
    """Beside the file itself, not beside a link to it: that is the place that a laptop reads."""
    return config_file.resolve().parent / REPORT


def write_report(config_file: Path, mistakes: Sequence[Mistake]) -> Path:
    """In both languages, on the card when this returns: it may be pulled out at once. Raises OSError."""
    file = report_file(config_file)
    fresh = file.with_suffix(".new")
    with fresh.open("w", encoding="utf-8", newline="\r\n") as written:  # for any computer's simplest editor
        written.write("\n\n".join(_told(language, config_file, mistakes) for language in LANGUAGES) + "\n")
        written.flush()
        os.fsync(written.fileno())
    fresh.replace(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # not every file system syncs a directory
            os.fsync(directory)
    finally:
        os.close(directory)
    return file


def _told(language: Language, config_file: Path, mistakes: Sequence[Mistake]) -> str:
    listed = [f"- {mistake}" for mistake in mistakes] or [text("fault.unknown", language)]
    head = [text("fault.head", language), text("fault.file", language).format(file=config_file)]
    return "\n".join([*head, "", *listed, "", text("fault.remedy", language)])


# --------------------------------------------------------------------------------------------------- lamps and voice


async def _tell(config: Config, journal: Journal, card: SoundCard, pcms: Sequence[str], sentence: bytes) -> None:
    """Until SIGTERM or SIGINT."""
    stop, asked, ended = asyncio.Event(), threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    board = _board(config)
    pins = lines(config.panel, board)  # with the outputs: claimed, a door opener is off
    lights = Lights(pins.set_led)
    _report_pins(journal, _started(pins, asked.set))
    lights.show({str(led): Light.OFF for led in board.leds} | {"error": Light.FAST})

    def failed(error: Exception) -> None:
        journal.report(ErrorCode.CARD_MISSING, reason=str(error))

    voice = threading.Thread(
        target=speak, args=(card, pcms, sentence, TIMES, PAUSE_S, asked, ended, failed), name="voice", daemon=True
    )
    voice.start()
    try:
        await stop.wait()
    finally:
        ended.set()
        asked.set()
        lights.close()
        pins.close()
        await asyncio.get_running_loop().run_in_executor(None, voice.join, STOP_LIMIT_S)


def _started(pins: Pins, on_press: Callable[[], None]) -> Sequence[PinsError]:
    return pins.start(lambda _button, pressed, _at_ns: on_press() if pressed else None)


def _board(config: Config) -> Board:
    try:
        return panel_board(config.panel)
    except BoardError:
        return BARE_PI


def _report_pins(journal: Journal, errors: Iterable[PinsError]) -> None:
    for error in errors:
        journal.report(error.code, reason=str(error))
