"""`intercomd demo`: the household with its panel page, or the scripted run without a person."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from intercomd.demo.house import House, HouseError
from intercomd.demo.page_scene import NAME, invite
from intercomd.demo.panel import Panel
from intercomd.demo.sound import SoundError

DONE, FAILED = 0, 1

WELCOME = """
  The panel page:        {url}
  The resident's page:   {resident}   (once; 住户页面，链接只能用一次)

  1  Open it in a browser on this machine. Phone size works too.      在本机浏览器中打开上面的网址。
  2  Press the bell at the door: the flat rings.                      按门口机的门铃：室内机响铃。
  3  Press the green button in the flat: they talk.                   按室内机的绿色键接听：开始通话。
  4  Toggle the speaker; kill a daemon in the middle of the call;     切换免提；在通话中杀掉进程；
     unplug a sound card. The call comes back by itself.              拔掉声卡。通话会自动恢复。
  5  Hang up with the red button. Ctrl-C here ends everything.        按红色键挂断。在此按 Ctrl-C 结束全部。
  6  On the resident's page call a station, or let the door ring it:  在住户页面呼叫任一站点；或让门口机呼叫住户：
     intercomctl --socket {door} call {name}

  There is no sound card in this: the people at both ends are recorded sentences, through real ALSA and WebRTC.
  这里没有使用声卡：两端说话的是预先录好的句子，声音经过真实的 ALSA 与 WebRTC。
"""


def main(argv: Sequence[str]) -> int:
    """Run the demo; returns the exit status: 0 done, 1 failed, 2 wrong usage."""
    options = _parse(argv)
    try:
        return asyncio.run(_scripted(options.json, options.keep) if options.scripted else _interactive(options))
    except (HouseError, SoundError, OSError) as error:
        print(f"intercomd demo: {error}", file=sys.stderr)
        return FAILED


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="intercomd demo", description="A hub and three stations on this machine, with a panel page."
    )
    parser.add_argument("--scripted", action="store_true", help="run through everything without a person, and judge it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scripted run's checks into this file")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="the panel page's port; default: any free one")
    parser.add_argument("--keep", action="store_true", help="keep the household's directory, to look at it afterwards")
    options = parser.parse_args(argv)
    if options.json and not options.scripted:
        parser.error("--json belongs to --scripted")
    return options


async def _interactive(options: argparse.Namespace) -> int:
    stopped = _stop_signal()
    async with House(keep=options.keep) as house:
        panel = Panel(house.stations, house.journal, house.supervisor, house.cards)
        try:
            url, link = await panel.start(options.port), await invite(house, NAME)
            door = house.household.station("door").control
            print(WELCOME.format(url=url, resident=link, door=door, name=NAME), flush=True)
            await stopped.wait()
            print("Ending everything. 正在结束。", flush=True)
        finally:
            await panel.close()
        _tell_where(house, options.keep)
    return DONE


async def _scripted(json_file: Path | None, keep: bool) -> int:
    from intercomd.demo.script import run_script

    stopped = _stop_signal()
    running = asyncio.create_task(run_script(json_file, keep))
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        running.cancel()
        await asyncio.wait((running,))
        return FAILED
    stopping.cancel()
    return DONE if running.result() else FAILED


def _tell_where(house: House, keep: bool) -> None:
    if keep:
        print(f"Kept: {house.household.root}")


def _stop_signal() -> asyncio.Event:
    """Set by the first Ctrl-C or SIGTERM; a second Ctrl-C ends the process at once, and the kernel the rest."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        stopped.set()
        loop.remove_signal_handler(signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return stopped
