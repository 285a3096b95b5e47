"""Whom a station takes for its hub, also while its clock is wrong.

OpenSSL judges a certificate's time by the machine's clock, and Python cannot give it another one. A Pi starts years in
the past, so its hub's certificate is "not yet valid", and there is no link that could bring the time; or it is set
in the middle of a call. Where the wall clock is wrong beyond doubt (before a time that has been; far from what the hub
itself said a while ago), and only with a pinned authority, OpenSSL is told to leave the time out, everything else stays
(chain, name), and the certificate's life is compared with the better time. Of a time that is only a lower bound, the
beginning needs no look: who has signed it has lived then. Without a pinned authority the attempt fails, and its cause
is named.
"""

import functools
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, <openssl/x509_vfy.h> since 1.1.0; Python's enumeration does not name it."""
_NOT_YET_VALID, _EXPIRED = 9, 10
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED."""


TOLERANCE_S = 3600.0
"""Clocks that differ by less are both right enough for certificates."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the time without the machine's clock: the time itself (`exact`), or one that has been."""

    at_s: float
    exact: bool = False

    def contradicts(self, wall_s: float) -> bool:
        """Whether a wall clock that says `wall_s` is wrong beyond doubt."""
        return abs(wall_s - self.at_s) > TOLERANCE_S if self.exact else wall_s < self.at_s


NOTHING_KNOWN = Known(0.0)


@dataclass(frozen=True, slots=True)
class Trust:
    """How the next connection is verified. `known` is None where OpenSSL judges the time."""

    tls: ssl.SSLContext
    known: Known | None = None

    def check(self, certificate: dict[str, Any]) -> None:
        """What OpenSSL has left out. `certificate` is as `getpeercert` gives it. Raises `ssl.SSLError`."""
        if self.known is None:
            return
        begins_s, ends_s = (ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter"))
        if ends_s < self.known.at_s:
            raise ssl.SSLError(f"the hub's certificate has ended on {_day(ends_s)}; renew it")
        if self.known.exact and begins_s > self.known.at_s + TOLERANCE_S:
            raise ssl.SSLError(f"the hub's certificate begins on {_day(begins_s)}")


def trust(ca_file: Path | None, known: Known, wall_s: float) -> Trust:
    """With a file, its authority and no other; without, the system's. Raises OSError, ValueError for a bad file."""
    if ca_file is None:
        return Trust(_system())
    try:
        tls = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(ca_file)) from error
    if not known.contradicts(wall_s):
        return Trust(tls)
    tls.verify_flags |= _NO_CHECK_TIME
    return Trust(tls, known)


@functools.cache
def _system() -> ssl.SSLContext:
    """Read once: it takes 60 ms, in which no packet of a call would be sent."""
    return ssl.create_default_context()


def is_about_time(error: ssl.SSLCertVerificationError) -> bool:
    """Whether the clock may be at fault: the certificate's life has not begun, or is over."""
    return error.verify_code in (_NOT_YET_VALID, _EXPIRED)


def time_words(error: ssl.SSLCertVerificationError, wall_s: float) -> str:
    """For a certificate that is refused for its time."""
    if error.verify_code == _NOT_YET_VALID:
        return f"the hub's certificate is not valid yet by this station's clock, which says {_day(wall_s)}"
    return f"the hub's certificate has expired, or this station's clock is wrong: it says {_day(wall_s)}"


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))
