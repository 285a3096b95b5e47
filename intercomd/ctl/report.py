"""A status in a person's words: a short table, or one line for `watch`. Fields that a daemon of another version leaves
out are left out here; names from the wire never reach the terminal with control characters in them."""

from collections.abc import Iterator, Mapping
from typing import Any
from unicodedata import east_asian_width

from intercomd.texts import Language, text

Status = Mapping[str, Any]


def table(status: Status, language: Language, now_s: float) -> str:
    """The status as lines of label and value, the phase above them. `now_s` is Unix time."""
    rows = [(text(f"ctl.{label}", language), value) for label, value in _rows(status, language, now_s) if value]
    width = max(map(_columns, (label for label, _ in rows)), default=0)
    lines = [f"{label}{' ' * (width - _columns(label))}  {value}" for label, value in rows]
    return "\n".join([_headline(status, language), *lines])


def line(status: Status, language: Language) -> str:
    """What a watcher wants to see change: phase, peer, link, card, lit LEDs, route, fault."""
    peer = _peer(part(status, "call"))
    link = part(status, "link").get("state", "")
    card = part(status, "audio").get("card", "")
    parts = [
        _phase(status, language),
        peer,
        f"{text('ctl.hub', language)}: {_word('link', link, language)}" if link else "",
        f"{text('ctl.card', language)}: {_word('card', card, language)}" if card not in ("", "ready") else "",
        _word("route", part(status, "audio").get("route", ""), language) if peer else "",
        _labels(part(status, "panel").get("leds"), "led", language),
        _in_language(part(status, "error").get("text"), language),
    ]
    return " · ".join(part for part in parts if part)


def _headline(status: Status, language: Language) -> str:
    names = (printable(status.get("name", "")), _phase(status, language))
    return " · ".join(name for name in names if name)


def _rows(status: Status, language: Language, now_s: float) -> Iterator[tuple[str, str]]:
    audio, panel = part(status, "audio"), part(status, "panel")
    yield "call", _call(part(status, "call"), language, now_s)
    yield "hub", _link(part(status, "link"), language)
    yield "servers", _servers(part(status, "ice").get("servers"), language)
    yield "card", _card(audio, language)
    yield "microphone", _stream(part(audio, "capture"), language)
    yield "speaker", _stream(part(audio, "playout"), language)
    yield "route", _word("route", audio.get("route", ""), language)
    yield "volume", _volumes(part(audio, "volumes"), language)
    quality = part(status, "quality")
    yield "score", _score(quality, language)
    yield "quality", _quality(quality, language)
    yield "received", _received(quality, language)
    yield "engine", _engine(quality, language)
    yield "leds", _labels(panel.get("leds"), "led", language)
    yield "buttons", _labels(panel.get("buttons"), "button", language)
    yield "outputs", _labels(panel.get("outputs"), "output", language)
    yield "store", _word("store", part(status, "store").get("state", ""), language)
    yield "error", _in_language(part(status, "error").get("text"), language)
    yield "advice", known(f"advice.{part(status, 'error').get('code')}", "", language)


def _phase(status: Status, language: Language) -> str:
    return _in_language(status.get("text"), language) or printable(status.get("phase", "?"))


def _call(call: Status, language: Language, now_s: float) -> str:
    if not call:
        return text("ctl.none", language)
    since = call.get("since")
    duration = _duration(now_s - since) if isinstance(since, int | float) else "?"
    return text("ctl.with", language).format(peer=_peer(call), duration=duration)


def _peer(call: Status) -> str:
    return printable(call.get("peerName") or call.get("peer") or "?") if call else ""


def _link(link: Status, language: Language) -> str:
    state, age_s = _word("link", link.get("state", ""), language), link.get("age_s")
    if not isinstance(age_s, int | float):
        return state
    return f"{state}, {text('ctl.heard', language).format(age=f'{age_s:.0f} s')}"


def _servers(servers: Any, language: Language) -> str:
    """STUN and TURN: each with its state, and those that the next call gets marked."""
    if not isinstance(servers, list):
        return ""
    shown = []
    for server in servers:
        if isinstance(server, dict):
            state, mark = _word("servers", server.get("state", ""), language), "*" if server.get("chosen") else ""
            shown.append(f"{mark}{printable(server.get('url', '?'))} {state}")
    return ", ".join(shown)


def _stream(stream: Status, language: Language) -> str:
    if "open" not in stream:
        return ""
    if not stream["open"]:
        return text("ctl.closed", language)
    level = stream.get("level_dbfs")
    shown = f"{level:.0f}" if isinstance(level, int | float) else "?"
    return text("ctl.open", language).format(level=shown.replace("-", "−"))


def _card(audio: Status, language: Language) -> str:
    """Its state and, where something is wrong, alsa-lib's words and who holds it."""
    state, reason = _word("card", audio.get("card", ""), language), printable(audio.get("card_reason") or "")
    return f"{state} ({reason})" if state and reason else state


def _volumes(volumes: Status, language: Language) -> str:
    known = [(kind, volumes.get(kind)) for kind in ("voice", "ring", "prompts")]
    return ", ".join(f"{text(f'ctl.volume.{kind}', language)} {at}" for kind, at in known if isinstance(at, int))


def _quality(quality: Status, language: Language) -> str:
    lost, jitter_s, round_trip_s = (quality.get(key) for key in ("audioPacketsLost", "jitter", "roundTripTime"))
    if not isinstance(lost, int):
        return ""
    return text("ctl.quality.line", language).format(lost=lost, jitter=_ms(jitter_s), round_trip=_ms(round_trip_s))


def _score(quality: Status, language: Language) -> str:
    mos = quality.get("mos")
    if not isinstance(mos, int | float):
        return ""
    return text("ctl.score.line", language).format(mos=f"{mos:.1f}", delay=_ms(quality.get("mouthToEar")))


def _received(quality: Status, language: Language) -> str:
    if "playedFrames" not in quality:
        return ""
    rebuilt = quality.get("recoveredFrames")
    return text("ctl.received.line", language).format(
        concealed=_figure(quality.get("concealedRatio"), 100, ".1f", " %"),
        rebuilt=_figure(rebuilt, 1 / 48, ".0f", " ms"),
        late=_figure(quality.get("latePackets")),
        left_out=_figure(quality.get("leftOutPackets")),
        buffer=_ms(quality.get("bufferDelay")),
        target=_ms(quality.get("bufferTarget")),
    )


def _engine(quality: Status, language: Language) -> str:
    if "xruns" not in quality:
        return ""
    return text("ctl.engine.line", language).format(
        erle=_figure(quality.get("erleDb"), 1, ".0f", " dB"),
        drift=_figure(quality.get("driftPpm"), 1, "+.0f", " ppm"),
        xruns=_figure(quality.get("xruns")),
        cpu=_figure(quality.get("cpuRatio"), 100, ".1f", " %"),
    )


def _figure(value: Any, times: float = 1, shape: str = ".0f", unit: str = "") -> str:
    return f"{value * times:{shape}}{unit}" if isinstance(value, int | float) else "?"


def _ms(seconds: Any) -> str:
    return _figure(seconds, 1000, ".0f", " ms")


def _labels(levels: Any, group: str, language: Language) -> str:
    """The names of what is on, in the panel's words where they are known."""
    if not isinstance(levels, dict):
        return ""
    return ", ".join(known(f"{group}.{name}", str(name), language) for name, on in levels.items() if on)


def _word(group: str, value: Any, language: Language) -> str:
    return known(f"ctl.{group}.{value}", printable(value), language) if value else ""


def known(key: str, otherwise: str, language: Language) -> str:
    try:
        return text(key, language)
    except KeyError:
        return printable(otherwise)


def _in_language(texts: Any, language: Language) -> str:
    return printable(texts.get(language) or texts.get("en", "")) if isinstance(texts, dict) else ""


def part(status: Status, key: str) -> Status:
    found = status.get(key)
    return found if isinstance(found, dict) else {}


def printable(value: Any) -> str:
    """Text from the wire, safe for a terminal."""
    return "".join(character if character.isprintable() else "�" for character in str(value))


def _duration(seconds: float) -> str:
    whole = max(0, int(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _columns(label: str) -> int:
    """Width on a terminal: Chinese characters take two columns (UAX #11)."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in label)
