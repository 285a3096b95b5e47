"""libopus through ctypes: what goes in comes out, lost frames are rebuilt or concealed, nothing crashes the process."""

import ctypes
import threading
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercomd.media import opus
from intercomd.media.opus import Decoder, Encoder, OpusError
from intercomd.media.packet import carries_fec, duration_frames
from intercomd.media.pcm import Pcm
from tests.unit.sounds import correlation, speech

pytestmark = pytest.mark.platform("libopus")

LOOKAHEAD_FRAMES = 312


def packets(encoder: Encoder, pcm: Pcm) -> list[bytes]:
    return [encoder.encode(pcm[at : at + encoder.frames]) for at in range(0, len(pcm), encoder.frames)]


@pytest.mark.parametrize("frame_ms", [10, 20])
def test_speech_survives(frame_ms: int) -> None:
    voice = speech(1, 48_000)
    with Encoder(frame_ms=frame_ms) as encoder, Decoder() as decoder:
        encoded = packets(encoder, voice)
        decoded = np.concatenate([decoder.decode(packet).copy() for packet in encoded])
    assert {duration_frames(packet) for packet in encoded} == {frame_ms * 48}
    assert correlation(voice[:-LOOKAHEAD_FRAMES], decoded[LOOKAHEAD_FRAMES:]) > 0.8


def test_bitrate_is_kept() -> None:
    voice = speech(1, 96_000)
    sizes = []
    for bitrate_bps in (12_000, 48_000):
        with Encoder(bitrate_bps=bitrate_bps, fec=False) as encoder:
            sizes.append(8 * sum(map(len, packets(encoder, voice))) / 2)
    assert 6_000 < sizes[0] < 16_000 < 30_000 < sizes[1] < 60_000


def test_a_lost_frame_is_rebuilt_better_than_concealed() -> None:
    voice = speech(3, 48_000)
    with Encoder(fec=True) as encoder, Decoder() as rebuilding, Decoder() as concealing:
        encoder.expect_loss(20)
        encoded = packets(encoder, voice)
        original, rebuilt, concealed = [], [], []
        for index in range(len(encoded) - 1):
            if index % 4 == 3 and carries_fec(encoded[index + 1]):
                at = index * 960 - LOOKAHEAD_FRAMES
                original.append(voice[at : at + 960])
                rebuilt.append(rebuilding.recover(encoded[index + 1], 960).copy())
                concealed.append(concealing.conceal(960).copy())
            else:
                rebuilding.decode(encoded[index])
                concealing.decode(encoded[index])
    assert len(original) >= 8
    scores = [correlation(np.concatenate(original), np.concatenate(got)) for got in (rebuilt, concealed)]
    assert scores[0] > scores[1] + 0.2


def test_no_copy_is_sent_without_fec() -> None:
    with Encoder(fec=False) as encoder:
        encoder.expect_loss(20)
        assert not any(carries_fec(packet) for packet in packets(encoder, speech(3, 48_000)))


def test_dtx_goes_quiet() -> None:
    silence = np.zeros(96_000, np.int16)
    with Encoder(dtx=True) as quiet, Encoder(dtx=False) as steady:
        assert sum(len(packet) <= 2 for packet in packets(quiet, silence)) > 50
        assert not any(len(packet) <= 2 for packet in packets(steady, silence))


def test_stereo_is_mixed_down() -> None:
    """A browser may send two channels whatever it was told."""
    library = opus.library()
    error = ctypes.c_int()
    state = library.opus_encoder_create(48_000, 2, 2048, ctypes.byref(error))
    voice = np.repeat(speech(4, 9_600), 2)
    out = ctypes.create_string_buffer(1275)
    decoded = []
    with Decoder() as decoder:
        for at in range(0, len(voice), 1920):
            size = library.opus_encode(state, voice[at:].ctypes.data, 960, out, 1275)
            decoded.append(decoder.decode(out.raw[:size]).copy())
    library.opus_encoder_destroy(state)
    assert {len(part) for part in decoded} == {960}
    assert correlation(voice[::2][:-LOOKAHEAD_FRAMES], np.concatenate(decoded)[LOOKAHEAD_FRAMES:]) > 0.8


def test_concealment_fades() -> None:
    with Encoder() as encoder, Decoder() as decoder:
        for packet in packets(encoder, speech(1, 19_200)):
            decoder.decode(packet)
        levels = [float(np.abs(decoder.conceal(960)).mean()) for _ in range(25)]
    assert levels[0] > 0
    assert levels[-1] < levels[0] / 4


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_decode_or_raise(payloads: list[bytes]) -> None:
    with Decoder() as decoder:
        for payload in payloads:
            with suppress(OpusError):
                assert len(decoder.decode(payload)) <= 5760
            with suppress(OpusError):
                decoder.recover(payload or b"\x08", 960)


def test_a_wrong_length_is_refused() -> None:
    with Encoder() as encoder, pytest.raises(OpusError, match="960 frames"):
        encoder.encode(np.zeros(480, np.int16))


def test_settings_that_libopus_refuses() -> None:
    with pytest.raises(OpusError, match="opus_encoder_ctl"):
        Encoder(complexity=11)


def test_closed_codecs_raise_and_close_twice() -> None:
    encoder, decoder = Encoder(), Decoder()
    for codec in (encoder, decoder):
        codec.close()
        codec.close()
        with pytest.raises(OpusError):
            codec.reset()
    with pytest.raises(OpusError):
        encoder.encode(np.zeros(960, np.int16))
    with pytest.raises(OpusError):
        encoder.expect_loss(5)
    with pytest.raises(OpusError):
        decoder.conceal(960)


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    opus.library.cache_clear()
    monkeypatch.setattr(opus, "LIBRARY", "libopus.so.nowhere")
    with pytest.raises(OpusError, match="apt install libopus0"):
        Decoder()
    opus.library.cache_clear()


def test_other_threads_run_while_it_encodes() -> None:
    """The GIL is released: a thread that only counts goes on during long encodes."""
    counted, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    voice = speech(1, 960)
    with Encoder(complexity=10) as encoder:
        thread.start()
        try:
            for _ in range(100):
                encoder.encode(voice)
        finally:
            done.set()
            thread.join()
    assert counted[0] > 1000
