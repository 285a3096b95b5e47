"""A PostgreSQL of the tests' own: a cluster in a temporary folder, on a free port of loopback."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_LIMIT_S = 30.0
GUARDED, PASSWORD = "guarded", "of: the/tests@"


def programs() -> Path | None:
    """Where PostgreSQL's programs are; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    in_path = shutil.which("initdb")
    return Path(in_path).parent if in_path else None


def lacking() -> str | None:
    """Why there can be no cluster here, if there cannot."""
    if programs() is None:
        return "no initdb (package postgresql)"
    return None if _user() else "no user but root to run PostgreSQL as"


def _user() -> str | None:
    """PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Cluster:
    """`start`, `stop`, `crash` at will. Commits are not synced: only the machine's own power would need it."""

    def __init__(self, folder: Path, port: int) -> None:
        found, user = programs(), _user()
        assert found is not None
        assert user is not None
        self.port = port
        self._bin = found
        self._folder = folder
        self._as: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        if os.geteuid() != 0:
            self._as = {}
        self._server: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        self._run("initdb", "-D", self._data, "-U", "hub", "--auth=trust", "--no-sync", "--encoding=UTF8",
                  "--locale=C.UTF-8")  # fmt: skip
        access = Path(self._data) / "pg_hba.conf"
        access.write_text(f"host all {GUARDED} all scram-sha-256\n{access.read_text()}")

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
            "max_connections": 60, "shared_buffers": "32MB",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = (self._folder / "log").open("ab")
        with log:
            self._server = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", self._data, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, **self._as,
            )  # fmt: skip
        self._await_answers()

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT: a fast shutdown, which ends every connection. SIGQUIT: at once, without a checkpoint."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(number)
            server.wait(START_LIMIT_S)

    def crash(self) -> None:
        self.stop(signal.SIGQUIT)

    def make_database(self, name: str) -> str:
        """A new database; its URL."""
        self._psql(f'CREATE DATABASE "{name}"')
        return f"postgresql+asyncpg://hub@127.0.0.1:{self.port}/{name}"

    def guard(self, name: str) -> None:
        """Let a user into this database who must show `PASSWORD`."""
        self._psql(f"CREATE ROLE {GUARDED} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        self._psql(f'ALTER DATABASE "{name}" OWNER TO {GUARDED}')

    def drop_database(self, name: str) -> None:
        self._psql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _psql(self, statement: str) -> None:
        self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "hub", "-d", "postgres", "-qc", statement)

    def _await_answers(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not self._is_ready():
            assert self._server is not None
            assert self._server.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False, stdin=subprocess.DEVNULL, **self._as).returncode == 0

    def _run(self, program: str, *options: str) -> None:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [str(self._bin / program), *options], check=False, stdin=subprocess.DEVNULL, capture_output=True,
            env=environment, cwd=self._folder, timeout=START_LIMIT_S, **self._as,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """One that runs, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="intercomd-postgres-") as name:
        folder = Path(name)
        user = _user()
        if os.geteuid() == 0 and user is not None:
            shutil.chown(folder, user)
        made = Cluster(folder, free_port())
        made.make()
        made.start()
        try:
            yield made
        finally:
            made.stop()
