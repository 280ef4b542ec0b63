"""Files whose end, or whose statement of it, is wrong: GIF and WebP."""

import io
import struct

import numpy as np
from PIL import Image

from pipeline.fetch.picture.missing import check_missing
from pipeline.fetch.picture.sniff import gif_blocks
from pipeline.words.oddities import BYTES_AFTER_END, DATA_CUT, END_MISSING, HEADER_ODD

_PADDING = 64
"""Bytes that a WebP may lack, at least; of a large one a hundredth."""


def check_gif(data: bytes, odd: set[str]) -> tuple[int, int, int, int] | None:
    """The first frame's left, top, right and bottom; `odd` gets what is wrong with the screen and
    the end of a GIF."""
    blocks = list(gif_blocks(data))
    if blocks and blocks[-1][0] == 0x3B:
        if blocks[-1][1] < len(data):
            odd.add(BYTES_AFTER_END)
    elif data[-1:] != b";":
        odd.add(END_MISSING)
    for kind, at in blocks:
        if kind == 0x2C and at + 8 <= len(data):
            left, top, wide, high = struct.unpack_from("<HHHH", data, at)
            width, height = struct.unpack_from("<HH", data, 6)
            if left + wide > width or top + high > height:
                odd.add(HEADER_ODD)
            return left, top, left + wide, top + high
    return None


def ended_webp(data: bytes, odd: set[str]) -> bytes:
    """A WebP whose header states the size that it has.

    If a few bytes are missing they are added, and `odd` says so. CutShortError if the pixels show
    that more than a hundredth of them depends on these bytes.
    """
    stated = int.from_bytes(data[4:8], "little") + 8
    if stated < len(data):
        odd.add(BYTES_AFTER_END)
    if stated <= len(data):
        return data
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + (size & 1)
    lacking = at - len(data)
    if lacking <= 0:
        odd.add(HEADER_ODD)
        return _resized(data)
    if lacking > max(_PADDING, len(data) // 100):
        return data  # the decoder refuses it
    whole = _resized(data + bytes(lacking))
    others = _resized(data + b"\xa5" * lacking)
    share = float((_pixels(whole) != _pixels(others)).any(axis=2).mean())
    check_missing(share, odd)
    odd.add(DATA_CUT if share else END_MISSING)
    return whole


def _resized(data: bytes) -> bytes:
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["webp"]) as image:
        return np.asarray(image.convert("RGBA"))
