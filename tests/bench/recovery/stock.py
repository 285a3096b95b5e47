"""The stock pair in the same namespaces as our stations, in the same faults: see `stock_peer` and `stock_hub`."""

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import Any, Self

from tests.bench.hands import Late
from tests.bench.programs import Program, module
from tests.bench.recovery.laboratory import LIMIT_S, OTHER_MACHINE, STATIONS, STOCK_CALLEE, STOCK_CALLER, Laboratory
from tests.bench.recovery.network import ADDRESSES, HUB

PORT = 8090
NAME = "stock aiortc and python-socketio"
SINKS = {STOCK_CALLER: f"{STOCK_CALLER}_spk", STOCK_CALLEE: f"{STOCK_CALLEE}_handset"}
_OUTPUTS = {STOCK_CALLER: f"{STOCK_CALLER}_speaker", STOCK_CALLEE: f"{STOCK_CALLEE}_handset"}
START_LIMIT_S = 60.0
_LOOK_S = 0.02


class StockPair:
    """`async with StockPair(lab) as pair: await pair.call()`. What its stations say is kept in `said`."""

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab
        self._stack = AsyncExitStack()
        self._programs: dict[str, Program] = {}
        self._hub: Program | None = None
        self.said: dict[str, list[dict[str, Any]]] = {name: [] for name in SINKS}

    async def __aenter__(self) -> Self:
        try:
            await self.start_hub()
            for room, name in zip(STATIONS, SINKS, strict=True):
                await self._start(room, name)
            for name in SINKS:
                await self._hears(name, "ready", START_LIMIT_S)
        except BaseException:  # Ctrl-C too: what has started is ended
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def call(self, limit_s: float = LIMIT_S) -> float:
        """Seconds from the offer to the later end's first voice. Raises `Late`."""
        began_s = monotonic()
        self._programs[STOCK_CALLER].tell({"do": "call"})
        first = [float(await self._hears(name, "first_voice_t_ns", limit_s)) / 1e9 for name in SINKS]
        return max(first) - began_s

    async def start_hub(self) -> None:
        """It serves when a station is ready, not before."""
        where = (ADDRESSES[HUB], str(PORT))
        hub = Program(
            self._lab.network.inside(HUB, [*OTHER_MACHINE, *module("tests.bench.recovery.stock_hub", *where)]), {}
        )
        self._hub = await hub.__aenter__()

    async def kill_hub(self) -> None:
        if self._hub is not None:
            await self._hub.__aexit__()
            self._hub = None

    @property
    def media_state(self) -> str:
        """What the libraries say of the caller's connection, empty before the call."""
        return next((said["media"] for said in reversed(self.said[STOCK_CALLER]) if "media" in said), "")

    def link_back_s(self, since_s: float) -> float | None:
        """Seconds until the later of both links was up again for good, None if one is down."""
        last = [[said for said in self.said[name] if "link" in said][-1] for name in SINKS]
        if not all(said["link"] for said in last):
            return None
        latest_s = max(float(said["t_ns"]) / 1e9 for said in last)
        return max(0.0, latest_s - since_s)

    async def _start(self, room: str, name: str) -> None:
        pcms = (f"{name}_microphone", _OUTPUTS[name])
        url = f"http://{ADDRESSES[HUB]}:{PORT}"
        argv = self._lab.network.inside(room, module("tests.bench.recovery.stock_peer", url, *pcms))
        self._programs[name] = await self._stack.enter_async_context(Program(argv, self._lab.rig.env))
        listening = asyncio.create_task(self._listen(name))
        self._stack.callback(listening.cancel)

    async def _listen(self, name: str) -> None:
        output = self._programs[name]._process.stdout
        assert output is not None
        with suppress(ValueError):
            while line := await output.readline():
                self.said[name].append(json.loads(line))

    async def _hears(self, name: str, key: str, limit_s: float = LIMIT_S) -> Any:
        deadline_s = monotonic() + limit_s
        while monotonic() < deadline_s:
            for said in self.said[name]:
                if key in said:
                    return said[key]
            await asyncio.sleep(_LOOK_S)
        raise Late(f"{name} did not say {key} within {limit_s:g} s, but {self.said[name][-3:]}")

    async def _close(self) -> None:
        await self._stack.aclose()
        await self.kill_hub()
