"""What watches every page in these tests: nothing goes wrong unseen, and every word on the wire is the protocol's."""

import json
import re
from typing import Any

import msgspec
from playwright.async_api import BrowserContext, ConsoleMessage, Page, WebSocket

from intercomd.core.protocol import HUB_HEARTBEAT_EVENT, NOTICES, REQUESTS
from intercomd.core.vocabulary import BadMessage, Struct, decode

_EVENT = re.compile(r"42\d*(\[.*)", re.DOTALL)
_WATCH = """window.asked = 0;
const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (ask) navigator.mediaDevices.getUserMedia = (wish) => { window.asked += 1; return ask(wish); };
window.phases = [];
new MutationObserver((changes) => changes.filter(({ target }) => target.id === "call").forEach((change) =>
  window.phases.push(change.oldValue))
).observe(document, { subtree: true, attributeFilter: ["data-phase"], attributeOldValue: true });
document.addEventListener("securitypolicyviolation",
  (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));"""


class Witness:
    """Of browser contexts. `complaints` must be empty at the end of a test; `said` is what the pages sent. In a page,
    `window.asked` counts how often the browser was asked for the microphone, `window.phases` are those a call left."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.excused: list[str] = []
        """Beginnings of console errors that a test provokes: a browser reports each refused request."""

    async def watch(self, context: BrowserContext) -> None:
        await context.add_init_script(_WATCH)
        context.on("page", self._watch_page)
        for page in context.pages:
            self._watch_page(page)

    def names(self, *wanted: str) -> list[str]:
        """The requests among these, in their order."""
        return [name for name, _ in self.said if name in wanted]

    def _watch_page(self, page: Page) -> None:
        page.on("console", self._hear_console)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("websocket", self._watch_socket)

    def _hear_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(message.text.startswith(start) for start in self.excused):
            self.complaints.append(f"console: {message.text}")

    def _watch_socket(self, socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: self._hear(frame, REQUESTS, is_request=True))
        socket.on("framereceived", lambda frame: self._hear(frame, NOTICES, is_request=False))

    def _hear(self, frame: str | bytes, kinds: Any, *, is_request: bool) -> None:
        found = _EVENT.match(frame) if isinstance(frame, str) else None
        if found is None:
            return
        name, payload, *rest = json.loads(found[1])
        if is_request:
            self.said.append((name, payload))
        elif name == HUB_HEARTBEAT_EVENT:
            return
        if name not in kinds or rest:
            self.complaints.append(f"not of the protocol: {name}")
            return
        self._check(name, kinds[name], payload)

    def _check(self, name: str, kind: type[Struct], payload: dict[str, Any]) -> None:
        try:
            decode(kind, payload)
        except BadMessage as error:
            self.complaints.append(f"{name}: {error}")
        known = {field.encode_name for field in msgspec.structs.fields(kind)}
        for field in payload.keys() - known:
            self.complaints.append(f"{name}: the protocol has no field {field}")
