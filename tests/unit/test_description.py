"""What a peer may say, and what of it reaches aiortc."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercomd.media.description import MAX_CANDIDATES, DescriptionError, sanitised, takes_short_packets, usable

HOST = "a=candidate:1 1 udp 2130706431 192.0.2.7 40000 typ host"
LOCAL = "a=candidate:2 1 udp 2113937151 5f9f4a3e-0c53-4d4b-9d35-0d9ad1f5b6ff.local 54321 typ host generation 0"
END = "a=end-of-candidates"
BASE = (
    "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0",
    "a=rtpmap:111 opus/48000/2", "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuv",
    "a=fingerprint:sha-256 00:11", "a=setup:actpass", "a=rtcp-mux",
)  # fmt: skip


def text(*lines: str) -> str:
    return "\r\n".join([*BASE, *lines]) + "\r\n"


def test_a_clean_description_passes_unchanged() -> None:
    clean = sanitised(text(HOST, END))
    assert (clean.sdp, clean.ended, clean.left_out) == (text(HOST, END), True, 0)


def test_names_in_local_go_and_with_them_the_end() -> None:
    """aioice would wait 1 s for the name and, with only such names and an end, for ever."""
    for lines in ((LOCAL, END), (HOST, LOCAL, END)):
        clean = sanitised(text(*lines))
        assert ".local" not in clean.sdp
        assert END not in clean.sdp
        assert (clean.ended, clean.left_out) == (False, 1)


def test_an_end_without_any_candidate_goes() -> None:
    assert END not in sanitised(text(END)).sdp


def test_candidates_are_bounded() -> None:
    many = [HOST.replace("40000", str(40_000 + number)) for number in range(500)]
    clean = sanitised(text(*many))
    assert clean.sdp.count("a=candidate") == MAX_CANDIDATES
    assert clean.left_out == 500 - MAX_CANDIDATES


@pytest.mark.parametrize(
    ("gone", "lack"),
    [("m=audio", "audio"), ("a=rtpmap", "Opus"), ("a=ice-ufrag", "user fragment"), ("a=ice-pwd", "password"),
     ("a=fingerprint", "fingerprint"), ("a=setup", "DTLS role")],
)  # fmt: skip
def test_what_is_lacking_is_named_and_nothing_repeated(gone: str, lack: str) -> None:
    lines = [line for line in BASE if not line.startswith(gone)]
    with pytest.raises(DescriptionError, match=lack) as error:
        sanitised("\r\n".join(lines))
    assert not any(line in str(error.value) for line in BASE)


@pytest.mark.parametrize(
    "candidate",
    [
        HOST, HOST.removeprefix("a="), HOST.removeprefix("a=candidate:"), HOST + " generation 0 ufrag x network-id 1",
        "candidate:3 1 UDP 1 2001:db8::1 9000 typ srflx raddr 0.0.0.0 rport 9", "4 1 udp 1 127.0.0.1 1 typ relay",
    ],
)  # fmt: skip
def test_usable(candidate: str) -> None:
    assert usable(candidate)


@pytest.mark.parametrize(
    "candidate",
    [
        "", "candidate:", LOCAL, HOST.replace(" 1 udp", " 2 udp"), HOST.replace("udp", "tcp"),
        HOST.replace("host", "prflx"), HOST.replace("40000", "0"), HOST.replace("40000", "65536"),
        HOST.replace("40000", "-5"), HOST.replace("40000", "4e4"), HOST.replace("192.0.2.7", "example.org"),
        HOST.replace("192.0.2.7", "fe80::1%eth0"), HOST.replace("2130706431", "x"), HOST.replace(" typ", ""),
        HOST.replace("40000", "٤٠"), HOST.replace("40000", "9" * 5000),
    ],
)  # fmt: skip
def test_unusable(candidate: str) -> None:
    assert not usable(candidate)


@given(st.text(max_size=300))
def test_any_text_is_judged(noise: str) -> None:
    assert usable(noise) in (True, False)
    with pytest.raises(DescriptionError):
        sanitised(noise)


@given(st.lists(st.sampled_from([*BASE, HOST, LOCAL, END, "m=video 9 X 1", "a=candidate:", "\x00", "m=audio "])))
def test_any_lines_are_judged(lines: list[str]) -> None:
    try:
        clean = sanitised("\n".join(lines))
    except DescriptionError:
        return
    assert ".local" not in clean.sdp
    assert (END in clean.sdp) <= clean.ended


@pytest.mark.parametrize(
    ("lines", "takes"),
    [
        (["a=fmtp:111 minptime=10;useinbandfec=1"], True),
        (["a=fmtp:111 useinbandfec=1; minptime=3"], True),
        (["a=fmtp:111 minptime=10;useinbandfec=1", "a=ptime:10", "a=maxptime:60"], True),
        (["a=fmtp:111 minptime=20;useinbandfec=1"], False),
        (["a=fmtp:111 minptime=10", "a=ptime:20"], False),
        (["a=fmtp:111 useinbandfec=1"], False),
        (["a=fmtp:63 minptime=10"], False),
        ([], False),
    ],
)
def test_a_peer_takes_short_packets_if_it_says_so_of_its_opus(lines: list[str], takes: bool) -> None:
    assert takes_short_packets(text(HOST, *lines)) is takes
