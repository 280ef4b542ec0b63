"""Metadata is read up to a size limit, and text is never read."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from plain_pictures import jpeg, resize
from plain_scenes import encoded, scene

from pipeline.fetch.picture.metadata import (
    MetadataOversizeError,
    exif_orientation,
    read_metadata,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CAP = 100_000


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunks(*chunks: bytes) -> bytes:
    """A PNG with additional chunks after its header."""
    data = encoded(scene(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def exif(orientation: int) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_equals_what_pillow_wrote(orientation):
    assert exif_orientation(exif(orientation)) == orientation


@pytest.mark.parametrize(
    "tiff",
    [
        b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"XX*\0\x08\0\0\0", b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0",  # orientation 9
        b"II*\0\x08\0\0\0\1\0\x12\1\4\0\1\0\0\0\x03\0\0\0",  # of another type
    ],
)  # fmt: skip
def test_broken_exif_means_upright(tiff):
    assert exif_orientation(tiff) == 1


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_profile_and_orientation_are_found_in_every_format(format):  # noqa: A002
    image = Image.fromarray(scene())
    data = encoded(image, format, icc_profile=SRGB, exif=b"Exif\0\0" + exif(6))

    found = read_metadata(data, format.lower(), CAP)

    assert (found.orientation, found.profile) == (6, SRGB)


def test_a_jpegs_profile_may_come_in_pieces_out_of_order():
    def piece(number: int, body: bytes) -> bytes:
        body = b"ICC_PROFILE\0" + bytes([number, 2]) + body
        return b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body

    plain = jpeg()
    data = plain[:2] + piece(2, SRGB[300:]) + piece(1, SRGB[:300]) + plain[2:]

    assert read_metadata(data, "jpeg", CAP).profile == SRGB


def _big_app2(size: int) -> bytes:
    plain, body = jpeg(), b"ICC_PROFILE\0\1\1" + bytes(60_000)
    segment = b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body
    return plain[:2] + segment * (size // 60_000 + 1) + plain[2:]


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (_big_app2(CAP), "jpeg"),
        (with_chunks(chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200 << 20)))), "png"),
        (with_chunks(chunk(b"eXIf", bytes(CAP + 1))), "png"),
        (encoded(Image.fromarray(scene()), "WEBP", icc_profile=bytes(CAP + 1)), "webp"),
        (encoded(Image.fromarray(scene()), "WEBP", exif=bytes(CAP + 1)), "webp"),
    ],
    ids=["jpeg-icc", "png-icc", "png-exif", "webp-icc", "webp-exif"],
)
def test_compressed_bombs_are_refused_before_they_are_inflated(data, form):
    started = time.monotonic()

    with pytest.raises(MetadataOversizeError):
        read_metadata(data, form, CAP)

    assert time.monotonic() - started < 0.5
    assert resize(data, max_metadata_bytes=CAP).reason == "metadata_oversize"


def test_text_chunks_are_removed_without_being_inflated():
    bomb = zlib.compress(bytes(100 << 20))
    data = with_chunks(
        chunk(b"zTXt", b"a\0\0" + bomb), chunk(b"iTXt", b"a\0\1\0\0\0" + bomb),
        chunk(b"tEXt", b"a\0" + b"x" * 3_000_000), *[chunk(b"tEXt", b"a\0b")] * 20_000,
    )  # fmt: skip

    bare = read_metadata(data, "png", CAP).bare

    assert b"tEXt" not in bare
    assert b"zTXt" not in bare
    assert b"iTXt" not in bare
    with Image.open(io.BytesIO(bare)) as image:
        assert np.array_equal(np.asarray(image), scene())
    started = time.monotonic()
    assert resize(data).reason is None
    assert time.monotonic() - started < 1


def test_a_png_with_too_many_chunks_is_refused():
    made = resize(with_chunks(*[chunk(b"tEXt", b"")] * 100_001))

    assert (made.reason, made.detail) == ("decode_error", "ValueError: more than 100000 chunks")
