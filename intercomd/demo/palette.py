"""Small PNGs: at most 256 colours, chosen by median cut, for the README's picture."""

import struct
import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

COLOURS: Final = 256
_KEPT_BITS: Final = 6
"""Of each channel, before colours are counted: differences below are grain."""
_ORDER: Final = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 15 - 0.5
_DITHER: Final = 4.0
"""Ordered dithering (Bayer's matrix) of about one kept step, or shadows would have contours."""

Image = npt.NDArray[np.uint8]
"""shape (height, width, 3)."""
_Index = npt.NDArray[np.intp]


def indexed_png(image: Image) -> bytes:
    """The picture as a PNG with a palette (PNG specification, colour type 3)."""
    palette, indices = quantised(image)
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), indices], axis=1)  # filter 0: best for indices
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def quantised(image: Image) -> tuple[Image, npt.NDArray[np.uint8]]:
    """A palette, shape (n, 3), from dark to bright, and each pixel's index, shape (height, width)."""
    height, width, _ = image.shape
    threshold = np.tile(_ORDER, (-(-height // 4), -(-width // 4)))[:height, :width, None] * _DITHER
    dithered = np.clip(image + threshold, 0, 255).astype(np.uint8)
    kept = (dithered.reshape(-1, 3) >> (8 - _KEPT_BITS)).astype(np.uint32)
    keys = kept[:, 0] << 2 * _KEPT_BITS | kept[:, 1] << _KEPT_BITS | kept[:, 2]
    _, first, of_pixel, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    colours = (kept[first].astype(float) + 0.5) * (1 << (8 - _KEPT_BITS))
    boxes = _median_cut(colours, counts)
    means = np.array([np.average(colours[box], axis=0, weights=counts[box]) for box in boxes])
    order = np.argsort(means @ (0.30, 0.59, 0.11))
    box_of_colour = np.empty(len(colours), np.uint8)
    for place, box in enumerate(order):
        box_of_colour[boxes[box]] = place
    return means[order].round().astype(np.uint8), box_of_colour[of_pixel].reshape(height, width)


def _median_cut(colours: npt.NDArray[np.float64], counts: _Index) -> list[_Index]:
    """Boxes of colours, `COLOURS` at most: the widest is halved by its pixels, frequent ones a little sooner."""
    boxes: list[_Index] = [np.arange(len(colours))]

    def worth(box: _Index) -> float:
        return float(np.ptp(colours[box], axis=0).max() * counts[box].sum() ** 0.35)

    worths = [worth(boxes[0])]
    while len(boxes) < COLOURS and max(worths) > 0:
        widest = int(np.argmax(worths))
        box = boxes.pop(widest)
        worths.pop(widest)
        axis = int(np.ptp(colours[box], axis=0).argmax())
        box = box[np.argsort(colours[box, axis], kind="stable")]
        total = counts[box].cumsum()
        middle = int(np.clip(np.searchsorted(total, total[-1] / 2), 1, len(box) - 1))
        for half in (box[:middle], box[middle:]):
            boxes.append(half)
            worths.append(worth(half))
    return boxes


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
