"""Huge metadata: text is never inflated, profiles and EXIF only up to a limit."""

import struct

import pytest
from hazard import Hazard, assert_as_expected, by_options
from odd_pictures import (
    GOOD_PNG,
    deflated_zeros,
    icc_segments,
    jpeg_segment,
    png_chunk,
    webp_with,
    with_chunks,
    with_segments,
)
from plain_scenes import GOOD
from wire_pages import picture

GIB = 1 << 30
LARGE = {"max_bytes": 20_000_000}
LOW_CAP = LARGE | {"max_metadata_bytes": 10_000}
TEXT_BOMB = b"Comment\0\0" + deflated_zeros(2 * GIB)
ITXT_BOMB = b"Comment\0\1\0\0\0" + deflated_zeros(2 * GIB)
# Each is small enough for Pillow, but not all together.
TEXT_SWARM = [png_chunk(b"zTXt", b"k%d\0\0" % i + deflated_zeros(1 << 20)) for i in range(200)]
ICC_BOMB = b"icc\0\0" + deflated_zeros(512 << 20)
BIG = bytes(5_000_000)


def _exif(*entries: tuple[int, int, int, int], after: int = 0) -> bytes:
    """A little-endian EXIF block of entries (tag, type, count, value) and a link to the next."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", after)


def _exif_jpeg(*blocks: bytes) -> bytes:
    return with_segments(*(jpeg_segment(0xE1, b"Exif\0\0" + block) for block in blocks))


HAZARDS: dict[str, Hazard] = {
    "png-zTXt-of-2-GiB": Hazard(
        picture(with_chunks(png_chunk(b"zTXt", TEXT_BOMB))), None, options=LARGE
    ),
    "png-iTXt-of-2-GiB": Hazard(
        picture(with_chunks(png_chunk(b"iTXt", ITXT_BOMB))), None, options=LARGE
    ),
    "png-200-zTXt-of-1-MiB": Hazard(picture(with_chunks(*TEXT_SWARM)), None, options=LARGE),
    "png-tEXt-of-5-MB": Hazard(
        picture(with_chunks(png_chunk(b"tEXt", b"Comment\0" + BIG))), None, options=LARGE
    ),
    "png-zTXt-at-the-end": Hazard(
        picture(GOOD_PNG[:-12] + png_chunk(b"zTXt", TEXT_BOMB) + GOOD_PNG[-12:]),
        None, options=LARGE,
    ),
    "png-50,000-empty-chunks": Hazard(
        picture(with_chunks(png_chunk(b"tEXt", b"k\0") * 50_000)), None, options=LARGE
    ),
    "png-iCCP-of-512-MiB": Hazard(
        picture(with_chunks(png_chunk(b"iCCP", ICC_BOMB))),
        "metadata_oversize", "4000000", options=LARGE,
    ),
    "png-iCCP-broken": Hazard(picture(with_chunks(png_chunk(b"iCCP", b"icc\0\0rubbish"))), None),
    "png-eXIf-of-5-MB": Hazard(
        picture(with_chunks(png_chunk(b"eXIf", b"II*\0" + BIG))), "metadata_oversize", options=LARGE
    ),
    "jpeg-profile-of-16-MB": Hazard(
        picture(with_segments(*icc_segments(bytes(16_000_000)))), "metadata_oversize", options=LARGE
    ),
    "jpeg-profile-without-sense": Hazard(picture(with_segments(*icc_segments(bytes(900)))), None),
    "jpeg-profile-pieces-in-disorder": Hazard(
        picture(with_segments(*icc_segments(bytes(900), 9)[::-1])), None
    ),
    "jpeg-exif-of-60-kB": Hazard(
        picture(_exif_jpeg(_exif() + bytes(60_000))), "metadata_oversize", options=LOW_CAP
    ),
    "jpeg-100-exif-blocks": Hazard(
        picture(_exif_jpeg(*[_exif() + bytes(60_000)] * 100)), "metadata_oversize", options=LARGE
    ),
    "jpeg-exif-that-loops": Hazard(picture(_exif_jpeg(_exif((0x8769, 4, 1, 8), after=8))), None),
    "jpeg-exif-of-4-billion-values": Hazard(
        picture(_exif_jpeg(_exif((0x0112, 3, 0xFFFFFFFF, 8), (0x010E, 2, 0xFFFFFFFF, 8)))), None
    ),
    "jpeg-exif-broken": Hazard(picture(_exif_jpeg(b"II*\0\xff\xff\xff\xff")), None),
    "jpeg-of-comments": Hazard(
        picture(with_segments(*[jpeg_segment(0xFE, bytes(65_000))] * 100)), None, options=LARGE
    ),
    "jpeg-of-200,000-segments": Hazard(
        picture(with_segments(jpeg_segment(0xFE, b"") * 200_000)), None, options=LARGE
    ),
    "webp-profile-of-5-MB": Hazard(
        picture(webp_with(b"ICCP", BIG)), "metadata_oversize", options=LARGE
    ),
    "webp-exif-of-5-MB": Hazard(
        picture(webp_with(b"EXIF", b"II*\0" + BIG)), "metadata_oversize", options=LARGE
    ),
    "webp-xmp-of-5-MB": Hazard(picture(webp_with(b"XMP ", BIG)), None, options=LARGE),
    "a-picture-and-a-megabyte": Hazard(picture(GOOD + bytes(1 << 20)), None, options=LARGE),
}  # fmt: skip


@pytest.mark.parametrize("name", by_options(HAZARDS))
def test_metadata_is_read_within_bounds(name, serve, run):
    outcome = assert_as_expected(HAZARDS[name], serve, run)

    if HAZARDS[name].reason is None:
        assert (outcome.rows[1]["original_width"], outcome.rows[1]["original_height"]) == (96, 80)
