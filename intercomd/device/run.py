"""The station's composition root: builds every part from the configuration, runs them, takes them down.

Crash-only: a part that fails in a way that it must not ends the process, systemd starts it again, and the call is
restored from flash. SIGTERM ends the process without ending the call, for the same reason: a restart is not a hang-up.
"""

import asyncio
import gc
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from intercomd import __version__
from intercomd.adapters.alsa import AlsaCard
from intercomd.adapters.gpio import GpioPins
from intercomd.adapters.journal import open_journal
from intercomd.adapters.livekit_apm import installed, load_livekit
from intercomd.adapters.netlink import NetlinkNetwork
from intercomd.adapters.signalling import SocketIoSignalling
from intercomd.adapters.sqlite import SqliteStore
from intercomd.adapters.systemd import SystemdSupervisor
from intercomd.adapters.webrtc import WebRtcMedia, probe
from intercomd.boards.board import Board, panel_board
from intercomd.config import Audio, Config, hub_ca, hub_token, ice_servers
from intercomd.core.events import Booted
from intercomd.core.protocol import DOOR, Resync
from intercomd.core.snapshot import Route, Snapshot
from intercomd.core.station import Settings, Station
from intercomd.device.clock import StationClock
from intercomd.device.control import Control
from intercomd.device.daemon import Daemon, Parts
from intercomd.device.door import Door
from intercomd.device.figures import CallFigures
from intercomd.device.health import watch
from intercomd.device.interpreter import Interpreter, Outside
from intercomd.device.network import hub_host, network_words
from intercomd.device.outbox import Outbox
from intercomd.device.panel import Panel
from intercomd.device.servers import IceServers
from intercomd.device.trace import Trace
from intercomd.errors import ErrorCode
from intercomd.flash.instant import Instant
from intercomd.ids import IdentityId, fresh_instance_id
from intercomd.media.engine import AudioPcms, Engine
from intercomd.media.processing import Switches, VoiceProcessing
from intercomd.ports import Journal, Loaded, Store, StoreError

USABLE_LIMIT_S = 10.0
"""systemd hears READY at the latest after this, with the card or the hub still missing: states, not failures."""


class _Stop(Exception):
    """SIGTERM or SIGINT."""


def main(config: Config, pins: GpioPins) -> int:
    """Run the station until it is told to stop (0) or a part of it dies (1). `pins`: as `lines.shut` gives them."""
    journal = open_journal({"device_id": config.station.name, "user_id": config.station.name})
    gc.freeze()  # a full collection with aiortc loaded takes 18 ms: a gap in the sound
    exit_status = 0
    try:
        asyncio.run(_run(config, journal, pins))
    except* _Stop:
        journal.report(ErrorCode.STATION_STOPPED)
    except* Exception as group:  # noqa: BLE001  the process's last word: whatever a part died of is told with its stack
        _report_death(journal, group)
        exit_status = 1
    journal.close()
    return exit_status


def _report_death(journal: Journal, group: BaseExceptionGroup[Exception]) -> None:
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    stack = "".join(traceback.format_exception(cause))
    journal.report(ErrorCode.INTERNAL, reason=f"{type(cause).__name__}: {cause}", stack=stack)


def settings_of(config: Config) -> Settings:
    """The call logic's part of the configuration."""
    call = config.call
    return Settings(
        peer_id=IdentityId(call.peer) if call.peer else None,
        default_route=Route(config.audio.default_route),
        restore=call.restore,
        grace_s=call.grace_s,
        setup_timeout_s=call.setup_timeout_s,
        card_wait_s=call.card_wait_s,
        connect_timeout_s=call.connect_timeout_s,
        attempts=call.attempts,
        retry_window_s=call.retry_window_s,
        auto_answer=tuple(IdentityId(name) for name in call.auto_answer),
        auto_answer_after_s=call.auto_answer_after_s,
    )


async def _run(config: Config, journal: Journal, pins: GpioPins) -> None:
    settings = settings_of(config)
    clock = StationClock()
    store = SqliteStore(Path(config.station.state_dir), lambda: Instant.now(clock.now_s))
    loaded = await _load(store, journal)
    clock.not_before(loaded.kept_at_s or 0.0)
    board = panel_board(config.panel)
    daemon = Daemon(
        config.station.name,
        config.station.language,
        frozenset(board.buttons),
        config.panel.pin_factory == "mock",
        push_to_talk=config.audio.push_to_talk,
        outputs=frozenset(board.outputs),
        door_open_s=config.panel.door_open_s,
        remote_door=config.panel.remote_door,
    )
    parts, outbox = _assemble(config, daemon, journal, store, loaded, settings, board, pins, clock)
    trace = _open_trace(config, parts.interpreter)
    journal.report(
        ErrorCode.STATION_STARTED,
        version=__version__,
        reason=f"{len(board.buttons)} buttons, {len(board.leds)} LEDs, hub {config.station.hub_url}",
    )
    try:
        async with asyncio.TaskGroup() as group:
            await _start(daemon, loaded)
            group.create_task(parts.interpreter.run(), name="interpreter")
            hub_time = _hub_time(parts.interpreter, clock, daemon.door)
            signalling = parts.signalling.run(daemon.link_changed, daemon.noticed, hub_time, daemon.door.command)
            group.create_task(signalling, name="signalling")
            group.create_task(outbox.run(), name="outbox")
            group.create_task(parts.ice.run(), name="ICE servers")
            group.create_task(_follow_network(config, daemon), name="network")
            group.create_task(_watch(parts, daemon, clock), name="health")
            group.create_task(_announce(daemon), name="announce")
            group.create_task(_until_signal(), name="signals")
    finally:
        parts.supervisor.stopping()
        await _take_down(parts, store)
        if trace is not None:
            trace.close()


def _hub_time(interpreter: Interpreter, clock: StationClock, door: Door) -> Callable[[float], None]:
    def heard(hub_s: float) -> None:
        door.hub_time(hub_s)
        interpreter.hear_hub_time(clock.heard(hub_s))

    return heard


async def _watch(parts: Parts, daemon: Daemon, clock: StationClock) -> None:
    def tick() -> None:
        if parts.interpreter.station.call is None:
            clock.rest()
        daemon.tick()

    await watch(parts.engine.turns, lambda: parts.engine.failed, parts.supervisor, tick)


async def _load(store: Store, journal: Journal) -> Loaded:
    try:
        loaded = await store.load()
    except StoreError as error:
        journal.report(ErrorCode.STORE_FAILING, reason=str(error))
        return Loaded(Snapshot(), fresh_instance_id(), None)
    if loaded.quarantined is not None:
        journal.report(ErrorCode.STORE_QUARANTINED, reason=loaded.quarantined)
    return loaded


def _assemble(
    config: Config,
    daemon: Daemon,
    journal: Journal,
    store: Store,
    loaded: Loaded,
    settings: Settings,
    board: Board,
    pins: GpioPins,
    clock: StationClock,
) -> tuple[Parts, Outbox]:
    signalling = _signalling(config, journal, loaded, clock, board)
    media = WebRtcMedia(
        daemon,
        bitrate_bps=config.audio.bitrate_bps,
        frame_ms=config.audio.frame_ms,
        fec=config.audio.fec,
        dtx=config.audio.dtx,
        buffer_ms=config.audio.buffer_ms,
        gather_limit_s=config.ice.gather_limit_s,
        connect_limit_s=config.call.connect_timeout_s,
        transport_policy=config.ice.transport_policy,
        allow_loopback=config.ice.allow_loopback,
        interfaces=config.ice.interfaces,
        exclude_interfaces=config.ice.exclude_interfaces,
        silent_s=config.call.silent_s,
        lost_s=config.call.lost_s,
    )
    if not media.seam:
        journal.report(ErrorCode.SEAM_BROKEN)
    engine = Engine(
        AlsaCard(),
        _pcms(config),
        media.source,
        media.sink,
        daemon.card_changed,
        daemon.microphone_changed,
        daemon.xrun,
        route=settings.default_route,
        processing=_processing(config.audio, board, daemon),
        push_to_talk=config.audio.push_to_talk,
    )
    figures = CallFigures(media, engine)
    outbox = Outbox(store, signalling, journal)
    ice = IceServers(
        ice_servers(config.ice, os.environ),
        probe,
        lambda: signalling.request(Resync()),
        lambda: signalling.status.state == "up",
        journal,
        probe_s=config.ice.probe_s,
        relay_only=config.ice.transport_policy == "relay",
    )
    outside = Outside(
        media=media,
        sound=engine,
        store=store,
        signalling=signalling,
        journal=journal,
        clock=clock.now_s,
        follow_time=clock.follow,
        network=lambda: network_words(config.station.hub_url, media.candidate_types),
        flush_outbox=outbox.flush,
        ice=ice,
        metrics=figures.read,
    )
    station = Station(settings, route=settings.default_route)
    parts = Parts(
        interpreter=Interpreter(station, outside, daemon.changed),
        panel=_panel(config, daemon, board, pins),
        control=Control(Path(config.station.control_socket), daemon),
        engine=engine,
        media=media,
        figures=figures,
        signalling=signalling,
        journal=journal,
        supervisor=SystemdSupervisor(),
        ice=ice,
    )
    daemon.assemble(parts)
    return parts, outbox


def _signalling(
    config: Config, journal: Journal, loaded: Loaded, clock: StationClock, board: Board
) -> SocketIoSignalling:
    station = config.station
    has_door = "door" in board.outputs and config.panel.remote_door != "never"
    return SocketIoSignalling(
        station.hub_url,
        lambda: hub_token(station, os.environ),
        loaded.instance,
        ("restore", DOOR) if has_door else ("restore",),
        journal,
        ca_file=hub_ca(station, os.environ),
        allow_insecure=station.allow_insecure,
        known_time=clock.known,
    )


def _pcms(config: Config) -> AudioPcms:
    audio = config.audio
    return AudioPcms(
        {Route.SPEAKER: audio.speaker_pcm, Route.HANDSET: audio.handset_pcm or audio.speaker_pcm},
        {Route.SPEAKER: audio.microphone_pcm, Route.HANDSET: audio.handset_microphone_pcm or audio.microphone_pcm},
    )


def voice_engine(audio: Audio, board: Board, *, canceller: bool) -> str:
    """What `[audio] processing` comes to on this board; `canceller`: there is one to load."""
    if audio.processing != "auto":
        return audio.processing
    if board.acoustic == "handset" or audio.push_to_talk:
        return "none"
    return "livekit" if canceller else "half-duplex"


def _processing(audio: Audio, board: Board, daemon: Daemon) -> VoiceProcessing | None:
    engine = voice_engine(audio, board, canceller=installed())
    if engine == "none":
        return None
    return VoiceProcessing(
        Switches(engine, audio.echo, audio.noise, audio.gain, audio.highpass, audio.chirp, audio.double_talk),
        load_livekit if engine == "livekit" else None,
        on_failed=daemon.canceller_failed,
        on_half_duplex=daemon.half_duplex_changed,
    )


def _panel(config: Config, daemon: Daemon, board: Board, pins: GpioPins) -> Panel:
    panel = config.panel
    return Panel(
        pins,
        tuple(board.buttons),
        daemon.pressed,
        daemon.held,
        daemon.edge,
        dead_s=panel.debounce_ms / 1000,
        hold_s=panel.hold_s,
    )


def _open_trace(config: Config, interpreter: Interpreter) -> Trace | None:
    if not config.station.trace_file:
        return None
    trace = Trace(Path(config.station.trace_file), interpreter.station)
    interpreter.trace_into(trace.step)
    return trace


async def _start(daemon: Daemon, loaded: Loaded) -> None:
    """The order: lamps first, then the saved call, then the card; the hub and the control socket come last."""
    parts = daemon.parts
    daemon.start_panel()
    parts.interpreter.post(Booted(loaded.snapshot, loaded.age_s, loaded.kept_at_s))
    parts.engine.start()
    await parts.control.start()


async def _follow_network(config: Config, daemon: Daemon) -> None:
    """Where the kernel does not tell, time-outs find out."""
    network = NetlinkNetwork(hub_host(config.station.hub_url))
    try:
        daemon.network_is(network.paths())
        await network.run(daemon.network_is)
    except OSError as error:
        daemon.parts.journal.report(ErrorCode.NETWORK_UNWATCHED, reason=str(error))


async def _announce(daemon: Daemon) -> None:
    """systemd hears READY when the station is usable, or knows that it is not yet."""
    try:
        async with asyncio.timeout(USABLE_LIMIT_S):
            await daemon.usable.wait()
    except TimeoutError:
        pass
    daemon.parts.supervisor.ready()
    daemon.parts.engine.prepare()
    daemon.refresh()


async def _until_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    raise _Stop


async def _take_down(parts: Parts, store: Store) -> None:
    """Bounded each; the card first, so that nothing more is heard."""
    await asyncio.get_running_loop().run_in_executor(None, parts.engine.stop)
    parts.panel.close()
    await parts.control.close()
    await parts.media.close()
    await store.close()


__all__: Sequence[str] = ("main", "settings_of")
