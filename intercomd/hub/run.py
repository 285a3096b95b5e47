"""The hub as a process: it serves until SIGTERM or until a part of it dies."""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from intercomd.adapters.journal import open_journal
from intercomd.adapters.systemd import SystemdSupervisor
from intercomd.config import Config, ConfigError, database_password, ice_servers, metrics_token, turn_secret
from intercomd.core.vocabulary import IceServer
from intercomd.errors import ErrorCode
from intercomd.hub import garbage
from intercomd.hub.server import HubError, HubServer
from intercomd.ports import Journal, Supervisor

WATCHDOG_SHARE = 0.4
"""Fed this often within systemd's interval."""
MAX_LAG_S = 5.0
FAILED, CONFIGURATION = 1, 78


def main(config: Config) -> int:
    """Run the hub; returns the exit status."""
    journal = open_journal()
    try:
        servers = ice_servers(config.ice, os.environ)
        secret, token = turn_secret(config.hub, os.environ), metrics_token(config.hub, os.environ)
        password = database_password(config.hub, os.environ)
        asyncio.run(run(config, journal, SystemdSupervisor(), servers, secret, token, password))
    except ConfigError as error:
        journal.report(ErrorCode.CONFIG_INVALID, str(error))
        return CONFIGURATION
    except HubError as error:
        print(f"intercomd hub: {error}", file=sys.stderr)
        journal.report(ErrorCode.CONFIG_INVALID if error.is_configuration else ErrorCode.INTERNAL, str(error))
        return CONFIGURATION if error.is_configuration else FAILED
    except Exception as error:  # noqa: BLE001  (the process's main: whatever ended it is written down)
        journal.report(ErrorCode.INTERNAL, f"The hub ended: {error}", STACK=traceback.format_exc())
        return FAILED
    finally:
        journal.close()
    return 0


async def run(
    config: Config,
    journal: Journal,
    supervisor: Supervisor,
    servers: Sequence[IceServer] = (),
    turn_secret: str = "",
    metrics_token: str = "",
    database_password: str = "",
) -> None:
    """Serve until told to stop. Raises `HubError` when it cannot start, and whatever ended a part of it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with HubServer(
        config.hub, journal, ice_servers=servers, turn_secret=turn_secret, metrics_token=metrics_token,
        database_password=database_password,
    ) as hub:  # fmt: skip
        garbage.settle()
        supervisor.ready()
        supervisor.status(f"listening on port {hub.port}")
        tasks = [
            asyncio.create_task(stop.wait()),
            asyncio.create_task(hub.failed()),
            asyncio.create_task(_feed(hub, supervisor)),
            asyncio.create_task(garbage.collect_at_rest(lambda: hub.is_at_rest)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            supervisor.stopping()
            for task in done:
                task.result()
            await hub.wind_down()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _feed(hub: HubServer, supervisor: Supervisor) -> None:
    """The watchdog hears of us only while the event loop keeps its time."""
    while True:
        await asyncio.sleep((supervisor.watchdog_s or 10.0) * WATCHDOG_SHARE)
        if hub.lag_s < MAX_LAG_S:
            supervisor.alive()
