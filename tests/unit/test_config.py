"""The configuration: defaults, ranges, every mistake at once, contradictions, secrets, the README's reference."""

import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from intercomd.config import (
    Config,
    ConfigError,
    Hub,
    Ice,
    IceServer,
    Station,
    hub_token,
    ice_servers,
    load,
    turn_secret,
)
from intercomd.config.__main__ import main as rewrite_readme
from intercomd.config.crosschecks import is_loopback
from intercomd.config.loading import allowed
from intercomd.config.reference import BEGIN, END, reference

ROOT = Path(__file__).parent.parent.parent
TABLES = typing.get_type_hints(Config)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("secret-token\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def station(tmp_path: Path, token: Path):
    """Loads a station's file with a good token and these further lines; `[station]` is open at their start."""

    def load_lines(text: str = "", **environ: str) -> Config:
        return load(_file(tmp_path, f'[station]\ntoken_file = "{token}"\n{text}'), "device", environ)

    load_lines.token = token  # type: ignore[attr-defined]
    return load_lines


def _file(directory: Path, text: str) -> Path:
    file = directory / "intercomd.toml"
    file.write_text(text)
    return file


def _mistakes(file: Path, part: Any = None, **environ: str) -> dict[str, str]:
    """Where and what, of a file that must not load."""
    with pytest.raises(ConfigError) as caught:
        load(file, part, environ)
    assert all(line.startswith(f"{file}: ") for line in str(caught.value).splitlines())
    return {mistake.where: f"{mistake.wrong}; {mistake.allowed}" for mistake in caught.value.mistakes}


def _station_mistakes(station: Any, text: str, **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        station(text, **environ)
    return {mistake.where: f"{mistake.wrong}; {mistake.allowed}" for mistake in caught.value.mistakes}


# ------------------------------------------------------------------------------------------------- good files


def test_every_key_has_a_default(station: Any) -> None:
    config = station()
    assert config.audio.bitrate_bps == 48000
    assert config.call.grace_s == config.hub.grace_s == 120
    assert config.ice.servers == []


def test_values_of_the_file_win_over_defaults(station: Any) -> None:
    config = station('name = "door"\n[audio]\nframe_ms = 10\n[call]\npeer = "flat"\ngrace_s = 5\n')
    assert (config.station.name, config.audio.frame_ms, config.call.peer) == ("door", 10, "flat")
    assert isinstance(config.call.grace_s, float), "a whole number is a number of seconds too"


def test_environment_names_the_control_socket(station: Any) -> None:
    assert station(INTERCOMD_CONTROL="/run/other").station.control_socket == "/run/other"


def test_defaults_are_within_their_own_ranges() -> None:
    for name, table in TABLES.items():
        for key, hint in typing.get_type_hints(table, include_extras=True).items():
            default = getattr(table(), key)
            assert msgspec.convert(msgspec.to_builtins(default), hint, strict=True) == default, f"{name}.{key}"


def test_hub_needs_no_station(tmp_path: Path) -> None:
    assert load(_file(tmp_path, "[hub]\nport = 9000\n"), environ={}).hub.port == 9000
    assert load(_file(tmp_path, ""), "hub", {}).hub.port == 8080


# ------------------------------------------------------------------------------------------- mistakes, all at once


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        """
        [station]
        langauge = "en"
        language = "de"
        [audio]
        frame_ms = 15
        buffer_ms = 121
        fec = 1
        bitrate_bps = "fast"
        [panel]
        buttons = { call = 28, bell = 3 }
        leds = 7
        [ice]
        servers = [{ urls = ["http://x"] }, {}, "stun:x"]
        [calls]
        peer = "flat"
        """,
    )
    found = _mistakes(file)
    assert set(found) == {
        "station.langauge", "station.language", "audio.frame_ms", "audio.buffer_ms", "audio.fec", "audio.bitrate_bps",
        "panel.buttons.call", "panel.buttons.bell", "panel.leds", "ice.servers[0].urls[0]", "ice.servers[1].urls",
        "ice.servers[2]", "calls",
    }  # fmt: skip
    assert found["station.langauge"].startswith("unknown key; did you mean `language`?")
    assert found["calls"].startswith("unknown table; did you mean `call`?")
    assert found["station.language"] == 'is "de"; "en" or "zh"'
    assert found["audio.frame_ms"] == 'is 15; 10, 20 or "auto"'
    assert found["audio.buffer_ms"] == "is 121; a whole number from 0 to 120"
    assert found["panel.buttons.call"] == "is 28; a whole number from 2 to 27"
    assert found["ice.servers[1].urls"].startswith("is missing")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[station\n", "line 1"),
        (b'[station]\nname = "a"\nname = "b"\n', "line 3"),
        (b"[station]\nname = \xff\n", "line 2 is not UTF-8"),
        (b"#" * 300_000, "larger than 256 KiB"),
    ],
)
def test_a_file_that_is_no_toml_says_where(tmp_path: Path, text: bytes, says: str) -> None:
    file = tmp_path / "intercomd.toml"
    file.write_bytes(text)
    assert says in _mistakes(file)[""]


def test_a_missing_file_is_a_mistake_too(tmp_path: Path) -> None:
    assert "No such file" in _mistakes(tmp_path / "absent.toml")[""]


@pytest.mark.parametrize("value", ["true", "1979-05-27", "[1]", '"20"', "nan", "inf"])
def test_wrong_types_never_pass_for_numbers(tmp_path: Path, value: str) -> None:
    assert "call.lost_s" in _mistakes(_file(tmp_path, f"[call]\nlost_s = {value}\n"))


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    file = _file(tmp_path, '[station]\ntoken_file = "sesame-open"\ntoken = "sesame-too"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert "sesame" not in str(caught.value)


# ---------------------------------------------------------------------------------------------- contradictions


@pytest.mark.parametrize("url", ["http://10.0.0.1:8080", "http://hub.example", "http://127.0.0.1.example"])
def test_plain_http_only_to_this_machine(station: Any, url: str) -> None:
    assert "plain http" in _station_mistakes(station, f'hub_url = "{url}"\n')["station.hub_url"]
    assert station(f'hub_url = "{url}"\nallow_insecure = true\n').station.hub_url == url


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.2", "http://[::1]:8080", "https://hub.example"])
def test_https_and_loopback_are_fine(station: Any, url: str) -> None:
    assert station(f'hub_url = "{url}"\n').station.hub_url == url


@pytest.mark.parametrize("url", ["https://:8443", "https://hub:99999", "https://[::1", "ws://hub", "hub"])
def test_a_hub_url_must_be_one(station: Any, url: str) -> None:
    assert "station.hub_url" in _station_mistakes(station, f'hub_url = "{url}"\n')


def test_lost_must_be_later_than_silent(station: Any) -> None:
    assert "more than call.silent_s" in _station_mistakes(station, "[call]\nsilent_s = 3\n")["call.lost_s"]


@pytest.mark.parametrize("pcm", ["hw:1", "plughw:0,0", "hw:CARD=2,DEV=0", "sysdefault:1"])
def test_a_card_goes_by_its_id_and_not_by_its_number(station: Any, pcm: str) -> None:
    assert (
        "hw:CARD=Speakerphone" in _station_mistakes(station, f'[audio]\nhandset_pcm = "{pcm}"\n')["audio.handset_pcm"]
    )


@pytest.mark.parametrize("pcm", ["hw:CARD=Wall,DEV=0", "hw:Wall", "intercom_speaker", "plughw:CARD=0xBeef"])
def test_ids_and_names_are_taken(station: Any, pcm: str) -> None:
    assert station(f'[audio]\nspeaker_pcm = "{pcm}"\n').audio.speaker_pcm == pcm


@pytest.mark.parametrize("text", ["leds = { ready = 17 }", "buttons = { call = 4 }\nleds = { ready = 4 }"])
def test_a_line_serves_one_button_or_led(station: Any, text: str) -> None:
    assert "is used for buttons.call and leds.ready" in _station_mistakes(station, f"[panel]\n{text}\n")["panel"]


def test_a_board_file_is_checked_with_the_panel(station: Any, tmp_path: Path) -> None:
    board = tmp_path / "board.toml"
    board.write_text('name = "box"\ntitle = "Box"\nbuttons = { call = 99, hangup = 5 }\n')
    assert "buttons.call" in _station_mistakes(station, f'[panel]\nboard_file = "{board}"\n')["panel"]
    board.write_text('name = "box"\ntitle = "Box"\nbuttons = { call = 4, hangup = 5 }\n')
    assert station(f'[panel]\nboard_file = "{board}"\n').panel.board_file == str(board)


def test_named_files_must_exist(station: Any, tmp_path: Path) -> None:
    text = f'hub_ca_file = "{tmp_path}/ca"\n[panel]\nboard_file = "{tmp_path}/board"\n'
    found = _station_mistakes(station, text)
    assert set(found) == {"station.hub_ca_file", "panel"}
    assert "No such file" in found["panel"]
    assert "No such file" in found["station.hub_ca_file"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('listen = "0.0.0.0"\n', "hub.listen"),
        ('tls_cert = "{here}/cert"\n', "hub.tls_key"),
        ('tls_key = "{here}/key"\n', "hub.tls_cert"),
        ('tls_cert = "{here}/cert"\ntls_key = "{here}/absent"\n', "hub.tls_key"),
        ('tls_cert = "{here}/cert"\ntls_key = "{here}/open"\n', "hub.tls_key"),
    ],
)
def test_hub_contradictions(tmp_path: Path, text: str, where: str) -> None:
    for name, mode in (("cert", 0o644), ("key", 0o640), ("open", 0o644)):
        (tmp_path / name).write_text("PEM")
        (tmp_path / name).chmod(mode)
    assert set(_mistakes(_file(tmp_path, "[hub]\n" + text.format(here=tmp_path)))) == {where}


def test_hub_on_all_addresses_with_tls_or_permission(tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).write_text("PEM")
        (tmp_path / name).chmod(0o600)
    tls = f'tls_cert = "{tmp_path}/cert"\ntls_key = "{tmp_path}/key"\n'
    for text in (tls, "allow_insecure = true\n"):
        assert load(_file(tmp_path, f'[hub]\nlisten = "0.0.0.0"\n{text}'), environ={}).hub.listen == "0.0.0.0"


@pytest.mark.parametrize(("host", "local"), [("localhost", True), ("127.9.9.9", True), ("::1", True), ("::", False)])
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


# ------------------------------------------------------------------------------------------------------ secrets


def test_no_token_is_a_mistake(tmp_path: Path) -> None:
    assert "there is no token" in _mistakes(_file(tmp_path, "[station]\n"))["station.token_file"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_that_others_can_read_is_refused(station: Any, token: Path, mode: int) -> None:
    token.chmod(mode)
    found = _station_mistakes(station, "")["station.token_file"]
    assert f"{mode:04o}" in found
    assert f"chmod 600 {token}" in found


def test_an_empty_token_file_is_refused(station: Any, token: Path) -> None:
    token.write_text("\n")
    assert "is empty" in _station_mistakes(station, "")["station.token_file"]


def test_a_credential_wins_over_the_token_file(tmp_path: Path, token: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    station = Station(token_file=str(token))
    assert hub_token(station, environ) == "secret-token", "no such credential: the file"
    (credentials / "hub-token").write_text("from-systemd")
    assert hub_token(station, environ) == "from-systemd"
    load(_file(tmp_path, ""), "device", environ)


def test_a_token_that_has_gone_since_the_check(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"station\.token_file: .*No such file"):
        hub_token(Station(token_file=str(tmp_path / "gone")), {})


def test_turn_needs_name_and_password(station: Any) -> None:
    found = _station_mistakes(station, '[ice]\nservers = [{ urls = ["turn:t.example"], username = "u" }]\n')
    assert "username and credential_file" in found["ice.servers[0]"]


def test_turn_password_comes_from_a_file_or_a_credential(tmp_path: Path, station: Any, token: Path) -> None:
    (tmp_path / "turn").write_text("from-systemd\n")
    servers = [
        IceServer(urls=["stun:s.example"]),
        IceServer(urls=["turn:t.example"], username="u", credential_file=str(token)),
        IceServer(urls=["turns:t.example"], username="u", credential_file="turn"),
    ]
    found = ice_servers(Ice(servers=servers), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert [server.credential for server in found] == [None, "secret-token", "from-systemd"]
    assert found[0].username is None


def test_turn_password_file_must_be_private(station: Any, token: Path, tmp_path: Path) -> None:
    (tmp_path / "turn").write_text("x")
    (tmp_path / "turn").chmod(0o644)
    text = f'[ice]\nservers = [{{ urls = ["turn:t"], username = "u", credential_file = "{tmp_path}/turn" }}]\n'
    assert "0644" in _station_mistakes(station, text)["ice.servers[0].credential_file"]


@pytest.mark.parametrize(
    "url",
    ["turn:t:0", "turn:t:70000", "turn:[::1]:3478", "turn:t?transport=sctp", "stun:s?transport=udp", "turn:t:x",
     "turns:t?transport=udp", "stun:a b"],
)  # fmt: skip
def test_a_server_url_that_cannot_be_used(station: Any, url: str) -> None:
    found = _station_mistakes(station, f'[ice]\nservers = [{{ urls = ["{url}"], username = "u" }}]\n')
    assert url in found["ice.servers[0].urls"]


def test_server_urls_that_can_be_used(station: Any) -> None:
    urls = '"stun:s", "stun:192.0.2.1:3478", "turn:t?transport=tcp", "turn:t:1?transport=udp", "turns:t:443", "stuns:s"'
    assert station(f"[ice]\nservers = [{{ urls = [{urls}] , username = 'u', credential_file = '{station.token}' }}]\n")


def test_turn_urls_of_the_hub_need_their_secret(tmp_path: Path, token: Path) -> None:
    urls = '[hub]\nturn_urls = ["turn:t.example"]\n'
    assert "static-auth-secret" in _mistakes(_file(tmp_path, urls))["hub.turn_secret_file"]
    private = f'turn_secret_file = "{token}"\n'
    assert load(_file(tmp_path, urls + private), environ={}).hub.turn_urls == ["turn:t.example"]
    assert "is empty" in _mistakes(_file(tmp_path, "[hub]\n" + private))["hub.turn_urls"]
    token.chmod(0o644)
    assert "0644" in _mistakes(_file(tmp_path, urls + private))["hub.turn_secret_file"]
    bad = '[hub]\nturn_urls = ["turn:t:0", "stun:s"]\n'
    assert set(_mistakes(_file(tmp_path, bad))) == {"hub.turn_urls[1]"}
    assert set(_mistakes(_file(tmp_path, bad.replace("stun:s", "turn:s")))) == {
        "hub.turn_urls[0]", "hub.turn_secret_file",
    }  # fmt: skip


def test_the_turn_secret_comes_from_a_file_or_a_credential(tmp_path: Path, token: Path) -> None:
    hub = Hub(turn_urls=["turn:t"], turn_secret_file=str(token))
    assert turn_secret(hub, {}) == "secret-token"
    (tmp_path / "turn-secret").write_text("from-systemd\n")
    assert turn_secret(hub, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "from-systemd"
    assert turn_secret(Hub(turn_secret_file=str(token)), {}) == "", "there is nobody to share it with"
    with pytest.raises(ConfigError, match=r"hub\.turn_secret_file"):
        turn_secret(Hub(turn_urls=["turn:t"]), {})


# ---------------------------------------------------------------------------------------------------- reference


def test_every_key_has_a_sentence_and_words_for_what_is_allowed() -> None:
    for table in (*TABLES.values(), IceServer):
        hints = typing.get_type_hints(table, include_extras=True)
        for field in inspect.type_info(table).fields:
            assert isinstance(field.type, inspect.Metadata), f"{table.__name__}.{field.name} has no description"
            meaning = field.type.extra_json_schema["description"]
            assert meaning.endswith("."), f"{table.__name__}.{field.name}: {meaning}"
            assert allowed(hints[field.name])


def test_readme_has_the_reference_of_these_structs() -> None:
    readme = (ROOT / "README.md").read_text()
    stands = readme.partition(BEGIN)[2].partition(END)[0].strip()
    assert stands == reference().strip(), "run `make reference`"


def test_rewriting_the_readme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nstale words\n{END}\nafter\n")
    assert rewrite_readme([str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| `grace_s` | `120.0` |" in text
    assert "stale words" not in text
    assert rewrite_readme([str(readme)]) == 0
    assert "nothing to change" in capsys.readouterr().out
    readme.write_text("no markers")
    assert rewrite_readme([str(readme)]) == 1
    assert rewrite_readme([]) == 2
