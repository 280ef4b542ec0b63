"""JPEGs as libjpeg-turbo decodes them, odd and damaged ones too, with what is wrong with them.

libjpeg goes on after most errors and says so in a warning (jerror.h, `JWRN_…`), of which simplejpeg
passes on the first. Viewers ignore them. Here a picture is decoded without them as well, but they
are noted, and it is found out how much of the picture is there at all.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import simplejpeg

from pipeline.fetch.picture.missing import CutShortError, check_missing
from pipeline.fetch.picture.sniff import Sniffed, jpeg_segments
from pipeline.words.oddities import (
    BYTES_AFTER_END,
    DATA_DAMAGED,
    END_MISSING,
    EXTRA_BYTES,
    HEADER_ODD,
    PROFILE_BROKEN,
)

Pixels = npt.NDArray[np.uint8]
EOI = b"\xff\xd9"
_MODES = {1: "GRAY", 3: "RGB", 4: "CMYK"}
_NO_END = "Premature end of JPEG file"
_CUT = "premature end of data segment"
_WARNINGS = (
    ("extraneous bytes before marker", EXTRA_BYTES), ("bad ICC marker", PROFILE_BROKEN),
    ("Corrupt JPEG data", DATA_DAMAGED), ("Warning: ", HEADER_ODD), ("Invalid SOS", HEADER_ODD),
    ("Inconsistent progression", HEADER_ODD), ("Unknown Adobe color", HEADER_ODD),
)  # fmt: skip
"""Parts of libjpeg's warnings, and what they say."""
_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_FILL = bytes(np.random.default_rng(7).integers(1, 255, 4_096, dtype=np.uint8))
_PROGRESSIVE = 0xC2


def decode_jpeg(
    data: bytes, sniffed: Sniffed, scale: float, odd: set[str]
) -> tuple[bytes, Pixels | None]:
    """The bytes, with an end where they had none, and the pixels, uint8 (height, width, bands).

    The pixels are scaled in the DCT, each side at least `scale` times its own; None if
    libjpeg-turbo's own interface does not decode such a picture. `odd` gets what is wrong with it.
    Raises CutShortError.
    """
    # Only 1/2, 1/4, 1/8: the other eighths are slower in libjpeg-turbo than the next larger of
    # these.
    part = next(part for part in (8, 4, 2, 1) if part * scale <= 1)
    sides = {
        "min_height": math.ceil(sniffed.height / part),
        "min_width": math.ceil(sniffed.width / part),
    }
    mode = _MODES.get(sniffed.components, "RGB")

    def read(data: bytes, strict: bool = True) -> Pixels:
        return np.asarray(simplejpeg.decode_jpeg(data, mode, strict=strict, **sides))

    at_end = data.endswith(EOI)
    try:
        pixels = read(data)
    except ValueError as error:
        said = str(error)
    else:
        if not at_end and data.rfind(EOI) >= 0:
            odd.add(BYTES_AFTER_END)
        return data, pixels
    if _NO_END in said:
        odd.add(END_MISSING)
        data = data.rstrip(b"\xff") + EOI
        if not _has_all_scans(data):
            raise CutShortError(1.0)
    elif not at_end:
        odd.add(BYTES_AFTER_END)
    return data, _decode_odd(data, read, odd)


def _decode_odd(data: bytes, read: Callable[..., Pixels], odd: set[str]) -> Pixels | None:
    """The pixels of a picture with an end, for all warnings but those that say that it is cut."""
    try:
        return read(data)
    except ValueError as error:
        said = str(error)
    word = next((word for part, word in _WARNINGS if part in said), None)
    if word is None:
        return None
    if _CUT not in said:
        odd.add(word)
    try:
        pixels = read(data, strict=False)
    except ValueError:  # warnings about the header are not ignored by simplejpeg
        data = _bare(data)
        try:
            pixels = read(data, strict=False)
        except ValueError:
            return None
    share = missing(data, pixels, lambda data: read(data, strict=False))
    check_missing(share, odd)
    if _CUT in said and not share:
        odd.add(DATA_DAMAGED)  # the gap is not at the end
    return pixels


def missing(data: bytes, pixels: Pixels, read: Callable[[bytes], Pixels]) -> float:
    """The share of the pixels that the data do not determine.

    The decoder makes up what is missing from what comes next; so those pixels change with bytes
    that are put before the end, and if none are missing, nothing changes.
    """
    at = data.rfind(EOI)
    filled = data[:at] + _FILL * (len(data) // len(_FILL) + 16) + data[at:]
    try:
        others = read(filled)
    except Exception:  # decoders raise anything
        return 1.0
    return float((pixels != others).reshape(*pixels.shape[:2], -1).any(axis=2).mean())


def _bare(data: bytes) -> bytes:
    """The picture without its metadata, and without bytes between its segments."""
    kept, last = [data[:2]], 2
    for marker, start, stop in jpeg_segments(data):
        last = stop
        if marker == 0xE0 and data[start : start + 4] == b"JFIF":
            kept.append(_JFIF)
        elif not (0xE0 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(data[start - 4 : stop])
    return b"".join([*kept, data[max(data.find(b"\xff\xda", last), last) :]])


def _has_all_scans(data: bytes) -> bool:
    """Whether a progressive JPEG's scans give every coefficient in full (ITU T.81, G.1.1.1); true
    for one that is not progressive. A picture that lacks scans is whole, but coarse."""
    bits: dict[int, list[int]] = {}
    last = 2
    for marker, start, stop in jpeg_segments(data):
        last = stop
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker != _PROGRESSIVE:
                return True
            bits = {number: [16] * 64 for number in data[start + 6 : stop : 3]}
    at = data.find(b"\xff\xda", last)
    while 0 <= at < len(data) - 8:
        count = data[at + 4]
        end = at + 5 + 2 * count
        if end + 3 > len(data):
            break
        first, final, low = data[end], data[end + 1], data[end + 2] & 15
        for number in data[at + 5 : end : 2]:
            if number in bits and first <= final < 64:
                bits[number][first : final + 1] = [low] * (final + 1 - first)
        at = data.find(b"\xff\xda", end)
    return all(not any(of_one) for of_one in bits.values())
