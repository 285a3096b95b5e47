"""Every condition that a technician may meet, under one name each.

An `ErrorCode` has a symbolic name, a fixed 128-bit MESSAGE_ID for the journal, a priority (syslog), the resident's
`ErrorKind` where a call fails by it, the remedy's class, one sentence that says what happened and one that says what
to do. `systemd/intercomd.catalog` carries the same ids; a test compares them. Codes with `Remedy.NONE` are milestones,
not faults.
"""

import uuid
from dataclasses import dataclass
from enum import Enum, StrEnum

_NAMESPACE = uuid.UUID("5c1a0f0e-6d5b-4b53-9c39-2a9f3c7d1e40")
"""MESSAGE_IDs are derived from the names (RFC 4122 version 5), so they never change unless a name does."""


class ErrorKind(StrEnum):
    """The five kinds that residents are told about, by the seed guide's names."""

    NOT_ALLOWED = "NotAllowedError"
    NOT_FOUND = "NotFoundError"
    NETWORK = "NetworkError"
    TIMEOUT = "TimeoutError"
    UNKNOWN = "UnknownError"


class Remedy(StrEnum):
    """Grouped by what the daemon does about it."""

    NONE = "none"
    RETRY = "retry"
    DEGRADE = "degrade"
    EXIT = "exit"


class Priority(int, Enum):
    """syslog(3)."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@dataclass(frozen=True, slots=True)
class Condition:
    priority: Priority
    remedy: Remedy
    text: str
    advice: str = ""
    kind: ErrorKind | None = None


_E, _W, _N, _I = Priority.ERROR, Priority.WARNING, Priority.NOTICE, Priority.INFO


# fmt: off
class ErrorCode(Enum):
    """`ErrorCode.CARD_MISSING.value` is the `Condition`; `.message_id` the journal's id."""

    STATION_STARTED = Condition(_I, Remedy.NONE, "The station has started.")
    STATION_READY = Condition(_N, Remedy.NONE, "The station is registered at the hub and its sound card is open.")
    STATION_STOPPED = Condition(_I, Remedy.NONE, "The station was told to stop.")
    HUB_STARTED = Condition(_N, Remedy.NONE, "The hub accepts connections.")
    HUB_STOPPED = Condition(_I, Remedy.NONE, "The hub was told to stop.")
    CALL_DIALLED = Condition(_I, Remedy.NONE, "A call was started here.")
    CALL_RANG = Condition(_I, Remedy.NONE, "A call rings here.")
    CALL_ANSWERED = Condition(_I, Remedy.NONE, "A call was answered.")
    CALL_AUTO_ANSWERED = Condition(
        _N, Remedy.NONE, "A call was answered without a person: its caller is on the list.")
    CALL_AUTO_ENDED = Condition(
        _N, Remedy.NONE, "A call that no person had answered came to its time limit.")
    CALL_CONNECTED = Condition(_N, Remedy.NONE, "Audio flows both ways.")
    CALL_RECONNECTING = Condition(
        _W, Remedy.RETRY, "The call's audio stopped; the station rebuilds the connection.",
        "Look at the link of both stations: Wi-Fi level, switch port, loss and jitter of the call.")
    CALL_RESTORED = Condition(_N, Remedy.NONE, "A call that was up before the restart is being restored.")
    CALL_NOT_RESTORED = Condition(
        _W, Remedy.NONE, "A call that was up before the restart is over.",
        "Nothing to do: the other side had gone, or the restart took longer than the grace.")
    CALL_ENDED = Condition(_N, Remedy.NONE, "The call is over.")
    CALL_FAILED = Condition(
        _W, Remedy.RETRY, "The call failed.",
        "Press the call button again within 10 seconds to retry; REASON says why it failed.", ErrorKind.UNKNOWN)
    CALLEE_OFFLINE = Condition(
        _W, Remedy.RETRY, "The called station is not connected to the hub.",
        "Check its power and its network; `intercomd hub list` shows who is connected.", ErrorKind.NETWORK)
    CALLEE_BUSY = Condition(
        _N, Remedy.RETRY, "The called station is in another call.", "Try again later.", ErrorKind.UNKNOWN)
    CALL_REJECTED = Condition(_N, Remedy.RETRY, "The called side declined.", "Try again later.")
    PEER_NOT_CONFIGURED = Condition(
        _W, Remedy.RETRY, "The call button was pressed, but nobody is configured to be called.",
        "Set [call] peer to the name of a station or a group.", ErrorKind.UNKNOWN)
    CALL_NOT_ALLOWED = Condition(
        _W, Remedy.RETRY, "The hub does not allow this call.",
        "Check who may call whom at the hub, and that the called name exists.", ErrorKind.NOT_ALLOWED)
    RING_TIMEOUT = Condition(
        _N, Remedy.RETRY, "Nobody answered in time.", "Try again later, or ring a group.", ErrorKind.TIMEOUT)
    PEER_LOST = Condition(
        _W, Remedy.RETRY, "The other side vanished and did not come back within the grace.",
        "Check the other station's power and network.", ErrorKind.NETWORK)
    MEDIA_FAILED = Condition(
        _W, Remedy.RETRY, "No audio connection could be built in three attempts.",
        "Check that UDP passes between the stations, or configure a TURN server.", ErrorKind.NETWORK)
    SETUP_TIMEOUT = Condition(
        _W, Remedy.RETRY, "The hub did not take the call in time.",
        "Check the hub's load and the network to it.", ErrorKind.TIMEOUT)
    CARD_MISSING = Condition(
        _E, Remedy.RETRY, "The sound card is missing.",
        "Check the cable; compare `aplay -L` with the [audio] table of the configuration. The station goes on trying.",
        ErrorKind.NOT_FOUND)
    CARD_BUSY = Condition(
        _E, Remedy.RETRY, "The sound card is in use by another program.",
        "End the program that holds it (REASON names it where it is known). The station goes on trying.",
        ErrorKind.NOT_ALLOWED)
    CARD_DENIED = Condition(
        _E, Remedy.RETRY, "The station may not open the sound card.",
        "Put the station's user into the group `audio`, or check the unit's DeviceAllow.", ErrorKind.NOT_ALLOWED)
    CARD_VANISHED = Condition(
        _E, Remedy.RETRY, "The sound card went away while it was in use.",
        "Check its cable and power. The station opens it again when it is back.", ErrorKind.NOT_FOUND)
    CARD_READY = Condition(_N, Remedy.NONE, "The sound card is open.")
    XRUN = Condition(
        _I, Remedy.DEGRADE, "The sound card ran empty or over.", "If it is frequent, look for a busy processor.")
    NO_CANCELLER = Condition(
        _W, Remedy.DEGRADE, "The echo canceller cannot be used: calls are half duplex.",
        "REASON says why. Install it (pip install 'intercomd[voice]'), or set [audio] processing to half-duplex.")
    ECHO_LEFT = Condition(
        _N, Remedy.DEGRADE, "The echo canceller leaves too much echo: the call is half duplex.",
        "Turn the loudspeaker down or move the microphone away from it. [audio] processing = \"half-duplex\" keeps it.")
    GPIO_MISSING = Condition(
        _E, Remedy.DEGRADE, "The GPIO chip or the pin library is missing: buttons and LEDs do not work.",
        "Check [panel] pin_factory, and that the station's user is in the group `gpio`.")
    GPIO_BUSY = Condition(
        _E, Remedy.DEGRADE, "A GPIO line is held by another program: this button or LED does not work.",
        "`gpioinfo` names the holder; end it or choose another line in [panel].")
    DOOR_OPENED = Condition(_N, Remedy.NONE, "The door opener was switched on; it goes off by itself.")
    DOOR_STUCK = Condition(
        _E, Remedy.NONE, "The door opener could not be switched on.",
        "REASON says why. Check the line in [panel] outputs or the board file, and its wiring (hw/README.md).",
        ErrorKind.NOT_FOUND)
    DOOR_REFUSED = Condition(
        _W, Remedy.NONE, "The door was to be opened and was not.",
        "REASON says why. Rights stand at the hub, [panel] remote_door at the station. What came too late is not done "
        "later: ask again.", ErrorKind.NOT_ALLOWED)
    HUB_UNREACHABLE = Condition(
        _W, Remedy.RETRY, "The hub cannot be reached; the station goes on trying.",
        "Check [station] hub_url, the network, and that the hub runs. REASON says how it failed.", ErrorKind.NETWORK)
    HUB_GIVING_NO_ANSWER = Condition(
        _W, Remedy.RETRY, "Five attempts to reach the hub failed; the error LED says so, attempts continue.",
        "Check [station] hub_url, the network, and that the hub runs.", ErrorKind.NETWORK)
    HUB_REFUSED = Condition(
        _E, Remedy.RETRY, "The hub refused this station.",
        "Its token is wrong or revoked: `intercomd hub add-station NAME` prints a new one.")
    HUB_LOST = Condition(_W, Remedy.RETRY, "The connection to the hub broke; a running call goes on.",
        "Nothing to do if it comes back; else check the network and the hub.", ErrorKind.NETWORK)
    NETWORK_CHANGED = Condition(_I, Remedy.NONE, "The network under the station has changed.")
    NETWORK_UNWATCHED = Condition(
        _W, Remedy.DEGRADE, "The kernel tells nothing of changes of the network: they are found by time-outs.",
        "Allow AF_NETLINK in the unit's RestrictAddressFamilies.")
    CLOCK_WRONG = Condition(
        _E, Remedy.RETRY, "The clock is wrong: the hub's certificate is not valid at that time.",
        "Let the clock be set by a time server (NTP), or set it; the station tries again as soon as it was. "
        "REASON says what time it has.", ErrorKind.NETWORK)
    CLOCK_SET = Condition(_I, Remedy.NONE, "The station goes by the hub's time; REASON says how far off its clock is.")
    CLIENT_CONNECTED = Condition(_I, Remedy.NONE, "A client is connected to the hub.")
    CLIENT_GONE = Condition(_I, Remedy.NONE, "A client's connection to the hub is gone.")
    CLIENT_REFUSED = Condition(
        _W, Remedy.RETRY, "The hub refused a client.",
        "REASON says why. A wrong token: `intercomd hub add-station NAME` or `invite NAME` prints a new one.")
    HUB_NOT_SET_UP = Condition(
        _N, Remedy.NONE, "The hub has no administrator yet.",
        "`intercomd hub set-up`, as the hub's user, prints a link with which the first one chooses a password.")
    ADMINISTRATOR_SIGNED_IN = Condition(_N, Remedy.NONE, "An administrator signed in.")
    ADMINISTRATOR_REFUSED = Condition(
        _W, Remedy.RETRY, "Somebody tried to administer the hub and was refused.",
        "REASON says why, NETWORK from where. A forgotten password: `intercomd hub reset-admin NAME` prints a link.")
    ADMINISTERED = Condition(_N, Remedy.NONE, "An administrator changed something.")
    STATION_PAIRED = Condition(_N, Remedy.NONE, "A station has got its token by pairing.")
    PAIRING_REFUSED = Condition(
        _W, Remedy.RETRY, "A station could not be paired.",
        "REASON says why. Codes work once and for a limited time: make a new one on the hub's page.")
    CERTIFICATE_MADE = Condition(_N, Remedy.NONE, "The hub has made its certificate anew.")
    CERTIFICATE_NOT_RENEWED = Condition(
        _E, Remedy.RETRY, "The hub's certificate cannot be renewed.",
        "REASON says why. The hub's user must own the files of [hub] tls_dir; it is tried again every hour.")
    ICE_SERVER_UNREACHABLE = Condition(
        _W, Remedy.DEGRADE, "A STUN or TURN server cannot be used; calls do without it.",
        "REASON names it and says why. Check that it runs, and that its ports pass the firewall; it is tried again.")
    ICE_CREDENTIALS_REFUSED = Condition(
        _W, Remedy.DEGRADE, "A TURN server refuses the credentials; calls do without it.",
        "REASON names it. From [ice]: renew username and credential_file. Issued by the hub: its turn_secret_file must "
        "hold the server's static-auth-secret, and both clocks must be right.")
    ICE_SERVER_UNSUPPORTED = Condition(
        _W, Remedy.DEGRADE, "A STUN or TURN server has a URL that this station cannot use.",
        "Use stun:, turn: (UDP or TCP) or turns: (TLS) with a name or an IPv4 address.")
    ICE_SERVER_BACK = Condition(_N, Remedy.NONE, "A STUN or TURN server that could not be used works again.")
    BAD_MESSAGE = Condition(
        _W, Remedy.DEGRADE, "A message of the wrong shape was dropped.",
        "Both ends must run versions that speak the same protocol; REASON says what was wrong.")
    RECORDS_WAITING = Condition(
        _N, Remedy.RETRY, "The hub takes no call records at the moment; they wait here and are offered again.",
        "None, if it passes; REASON is the hub's answer. If it comes back: the hub's journal says why.")
    STORE_QUARANTINED = Condition(
        _E, Remedy.DEGRADE, "The state file could not be read; it was set aside and a new one was begun.",
        "A call from before the restart is not restored. Look at the storage device if it happens again.")
    STORE_FAILING = Condition(
        _E, Remedy.DEGRADE, "The state cannot be written in time: a restart would lose the call.",
        "Free space on the state directory, or replace the storage device.")
    STORE_RECOVERED = Condition(_N, Remedy.NONE, "The state is written again.")
    SEAM_BROKEN = Condition(
        _E, Remedy.DEGRADE, "This aiortc has no receive hook: its own audio buffer is used, calls have more latency.",
        "Install the aiortc version that pyproject.toml names.")
    CONFIG_INVALID = Condition(
        _E, Remedy.EXIT, "The configuration has mistakes; the daemon does not start.",
        "`intercomd check-config FILE` names every mistake at once.")
    INTERNAL = Condition(
        _E, Remedy.EXIT, "A part of the daemon failed in a way that it must not; it restarts.",
        "Report STACK to the makers.", ErrorKind.UNKNOWN)

    # fmt: on
    @property
    def message_id(self) -> uuid.UUID:
        """The journal's MESSAGE_ID."""
        return uuid.uuid5(_NAMESPACE, self.name)
