"""Programs that the benchmark starts, speaks with by JSON lines, and ends."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from intercomd.demo.supervisor import dies_with_us

ANSWER_LIMIT_S = 15.0


class ProgramError(Exception):
    """It did not start, or did not say what it should; the text has its last words."""


class Program:
    """`async with Program("tests.bench.stock", [...], env) as program:` Killed at the end."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._argv = argv
        self._env = {**os.environ, **env}
        self._process: asyncio.subprocess.Process
        self.started_s = 0.0

    async def __aenter__(self) -> Self:
        self.started_s = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            *dies_with_us(self._argv),
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def line(self) -> str:
        """The next line of its output. Raises `ProgramError`."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                raw = await self._process.stdout.readline()
                if raw:
                    return raw.decode().strip()
                words = (await self._process.stderr.read()).decode(errors="replace").strip()
        except TimeoutError:
            words = f"it said nothing for {ANSWER_LIMIT_S} s"
        raise ProgramError(f"{' '.join(self._argv[-4:])}: {words[-600:]}")

    async def says(self) -> dict[str, Any]:
        """The next line as JSON."""
        said: dict[str, Any] = json.loads(await self.line())
        return said

    def tell(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")


def module(name: str, *arguments: str) -> list[str]:
    """How to run one of our modules."""
    return [sys.executable, "-m", name, *arguments]
