"""The README's picture must be a PNG that others read, close to what was photographed."""

import struct
import zlib

import numpy as np

from intercomd.demo.palette import COLOURS, indexed_png, quantised


def shaded() -> np.ndarray:
    """A red ramp beside a green one, some grain, and one small lamp."""
    rows, columns = np.mgrid[0:60, 0:100]
    image = np.zeros((60, 100, 3), np.uint8)
    image[..., 0] = columns * 2
    image[..., 1] = rows * 4
    image[10:13, 10:13] = (255, 255, 255)
    return image


def test_the_palette_stays_close() -> None:
    image = shaded()
    palette, indices = quantised(image)
    assert len(palette) <= COLOURS
    error = np.abs(palette[indices].astype(int) - image)
    assert error.mean() < 5
    assert palette[indices][11, 11].min() > 240


def test_few_colours_are_kept_as_they_are() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = (200, 40, 40)
    palette, indices = quantised(image)
    assert np.abs(palette[indices].astype(int) - image).max() <= 4


def test_it_is_a_png_with_a_palette() -> None:
    raw = indexed_png(shaded())
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(raw):
        length, kind = struct.unpack(">I4s", raw[at : at + 8])
        content = raw[at + 8 : at + 8 + length]
        assert struct.unpack(">I", raw[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + content)
        chunks[kind] = content
        at += 12 + length
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (100, 60, 8, 3, 0, 0, 0)
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert len(zlib.decompress(chunks[b"IDAT"])) == 60 * 101
