"""Files as cameras, programs and broken transfers leave them, each a small case made here after a
public bug report.

`chromium` says whether Chromium 150 (headless; an `img` loads) shows the file: asked on
27 November 2026 through `viewers.py`, and again by `test_hostile_oddities_files.py` where it is
installed. curl does not look into files, so what it says does not count.
"""

import struct
import zlib

import numpy as np
from odd_answers import Odd
from odd_pictures import (
    GOOD_GIF,
    GOOD_PNG,
    GOOD_WEBP,
    jpeg_segment,
    png_chunk,
    riff_chunk,
    webp_with,
    with_chunks,
    with_segments,
)
from PIL import Image
from plain_scenes import GOOD, encoded, scene

CUT = "decode_error"
WHOLE = "more than a hundredth of the picture is missing, and viewers show it grey"
FRAME = b"\x2c\0\0\0\0\x60\0\x50\0"
"""A GIF's description of the scene as a frame."""


def _rough() -> np.ndarray:
    """The scene with some noise, so that its coded data has a length."""
    noise = np.random.default_rng(1).integers(-20, 20, scene().shape)
    return np.clip(scene().astype(int) + noise, 0, 255).astype(np.uint8)


ROUGH = encoded(_rough(), quality=85, subsampling=2)
RESTARTS = encoded(_rough(), quality=85, restart_marker_blocks=2)
SCAN, TABLES = ROUGH.index(b"\xff\xda"), GOOD.index(b"\xff\xdb")
MPF = b"MPF\0MM\0*\0\0\0\x08\0\3\xb0\0\0\7\0\0\0\0040100\xb0\1\0\4\0\0\0\1\0\0\0\2\xb0\2\0\7"
ROWS = zlib.decompress(GOOD_PNG[GOOD_PNG.index(b"IDAT") + 4 : -16])
LOSSY = encoded(scene(), "WEBP", quality=90)
AT = GOOD_GIF.index(FRAME)


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(scene(), exif=exif)


def _wrong_sum(name: bytes, body: bytes) -> bytes:
    return png_chunk(name, body)[:-4] + b"\0\1\2\3"


def _after_pixels(*chunks: bytes) -> bytes:
    return GOOD_PNG[:-12] + b"".join(chunks) + GOOD_PNG[-12:]


def _half_png() -> bytes:
    rows = zlib.compress(ROWS[: len(ROWS) // 2])
    return GOOD_PNG[:33] + png_chunk(b"IDAT", rows) + GOOD_PNG[-12:]


def _small_screen() -> bytes:
    return GOOD_GIF[:6] + struct.pack("<HH", 10, 10) + GOOD_GIF[10:]


def _smaller_frame() -> bytes:
    screen, place = struct.pack("<HH", 120, 100), struct.pack("<BHH", 0x2C, 10, 10)
    return GOOD_GIF[:6] + screen + GOOD_GIF[10:AT] + place + GOOD_GIF[AT + 5 :]


def _webp_unknown() -> bytes:
    data = webp_with(b"XMP ", b"<x/>")
    data = data[:30] + riff_chunk(b"PSAI", b"xyz") + data[30:]
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _odd(data: bytes, source: str, warnings: str | None = None) -> Odd:
    """A file that Chromium shows, and that we store."""
    return Odd(data, source, False, True, None, warnings)


def _cut(data: bytes, source: str) -> Odd:
    return Odd(data, source, False, True, CUT, why=WHOLE)


FILES: dict[str, Odd] = {
    "jpeg-without-end": _odd(GOOD[:-2], "libvips/libvips#474", "end_missing"),
    "progressive-without-end": _odd(
        encoded(scene(), progressive=True)[:-2], "python-pillow/Pillow#2717", "end_missing"
    ),
    "jpeg-cut-in-half": _cut(ROUGH[: (SCAN + len(ROUGH)) // 2], "libvips/libvips#1946"),
    "jpeg-cut-in-half-with-end": _cut(ROUGH[: SCAN + 400] + b"\xff\xd9", "lovell/sharp#3825"),
    "byte-before-the-tables": _odd(
        GOOD[:TABLES] + b"\0" + GOOD[TABLES:], "python-pillow/Pillow#630", "extra_bytes"
    ),
    "bytes-before-app13": _odd(
        GOOD[:TABLES] + b"junk" * 60 + jpeg_segment(0xED, b"Photoshop 3.0\0") + GOOD[TABLES:],
        "libvips/libvips#848", "extra_bytes",
    ),
    "scan-of-other-parameters": _odd(
        ROUGH[:SCAN] + ROUGH[SCAN:].replace(b"\0\x3f\0", b"\0\0\0", 1),
        "libvips/libvips#2309", "header_odd",
    ),
    "restart-mark-lost": _odd(
        RESTARTS.replace(b"\xff\xd3", b"", 1), "libvips/libvips#1343", "extra_bytes"
    ),
    "mpo-without-directory": _odd(
        with_segments(jpeg_segment(0xE2, b"MPF\0II*\0\x08\0\0\0\0\0")), "python-pillow/Pillow#1328"
    ),
    "mpo-without-second-picture": _odd(
        with_segments(jpeg_segment(0xE2, MPF + b"\0\0\0\x20\0\0\0\x32\0\0\0\0" + bytes(32))),
        "python-pillow/Pillow#1138",
    ),
    "jfxx-broken": _odd(
        with_segments(jpeg_segment(0xE0, b"JFXX\0\x10junk")), "python-pillow/Pillow#5983"
    ),
    "exif-without-directory": _odd(
        with_segments(jpeg_segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff")),
        "python-pillow/Pillow#3337", "exif_broken",
    ),
    "exif-twice-the-first-broken": _odd(
        with_segments(jpeg_segment(0xE1, b"Exif\0\0http://n"), jpeg=_exif(6)),
        "python-pillow/Pillow#7879", "exif_broken",
    ),
    "profile-of-junk": _odd(
        with_segments(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + b"junk" * 30)),
        "imgproxy/imgproxy#108", "profile_broken",
    ),
    "sum-of-phys": _odd(
        with_chunks(_wrong_sum(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))),
        "python-pillow/Pillow#5978", "checksum_wrong",
    ),
    "sum-of-iccp": _odd(
        with_chunks(_wrong_sum(b"iCCP", b"x\0\0" + zlib.compress(b"junk"))),
        "python-pillow/Pillow#4472", "checksum_wrong",
    ),
    "sum-of-itxt": _odd(
        with_chunks(_wrong_sum(b"iTXt", b"a\0\0\0\0\0b")),
        "python-pillow/Pillow#1991", "checksum_wrong",
    ),
    "sum-of-the-pixels": _odd(
        GOOD_PNG[:-16] + b"\0\1\2\3" + GOOD_PNG[-12:],
        "python-pillow/Pillow#5800", "checksum_wrong",
    ),
    "header-again-after-the-pixels": _odd(
        _after_pixels(png_chunk(b"IHDR", b"")), "python-pillow/Pillow#6252"
    ),
    "srgb-of-no-bytes": _odd(
        with_chunks(png_chunk(b"sRGB", b"")), "python-pillow/Pillow#6430", "chunk_broken"
    ),
    "gama-of-one-byte": _odd(
        with_chunks(png_chunk(b"gAMA", b"\0")), "python-pillow/Pillow#9880", "chunk_broken"
    ),
    "trns-of-one-byte": _odd(
        with_chunks(png_chunk(b"tRNS", b"\0")), "python-pillow/Pillow#9934", "chunk_broken"
    ),
    "phys-of-three-bytes": _odd(
        with_chunks(png_chunk(b"pHYs", bytes(3))), "python-pillow/Pillow#6253", "chunk_broken"
    ),
    "chunk-of-no-name": _odd(
        with_chunks(png_chunk(b"a\0bc", b"x")), "python-pillow/Pillow#5509", "chunk_broken"
    ),
    "png-cut-in-its-last-sum": _odd(GOOD_PNG[:-4], "python-pillow/Pillow#7709"),
    "png-cut-before-the-pixels'-sum": _odd(GOOD_PNG[:-16], "ajslater/picopt#30", "end_missing"),
    "png-of-half-its-rows": _cut(_half_png(), "libvips/libvips#1960"),
    "gif-of-a-smaller-frame": _odd(_smaller_frame(), "python-pillow/Pillow#5548"),
    "gif-of-a-small-screen": _odd(_small_screen(), "libvips/libvips#2577", "header_odd"),
    "gif-without-end": _odd(GOOD_GIF[:-1], "libvips/libvips#3142", "end_missing"),
    "gif-with-zeros-between": _odd(
        GOOD_GIF[:AT] + b"\x21\xfe\x01a\0\0\0" + GOOD_GIF[AT:], "deanm/omggif#13"
    ),
    "webp-and-more": _odd(
        GOOD_WEBP + b"junk" * 9, "SixLabors/ImageSharp#2925", "bytes_after_end"
    ),
    "webp-that-says-it-is-larger": _odd(
        GOOD_WEBP[:4] + struct.pack("<I", len(GOOD_WEBP) + 500) + GOOD_WEBP[8:],
        "yocreoquesi/nukebg#208", "header_odd",
    ),
    "webp-without-its-last-byte": _odd(LOSSY[:-1], "image-rs/image-webp#56", "end_missing"),
    "webp-with-an-unknown-chunk": _odd(_webp_unknown(), "image-rs/image#1873"),
    "webp-with-exif-of-junk": _odd(
        webp_with(b"EXIF", b"junk"), "bigcat88/pillow_heif#45", "exif_broken"
    ),
}  # fmt: skip
