"""The page's files as they are served: named by their content and compressed when the hub starts.

A file's name holds the hash of what is in it, so it may be kept for ever, by a CDN too; only the index, which knows the
names, is asked for each time.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from intercomd.hub.web.bundle import bundle, lean, read

FOLDER: Final = Path(__file__).parent.parent / "page"
PREFIX: Final = "/page/"
ENTRIES: Final = ("main.js", "adminmain.js")
WORKER: Final = "sw.js"
_TYPES: Final = {
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "html": "text/html",
    "webmanifest": "application/manifest+json",
}
_HASH_CHARS: Final = 16
_REFERENCES: Final = re.compile(r'\b(href=|src=|"src": )"([\w.-]+\.(?:js|css|svg|webmanifest))"')
_SOURCE_MAP: Final = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asset:
    """What is sent; `packed` is the same through gzip."""

    type: str
    body: bytes
    packed: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """`index` is the residents', `administration` the administrators'; `files` of both by path. `worker`, which
    browsers run for push messages, has no hash: they know it by its address and look whether it has changed."""

    index: Asset
    administration: Asset
    worker: Asset
    files: Mapping[str, Asset]


def load(folder: Path = FOLDER) -> Page:
    """Read the page and put it together. Raises `bundle.PageError`."""
    files: dict[str, Asset] = {}

    def publish(name: str, text: str) -> str:
        asset = _asset(name, text)
        path = hashed(name, asset.body)
        files[path] = asset
        return path

    def vendored(source: str) -> str:
        # The map is not shipped, and a browser with open tools would ask for it.
        return publish(source.rpartition("/")[2], _SOURCE_MAP.sub("", read(folder / source)))

    def renamed(text: str) -> str:
        """What this text refers to, by its hashed name."""
        return _REFERENCES.sub(lambda found: f'{found[1]}"{publish(found[2], served(found[2]))}"', text)

    def served(name: str) -> str:
        if name in ENTRIES:
            return bundle(folder, name, vendored)
        text = read(folder / name)
        return lean(text) if name.endswith(".css") else renamed(text)

    def index(name: str) -> Asset:
        return _asset(name, renamed(read(folder / name)))

    return Page(index("index.html"), index("admin.html"), _asset(WORKER, read(folder / WORKER)), files)


def hashed(name: str, body: bytes) -> str:
    """Where a file of this name and content is served."""
    stem, _, suffix = name.rpartition(".")
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest())[:_HASH_CHARS].decode()
    return f"{PREFIX}{stem}.{digest}.{suffix}"


def _asset(name: str, text: str) -> Asset:
    body = text.encode()
    # mtime=0: the same page is the same bytes after every restart.
    return Asset(_TYPES[name.rpartition(".")[2]], body, gzip.compress(body, 9, mtime=0))
