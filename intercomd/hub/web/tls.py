"""How the hub speaks TLS: with the operator's certificate files, or with those of an authority of its own, which it
renews while it runs. Without TLS only on loopback, unless the operator says otherwise: tokens and the keys of every
voice would cross the network in the clear."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from intercomd.config import Hub
from intercomd.config.crosschecks import is_loopback
from intercomd.errors import ErrorCode
from intercomd.hub.web import authority
from intercomd.hub.web.authority import Authority, AuthorityError, Files
from intercomd.ports import Journal

LOOK_EVERY_S: Final = 3600.0


class TlsError(Exception):
    """The hub cannot speak TLS as configured; the text says why and what to do."""


class Tls:
    """`run()` must be running where the certificate is the hub's own."""

    def __init__(self, settings: Hub, now_s: Callable[[], float], journal: Journal) -> None:
        self._settings = settings
        self._now_s = now_s
        self._journal = journal
        self._files = Files(Path(settings.tls_dir))
        self._context: ssl.SSLContext | None = None

    def open(self, shown: Authority) -> ssl.SSLContext | None:
        """The context to listen with, None for plain HTTP; what is to be trusted goes to `shown`. Raises `TlsError`."""
        settings = self._settings
        if not settings.uses_tls:
            if not is_loopback(settings.listen) and not settings.allow_insecure:
                raise TlsError(
                    f"hub.listen {settings.listen}: without TLS the hub listens on loopback only; set "
                    'hub.tls = "local", hub.tls_cert and hub.tls_key, or hub.allow_insecure = true'
                )
            return None
        try:
            self._prepare()
            self._context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._load()
            shown.take(self._certificate)
        except AuthorityError as error:
            raise TlsError(str(error)) from error
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"hub.tls_cert {self._certificate}: {error}") from error
        return context

    async def run(self) -> None:
        """Look every hour whether the certificate is to be renewed, for ever. Who connects from then on gets the new
        one; nobody is disconnected, and nobody has to trust anything new."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Once. What fails is told, and tried again in an hour: the present certificate still serves."""
        if self._context is None or self._settings.tls != "local":
            return
        try:
            if self._prepare():
                self._load()
        except (AuthorityError, OSError, ssl.SSLError) as error:
            self._journal.report(ErrorCode.CERTIFICATE_NOT_RENEWED, REASON=str(error))

    @property
    def _certificate(self) -> Path:
        return self._files.certificate if self._settings.tls == "local" else Path(self._settings.tls_cert)

    def _prepare(self) -> bool:
        if self._settings.tls != "local":
            return False
        names = authority.names_of(self._settings)
        made = authority.prepare(self._files, names, authority.as_datetime(self._now_s()))
        if made:
            text = f"The hub has made its certificate anew, for {', '.join(names)}."
            self._journal.report(ErrorCode.CERTIFICATE_MADE, text)
        return made

    def _load(self) -> None:
        assert self._context is not None
        key = self._files.key if self._settings.tls == "local" else self._settings.tls_key or None
        self._context.load_cert_chain(self._certificate, key)
