"""Machines whose only way to each other is the impaired wire, and a probe that says what the wire itself takes."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final, Self

from tests.bench.audio.impaired import INTERFACE, Condition, enter, order
from tests.bench.programs import Program, module
from tests.netns.laboratory import Laboratory, Space

HUB: Final = "hub"
PROBE_PORT: Final = 9
PROBE_EVERY_S: Final = 0.1
_PREFIX: Final = "/24"


class Wires:
    """`async with Wires(addresses) as wires:` Needs root. Addresses by machine; they are in one network."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self.addresses = addresses
        self._stack = AsyncExitStack()
        self._spaces: dict[str, Space] = {}
        self._program: Program

    async def __aenter__(self) -> Self:
        try:
            laboratory = self._stack.enter_context(Laboratory())
            self._spaces = {name: laboratory.space(name) for name in self.addresses}
            hosts = [f"{space.name}={self.addresses[name]}" for name, space in self._spaces.items()]
            # Before everything else that may run: what it lags is taken for the contenders' delay.
            argv = ["nice", "-n", "-10", *module("tests.bench.audio.impaired", *hosts)]
            self._program = await self._stack.enter_async_context(Program(argv, {}))
            await self._program.says()
            for name, space in self._spaces.items():
                space.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
                space.ip("address", "add", self.addresses[name] + _PREFIX, "dev", INTERFACE)
                space.ip("link", "set", INTERFACE, "up")
        except BaseException:  # Ctrl-C too: no namespace is left behind
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def inside(self, name: str, argv: Sequence[str]) -> list[str]:
        """The command, to be run there. The pid stays the program's."""
        return self._spaces[name].argv(argv)

    async def change(self, condition: Condition) -> tuple[float, dict[str, Any]]:
        """Since when (CLOCK_MONOTONIC), and what was done to each stream under the condition before."""
        self._program.tell(order(condition))
        said = await self._program.says()
        return float(said["began_s"]), said["streams"]

    @contextmanager
    def probed(self, source: str, target: str) -> Iterator[list[float]]:
        """Meanwhile a packet goes this way ten times a second, that is no voice; the list gets the seconds that each
        took from one socket to the other."""
        taken: list[float] = []
        over = threading.Event()
        ready = threading.Barrier(2)
        threads = (
            threading.Thread(target=self._receive, args=(target, taken, over, ready), name="probe's end"),
            threading.Thread(target=self._send, args=(source, target, over, ready), name="probe"),
        )
        for thread in threads:
            thread.start()
        try:
            yield taken
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _receive(self, name: str, taken: list[float], over: threading.Event, ready: threading.Barrier) -> None:
        with self._socket(name) as end:
            end.bind((self.addresses[name], PROBE_PORT))
            end.settimeout(3 * PROBE_EVERY_S)
            ready.wait()
            while not over.is_set():
                try:
                    sent_s = json.loads(end.recv(100))
                except TimeoutError:
                    continue
                taken.append(time.monotonic() - sent_s)

    def _send(self, source: str, target: str, over: threading.Event, ready: threading.Barrier) -> None:
        with self._socket(source) as end:
            ready.wait()
            while not over.wait(PROBE_EVERY_S):
                end.sendto(json.dumps(time.monotonic()).encode(), (self.addresses[target], PROBE_PORT))

    def _socket(self, name: str) -> socket.socket:
        """Of the namespace; the thread stays in it."""
        enter(f"/run/netns/{self._spaces[name].name}")
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
