"""Two real coturn servers, one address each, whose credentials the hub makes. Which of them a call goes through is seen
on the packets: each hands out ports of a range of its own."""

import asyncio
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.bench.programs import Program, ProgramError
from tests.bench.recovery.network import ADDRESSES, SECOND_TURN, TURN, Network

PORT = 3478
PORTS = 1000
MOMENT_S = 0.5


@dataclass(frozen=True, slots=True)
class Relay:
    """`first_port` of those that it hands out."""

    address: str
    first_port: int

    @property
    def url(self) -> str:
        return f"turn:{self.address}:{PORT}?transport=udp"


RELAYS: Sequence[Relay] = (Relay(ADDRESSES[TURN], 50_000), Relay(SECOND_TURN, 52_000))


class Relays:
    """`async with Relays(network, directory) as relays:`"""

    def __init__(self, network: Network, directory: Path) -> None:
        self._network = network
        self._directory = directory
        self._running: dict[Relay, Program] = {}
        self._secret_file = directory / "turn-secret"
        self._secret_file.touch(mode=0o600)
        self._secret_file.write_text(secrets.token_hex(16))

    async def __aenter__(self) -> Self:
        if shutil.which("turnserver") is None:
            raise ProgramError("turnserver is not installed: apt install coturn")
        for relay in RELAYS:
            await self.start(relay)
        return self

    async def __aexit__(self, *_: object) -> None:
        for relay in tuple(self._running):
            await self.kill(relay)

    @property
    def hub_table(self) -> dict[str, str | list[str]]:
        """For the hub's configuration."""
        return {"turn_urls": [relay.url for relay in RELAYS], "turn_secret_file": str(self._secret_file)}

    async def start(self, relay: Relay) -> None:
        """Nothing if it runs."""
        if relay not in self._running:
            program = Program(self._network.inside(TURN, self._command(relay)), {})
            self._running[relay] = await program.__aenter__()

    async def kill(self, relay: Relay) -> None:
        await self._running.pop(relay).__aexit__()

    async def busiest(self) -> tuple[Relay, int]:
        """The one that relays most packets just now, and how many in a moment."""
        names = {f"relay{number}": relay for number, relay in enumerate(RELAYS)}
        ranges = {name: (relay.first_port, relay.first_port + PORTS - 1) for name, relay in names.items()}
        await asyncio.to_thread(self._network.count_packets, TURN, ranges)
        await asyncio.sleep(MOMENT_S)
        packets = await asyncio.to_thread(self._network.counted_packets, TURN)
        name = max(packets, key=lambda name: packets[name])
        return names[name], packets[name]

    def _command(self, relay: Relay) -> list[str]:
        log = self._directory / f"turn-{relay.address}.log"
        return [
            "turnserver",
            "-n",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--use-auth-secret",
            f"--static-auth-secret={self._secret_file.read_text()}",
            "--realm=intercom.invalid",
            f"--listening-ip={relay.address}",
            f"--listening-port={PORT}",
            f"--relay-ip={relay.address}",
            f"--min-port={relay.first_port}",
            f"--max-port={relay.first_port + PORTS - 1}",
            f"--userdb={log.with_suffix('.db')}",
            f"--pidfile={log.with_suffix('.pid')}",
            f"--log-file={log}",
            "--simple-log",
            "--no-stdout-log",
        ]
