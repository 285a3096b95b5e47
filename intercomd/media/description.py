"""Session descriptions and candidates of a peer, made safe for aiortc. Pure text work (RFC 8866, RFC 8839).

One odd candidate makes aiortc refuse a whole description, a `.local` name that nobody answers blocks it for a second,
and when only such names are there, an end-of-candidates leaves it waiting for ever (it drops the component). So only
candidates that it can use pass, and the end is only told where nothing was left out: a browser that hides its addresses
is then found by the checks that it sends itself (peer-reflexive, RFC 8445 section 7.3.1.3).
"""

import ipaddress
import re
from dataclasses import dataclass

MAX_CANDIDATES = 32
"""Each candidate is paired with each of ours and checked; honest peers have a dozen."""

_CANDIDATE = "a=candidate:"
_END = "a=end-of-candidates"
_TYPES = ("host", "srflx", "relay")
_OPUS = re.compile(r"a=rtpmap:\d+ opus/48000", re.IGNORECASE)
_OPUS_TYPES = re.compile(r"^a=rtpmap:(\d+) opus/48000", re.IGNORECASE | re.MULTILINE)
_PARAMETERS = re.compile(r"^a=fmtp:(\d+) ([^\r\n]*)", re.MULTILINE)
_SHORTEST = re.compile(r"(?:^|;)\s*minptime=(\d{1,3})\s*(?:;|$)", re.IGNORECASE)
_PREFERRED = re.compile(r"^a=ptime:(\d{1,3})\s*$", re.MULTILINE)
_REQUIRED = (
    (re.compile(r"m=audio "), "no audio section"),
    (_OPUS, "no Opus in it"),
    (re.compile(r"a=ice-ufrag:\S"), "no ICE user fragment"),
    (re.compile(r"a=ice-pwd:\S"), "no ICE password"),
    (re.compile(r"a=fingerprint:sha-(256|384|512) \S", re.IGNORECASE), "no SHA-2 fingerprint"),
    (re.compile(r"a=setup:"), "no DTLS role"),
)


class DescriptionError(ValueError):
    """A description that cannot lead to a call. The text says what it lacks; it never repeats any of it."""


@dataclass(frozen=True, slots=True)
class Sanitised:
    """`ended`: no further candidates are awaited; `left_out`: candidates that were not usable."""

    sdp: str
    ended: bool
    left_out: int


def usable(candidate: str) -> bool:
    """Whether a candidate (with or without `candidate:` before it) is one that aioice can check: UDP, component 1, a
    literal address."""
    parts = candidate.strip().removeprefix("a=").removeprefix("candidate:").split()
    if len(parts) < 8 or parts[1] != "1" or parts[2].lower() != "udp" or parts[6] != "typ":
        return False
    return parts[7] in _TYPES and _literal(parts[4]) and _whole(parts[3], 2**31) and _whole(parts[5], 65536)


def _literal(address: str) -> bool:
    try:
        return ipaddress.ip_address(address) is not None and "%" not in address
    except ValueError:
        return False


def _whole(digits: str, below: int) -> bool:
    return digits.isascii() and digits.isdigit() and 0 < int(digits[:12]) < below


def sanitised(sdp: str) -> Sanitised:
    """The description with only usable candidates, the first 32 of them. Raises `DescriptionError`."""
    lines = sdp.splitlines()
    for pattern, lack in _REQUIRED:
        if not any(pattern.match(line) for line in lines):
            raise DescriptionError(f"the peer's description has {lack}")
    candidates = [line for line in lines if line.startswith(_CANDIDATE)]
    kept = {line for line in candidates if usable(line)}
    kept = set(list(dict.fromkeys(line for line in candidates if line in kept))[:MAX_CANDIDATES])
    left_out = sum(line not in kept for line in candidates)
    ended = any(line.startswith(_END) for line in lines) and bool(kept) and not left_out
    passing = [
        line for line in lines
        if not (line.startswith(_CANDIDATE) and line not in kept) and (ended or not line.startswith(_END))
    ]  # fmt: skip
    return Sanitised("\r\n".join(passing) + "\r\n", ended, left_out)


def takes_short_packets(sdp: str, packet_ms: int = 10) -> bool:
    """Whether the peer says of its Opus that packets of `packet_ms` are welcome (RFC 7587 section 6.1: `minptime`).
    Who says nothing is left with the usual 20 ms: any decoder could take less, its buffer may count in packets."""
    types = set(_OPUS_TYPES.findall(sdp))
    shortest = [
        int(found[1]) for kind, parameters in _PARAMETERS.findall(sdp)
        if kind in types and (found := _SHORTEST.search(parameters))
    ]  # fmt: skip
    preferred = _PREFERRED.search(sdp)
    return bool(shortest) and max(shortest) <= packet_ms and (preferred is None or int(preferred[1]) <= packet_ms)
