"""The configuration's tables, each a struct: a key's name carries its unit, its type the allowed range, its
Meta the sentence that the README shows. `extra["allowed"]` says what is allowed where the type reads badly.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

ButtonName = Literal["call", "hangup", "speaker", "volume_up", "volume_down", "hook", "unlock"]
"""`hook` is a handset's switch: closed while the handset lies on it. `unlock` opens the other side's door. Names are
unique over buttons, LEDs and outputs: a line is known by its name."""
LedName = Literal["ready", "ringing", "talking", "error", "microphone"]
OutputName = Literal["door"]

_PATH = Meta(pattern="^(/.*)?$", extra={"allowed": "an absolute path, or empty"})
_FULL_PATH = Meta(pattern="^/.", extra={"allowed": "an absolute path"})
_PCM = Meta(min_length=1, max_length=128, extra={"allowed": "the name of an ALSA PCM (`aplay -L` lists them)"})
_PCM_OR_EMPTY = Meta(max_length=128, extra={"allowed": "the name of an ALSA PCM, or empty"})

Line = Annotated[int, Meta(ge=2, le=27)]
"""BCM number on the 40-pin header; 0 and 1 belong to the HAT's identification EEPROM."""

Url = Annotated[
    str,
    Meta(
        pattern="^(stun|stuns|turn|turns):[^/]",
        extra={"allowed": "a URL with stun:, stuns:, turn: or turns:"},
    ),
]
TurnUrl = Annotated[
    str,
    Meta(
        pattern="^turns?:[^/]",
        extra={"allowed": "a URL with turn: or turns:, as turn:turn.example:3478?transport=udp"},
    ),
]
_SECRET_FILE = Meta(
    pattern="^(/.+|[A-Za-z0-9_.-]*)$",
    extra={"allowed": "an absolute path, the name of a systemd credential, or empty"},
)
_Pattern = Annotated[
    str, Meta(pattern="^[^/\\s]{1,32}$", extra={"allowed": "an interface's name, * and ? stand for anything"})
]


VIRTUAL_INTERFACES = ("docker*", "veth*", "br-*", "virbr*", "lxc*", "lxdbr*", "podman*", "cni*", "flannel*")
"""Of containers and virtual machines on this machine: no peer is to be reached through them, and each costs checks."""


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables: immutable, every key with its default."""


class Station(Table, frozen=True):
    """Who this station is and where its hub is."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="The station's name, as shown by `intercomctl` and the journal.",
        ),
    ] = "station"
    hub_url: Annotated[
        str,
        Meta(
            pattern="^https?://[^/]",
            extra={"allowed": "a URL with https://, or http:// to this machine"},
            description="The hub's address. Plain http only to this machine, unless `allow_insecure`.",
        ),
    ] = "http://127.0.0.1:8080"
    token_file: Annotated[
        str,
        _PATH,
        Meta(description="File with the station's token, for its owner only; a credential `hub-token` wins."),
    ] = ""
    hub_ca_file: Annotated[
        str,
        _PATH,
        Meta(description="Certificate (PEM) that the hub's must be signed by, instead of the system's list."),
    ] = ""
    allow_insecure: Annotated[
        bool,
        Meta(description="Allow plain http to another machine: others can then read the token and listen in."),
    ] = False
    language: Annotated[Literal["en", "zh"], Meta(description="The residents' language.")] = "en"
    state_dir: Annotated[
        str, _FULL_PATH, Meta(description="Directory on flash for the call's state and unsent call records.")
    ] = "/var/lib/intercomd"
    control_socket: Annotated[
        str,
        _FULL_PATH,
        Meta(description="Socket for `intercomctl`. The environment's INTERCOMD_CONTROL wins."),
    ] = "/run/intercomd/control"
    trace_file: Annotated[
        str,
        _PATH,
        Meta(description="Where to log every step of the call logic for `intercomd replay`; empty: nowhere."),
    ] = ""


class Audio(Table, frozen=True):
    """The sound card, by ALSA names, and the voice codec."""

    speaker_pcm: Annotated[str, _PCM, Meta(description="Playback PCM of the loudspeaker; tones come out here too.")] = (
        "intercom_speaker"
    )
    microphone_pcm: Annotated[str, _PCM, Meta(description="Capture PCM of the hands-free microphone.")] = "intercom_mic"
    handset_pcm: Annotated[
        str, _PCM_OR_EMPTY, Meta(description="Playback PCM of the handset; empty: as `speaker_pcm`.")
    ] = ""
    handset_microphone_pcm: Annotated[
        str, _PCM_OR_EMPTY, Meta(description="Capture PCM of the handset; empty: as `microphone_pcm`.")
    ] = ""
    default_route: Annotated[
        Literal["speaker", "handset"],
        Meta(description="Where a call's voice comes out until the speaker button is pressed."),
    ] = "speaker"
    bitrate_bps: Annotated[
        int,
        Meta(
            ge=6000,
            le=64000,
            description="Opus bit rate of the near end's voice; from 36000 on losses are mended at full bandwidth. "
            "Where nothing is lost half as much again is sent, at most 72000; into a queue, less.",
        ),
    ] = 48000
    frame_ms: Annotated[
        Literal[20, 10, "auto"],
        Meta(
            description="Length of a packet of voice. 10: heard 10 ms sooner, for nearly 4 % of a core more and twice "
            "the packets. `auto`: 10 while nothing is lost, the round trip is below 20 ms, the peer takes it and the "
            "process uses less than a quarter of a core; else 20."
        ),
    ] = 20
    fec: Annotated[
        bool, Meta(description="In-band error correction: a lost packet is partly rebuilt from the next one.")
    ] = True
    dtx: Annotated[bool, Meta(description="Send almost nothing while nobody speaks.")] = False
    buffer_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=120,
            description="Receive buffer's depth. 0: it follows the network, as little as that allows; else fixed.",
        ),
    ] = 0
    processing: Annotated[
        Literal["auto", "livekit", "half-duplex", "none"],
        Meta(
            description="What is done to the microphone. `livekit`: echo cancellation and what follows here (needs the "
            "extra `voice`); `half-duplex`: whoever speaks first has the line; `none`: nothing, also of what follows. "
            "`auto`: `none` for a handset (`acoustic` in the board file) and for push-to-talk, which have no echo; for "
            "a speakerphone, which is of no use with one, `livekit` where it is installed, else `half-duplex`."
        ),
    ] = "auto"
    echo: Annotated[bool, Meta(description="Cancel the loudspeaker's echo.")] = True
    double_talk: Annotated[
        bool,
        Meta(description="While both ends speak, spare the near end by a second, linear canceller (1 % of a core)."),
    ] = True
    noise: Annotated[bool, Meta(description="Suppress steady noise.")] = True
    gain: Annotated[bool, Meta(description="Bring quiet and loud voices to one level.")] = True
    highpass: Annotated[bool, Meta(description="Cut what is below a voice: hum, wind, handling.")] = True
    chirp: Annotated[
        bool, Meta(description="Measure the echo's delay by a short chirp, at the first call on each route.")
    ] = True
    push_to_talk: Annotated[
        bool,
        Meta(
            description="The microphone is open, and the far end silent, only while the speaker button is held; with "
            "any `processing`."
        ),
    ] = False


class Panel(Table, frozen=True):
    """Buttons and LEDs. Without a board file, and for lines not named here: the bare Pi of `hw/`."""

    pin_factory: Annotated[
        Literal["auto", "lgpio", "mock", "none"],
        Meta(
            description="How lines are reached. `auto`: the environment's GPIOZERO_PIN_FACTORY, else lgpio; "
            "`mock`: simulated lines; `none`: no buttons and LEDs."
        ),
    ] = "auto"
    chip_label: Annotated[
        str,
        Meta(
            max_length=64,
            description="Label of the GPIO chip (`gpiodetect`); empty: the Raspberry Pi's header.",
        ),
    ] = ""
    board_file: Annotated[
        str,
        _PATH,
        Meta(description="Board file with the lines of each button and LED; empty: the built-in bare Pi."),
    ] = ""
    buttons: Annotated[
        dict[ButtonName, Line],
        Meta(description="Lines (BCM numbers) that differ from the board's, as `{ call = 17, hangup = 27 }`."),
    ] = {}
    leds: Annotated[
        dict[LedName, Line],
        Meta(description="The same for LEDs, as `{ ready = 5, microphone = 26 }`."),
    ] = {}
    outputs: Annotated[
        dict[OutputName, Line],
        Meta(description="The same for what the station switches, as `{ door = 12 }`: the relay of a door opener."),
    ] = {}
    door_open_s: Annotated[
        float,
        Meta(ge=0.2, le=30, description="For how long the door opener is switched on: it goes off by itself."),
    ] = 3.0
    remote_door: Annotated[
        Literal["always", "in_call", "never"],
        Meta(
            description="Whether the hub may have the door opened: `in_call` only while this station is in an answered "
            "call. At the hub nobody may until a rule says so, and without an output there is no door: so nothing more "
            "needs to be switched on here."
        ),
    ] = "always"
    debounce_ms: Annotated[
        int,
        Meta(ge=5, le=500, description="Further edges are ignored for this long after a button's first one."),
    ] = 50
    hold_s: Annotated[
        float, Meta(ge=1, le=30, description="Holding the hang-up button this long is an action of its own.")
    ] = 5.0


class Call(Table, frozen=True):
    """A call's time limits and its recovery."""

    peer: Annotated[
        str, Meta(max_length=128, description="Whom the call button calls: a station, a resident or a group.")
    ] = ""
    grace_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="How long a vanished other side, or this station's reboot, keeps a call.",
        ),
    ] = 120.0
    silent_s: Annotated[
        float, Meta(ge=0.2, le=10, description="No packet for this long: the call shows `reconnecting`.")
    ] = 1.0
    lost_s: Annotated[
        float,
        Meta(
            ge=0.5,
            le=30,
            description="No packet for this long: the connection is rebuilt. More than `silent_s`.",
        ),
    ] = 3.0
    attempts: Annotated[int, Meta(ge=1, le=10, description="Attempts to rebuild, while the other side is present.")] = 3
    connect_timeout_s: Annotated[float, Meta(ge=1, le=60, description="Limit for building one audio connection.")] = (
        10.0
    )
    retry_window_s: Annotated[
        float,
        Meta(
            ge=0,
            le=120,
            description="After a failed call, pressing again within this time calls the same one.",
        ),
    ] = 10.0
    setup_timeout_s: Annotated[float, Meta(ge=1, le=60, description="Limit for the hub to take a call.")] = 10.0
    card_wait_s: Annotated[float, Meta(ge=0, le=60, description="How long a call waits for the sound card.")] = 5.0
    restore: Annotated[bool, Meta(description="Restore a call after a restart or a power cut.")] = True
    auto_answer: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=128)]],
        Meta(
            max_length=64,
            description="Whose calls are answered without a person, by their names at the hub; empty: nobody's. They "
            "are announced by a tone, and end after 120 s unless somebody presses the call button.",
        ),
    ] = []
    auto_answer_after_s: Annotated[
        float, Meta(ge=2, le=60, description="For how long such a call is announced before the microphone opens.")
    ] = 4.0


class IceServer(Table, frozen=True):
    """One entry of `servers`."""

    urls: Annotated[list[Url], Meta(min_length=1, max_length=16, description="Its addresses; this key has no default.")]
    username: Annotated[str, Meta(max_length=512, description="User name, for TURN.")] = ""
    credential_file: Annotated[
        str,
        _SECRET_FILE,
        Meta(description="File with the TURN password, for its owner only, or a systemd credential's name."),
    ] = ""


class Ice(Table, frozen=True):
    """STUN and TURN servers, beside those that the hub issues."""

    servers: Annotated[
        list[IceServer], Meta(max_length=16, description="STUN and TURN servers; those that answer are used.")
    ] = []
    transport_policy: Annotated[
        Literal["all", "relay"],
        Meta(description="`relay`: only through TURN, so that addresses stay hidden."),
    ] = "all"
    interfaces: Annotated[
        list[_Pattern],
        Meta(max_length=16, description="Only addresses of these network interfaces are offered; empty: of all."),
    ] = []
    exclude_interfaces: Annotated[
        list[_Pattern],
        Meta(max_length=32, description="Addresses of these are not offered, while there are others."),
    ] = msgspec.field(default_factory=lambda: list(VIRTUAL_INTERFACES))
    allow_loopback: Annotated[
        bool, Meta(description="Offer loopback addresses too: for several stations on one machine.")
    ] = False
    gather_limit_s: Annotated[
        float,
        Meta(ge=0.1, le=10, description="Limit for gathering addresses; silent servers cost no more than this."),
    ] = 0.4
    probe_s: Annotated[
        float,
        Meta(ge=10, le=3600, description="Time between two looks at servers that answer; others are tried sooner."),
    ] = 60.0


class Hub(Table, frozen=True):
    """The hub, where this machine runs one."""

    listen: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="Address to listen on; `0.0.0.0` or `::` for all."),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0: any free one.")] = 8080
    tls_cert: Annotated[str, _PATH, Meta(description="Certificate chain (PEM).")] = ""
    tls_key: Annotated[str, _PATH, Meta(description="Its private key (PEM), not readable by everybody.")] = ""
    tls: Annotated[
        Literal["files", "local"],
        Meta(
            description="`local`: the hub makes an authority and a certificate of its own; stations trust it by being "
            "paired, phones by installing `/ca.crt`. `files`: `tls_cert`, or none."
        ),
    ] = "files"
    tls_dir: Annotated[
        str, _FULL_PATH, Meta(description="Where the hub's own authority, its certificate and their keys are kept.")
    ] = "/var/lib/intercomd-hub/tls"
    allow_insecure: Annotated[
        bool, Meta(description="Allow listening without TLS on other addresses than loopback.")
    ] = False
    database_url: Annotated[
        str,
        Meta(
            pattern="^(sqlite[+]aiosqlite:///.|postgresql[+]asyncpg://[^/]*/[^/])",
            extra={
                "allowed": "sqlite+aiosqlite:/// and a path (four slashes before an absolute one), or "
                "postgresql+asyncpg://USER@HOST/NAME"
            },
            description="Where calls, identities and records are kept: a file for one hub process, or a PostgreSQL "
            "that several share.",
        ),
    ] = "sqlite+aiosqlite:////var/lib/intercomd-hub/hub.db"
    database_password_file: Annotated[
        str,
        _SECRET_FILE,
        Meta(
            description="File with PostgreSQL's password, for its owner only; a credential `database-password` wins. "
            "Without it the one in the URL, if any."
        ),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            pattern="^(https?://[^/].*)?$",
            extra={"allowed": "a URL with https:// or http://, or empty"},
            description="The hub's address in residents' links; empty: made from `listen` and `port`.",
        ),
    ] = ""
    push_subject: Annotated[
        str,
        Meta(
            max_length=255,
            pattern="^((mailto:[^@ ]+@|https://)[^ ]+)?$",
            extra={"allowed": "mailto: and an address, or a URL with https://, or empty"},
            description="Whom the push services of browsers may write to. With it phones can ring while the page is "
            "closed: residents turn that on in the page, on each device. Empty: nothing is pushed.",
        ),
    ] = ""
    polling: Annotated[
        bool,
        Meta(
            description="Also serve clients that begin with HTTP long polling, as old ones do: each costs twice as "
            "much, and several processes then need a sticky proxy."
        ),
    ] = False
    proxies: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=64, extra={"allowed": "an address or a network"})]],
        Meta(
            max_length=16,
            description="Reverse proxies in front of the hub, by address or network: they are believed whom they name "
            "in `X-Forwarded-For`. Nobody else is.",
        ),
    ] = []
    turn_urls: Annotated[
        list[TurnUrl],
        Meta(max_length=8, description="TURN servers (coturn); credentials are made for each client."),
    ] = []
    turn_secret_file: Annotated[
        str,
        _SECRET_FILE,
        Meta(description="File with coturn's secret, for its owner only; a credential `turn-secret` wins."),
    ] = ""
    turn_lifetime_s: Annotated[
        int, Meta(ge=60, le=3600, description="Life of such credentials; clients renew them before half of it is over.")
    ] = 3600
    ring_timeout_s: Annotated[float, Meta(ge=1, le=600, description="How long a call rings.")] = 60.0
    queue_length: Annotated[
        int, Meta(ge=1, le=100, description="How many callers may wait for one name, where its busy policy is `queue`.")
    ] = 10
    queue_timeout_s: Annotated[
        float, Meta(ge=1, le=3600, description="How long a caller waits in such a queue before it hears busy.")
    ] = 300.0
    talk_limit_s: Annotated[
        float,
        Meta(
            ge=0,
            le=14400,
            description="How long a talk may last; both are warned 30 s before and may prolong it by as much. "
            "0: four hours, without a warning.",
        ),
    ] = 0.0
    time_zone: Annotated[
        str,
        Meta(
            max_length=64,
            pattern="^([A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*)?$",
            extra={"allowed": "a name of the time zone database like Europe/Vienna, or empty"},
            description="The estate's time zone, for quiet hours; empty: this machine's.",
        ),
    ] = ""
    grace_s: Annotated[float, Meta(ge=1, le=3600, description="How long a vanished participant keeps its call.")] = (
        120.0
    )
    heartbeat_s: Annotated[float, Meta(ge=0.5, le=60, description="Time between heartbeats to each client.")] = 5.0
    retention_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36_500,
            description="Call records, their figures and door openings are deleted when they are older; 0: never.",
        ),
    ] = 0
    metrics_token_file: Annotated[
        str,
        _SECRET_FILE,
        Meta(
            description="File with the token that Prometheus shows for `/metrics`, for its owner only; a credential "
            "`metrics-token` wins. Without it only programs of this machine may ask."
        ),
    ] = ""

    @property
    def uses_tls(self) -> bool:
        """Whether the hub itself speaks TLS; a proxy before it may in any case."""
        return bool(self.tls_cert) or self.tls == "local"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. A missing table is its defaults."""

    station: Station = Station()
    audio: Audio = Audio()
    panel: Panel = Panel()
    call: Call = Call()
    ice: Ice = Ice()
    hub: Hub = Hub()
