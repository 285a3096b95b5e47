"""A hub on this machine that a station in QEMU reaches (as 10.0.2.2), with an authority of its own, and the line by
which that station is paired."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

GATEWAY = "10.0.2.2"
START_LIMIT_S = 60.0


class Hub:
    """Runs while the block is open."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self._config = folder / "hub.toml"
        database = folder / "hub.db"
        database.unlink(missing_ok=True)
        shutil.rmtree(folder / "tls", ignore_errors=True)
        self._config.write_text(
            f'[hub]\nport = {self.port}\ndatabase_url = "sqlite+aiosqlite:///{database}"\n'
            f'tls = "local"\ntls_dir = "{folder}/tls"\npublic_url = "https://{GATEWAY}:{self.port}"\n'
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "intercomd", "hub", "--config", str(self._config)], stdin=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if time.monotonic() > deadline_s or self._process.poll() is not None:
                self.__exit__()
                raise SystemExit("test-image: the hub does not come up")
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def line(self, station: str) -> str:
        """For pairing.txt."""
        return self._asked("pair", station).strip().splitlines()[0]

    def connected(self, station: str) -> bool:
        listed = json.loads(self._asked("list", "--json"))
        return any(entry["name"] == station and entry.get("devices") for entry in listed)

    def _asked(self, *words: str) -> str:
        command = [sys.executable, "-m", "intercomd", "hub", "--config", str(self._config), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
