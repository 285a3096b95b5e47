"""When Python looks for garbage: not while somebody waits for a ring.

A search through everything stops the process: with a thousand clients for a tenth of a second and more, and as many
calls as come meanwhile ring late. Left to itself it comes every few seconds under load, since calls that were lately
over are kept. What a search finds are mostly connections that are gone; their memory can wait a minute."""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

YOUNG: Final = 5000
"""Objects that were made and not let go of since the last look at the youngest: such a look takes a millisecond."""
MIDDLE: Final = 10
NEVER: Final = 1_000_000_000
EVERY_S: Final = 60.0
PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.05


def settle() -> None:
    """Once, when everything is imported and open: that stays as it is, and is not searched again. From now on only
    `collect_at_rest` searches everything."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, NEVER)


async def collect_at_rest(
    is_at_rest: Callable[[], bool], every_s: float = EVERY_S, patience_s: float = PATIENCE_S
) -> None:
    """For ever: a search, when so long has passed and nobody waits; at the latest when patience is over."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every_s)
        until_s = loop.time() + patience_s
        while not is_at_rest() and loop.time() < until_s:  # noqa: ASYNC110  (rest is nobody's event)
            await asyncio.sleep(LOOK_S)
        gc.collect()
