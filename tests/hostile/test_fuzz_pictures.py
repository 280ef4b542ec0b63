"""Damaged pictures of every format, by Hypothesis: each is read or refused, in time."""

import io
import time

import pytest
from colour_profiles import swapped_profile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_pictures import (
    deflated_zeros,
    icc_segments,
    jpeg_segment,
    png_chunk,
    webp_with,
    with_chunks,
    with_segments,
)
from PIL import Image
from plain_scenes import encoded, scene

from pipeline.config.download import DownloadConfig
from pipeline.fetch.picture.make import make_picture
from pipeline.fetch.picture.metadata import MetadataOversizeError, read_metadata
from pipeline.fetch.picture.recipe import Recipe
from pipeline.fetch.picture.sniff import looks_like, sniff
from pipeline.words.reasons import FETCH

FIXED = settings(
    derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
CAP = 100_000
_small = scene(40, 36)
_exif = Image.Exif()
_exif[0x0112], _exif[0x010E] = 6, "a picture"
_profile = swapped_profile()
WHOLE = {
    "jpeg": encoded(_small, exif=_exif, icc_profile=_profile),
    "jpeg-progressive": encoded(_small, progressive=True, comment=b"c" * 20),
    "jpeg-cmyk": encoded(Image.fromarray(_small).convert("CMYK")),
    "jpeg-pieces": with_segments(
        *icc_segments(_profile, 99), jpeg_segment(0xE1, b"Exif\0\0" + b"MM\0*" + bytes(9))
    ),
    "png": encoded(_small, "PNG", exif=_exif, icc_profile=_profile),
    "png-text": with_chunks(png_chunk(b"zTXt", b"k\0\0" + deflated_zeros(1 << 24))),
    "png-profile": with_chunks(png_chunk(b"iCCP", b"k\0\0" + deflated_zeros(1 << 24))),
    "png-palette": encoded(Image.fromarray(_small).quantize(8), "PNG", transparency=1),
    "gif": encoded(_small, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 36))]),
    "webp": encoded(_small, "WEBP", exif=_exif, icc_profile=_profile),
    "webp-lossless": webp_with(b"ICCP", _profile),
    "avif": encoded(_small, "AVIF", exif=_exif),
}
_FORMATS = ("jpeg", "png", "webp", "gif", "avif")
_EXTREMES = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1"]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid picture with a few bytes changed, removed, repeated or inserted near its start."""
    data = WHOLE[draw(st.sampled_from(sorted(WHOLE)))]
    for _ in range(draw(st.integers(0, 4))):
        top = max(len(data), 1)
        at = draw(st.integers(0, min(top, 200)) | st.integers(0, top))
        kind = draw(st.sampled_from(["flip", "extreme", "cut", "double", "insert", "remove"]))
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        elif kind == "extreme":
            data = data[:at] + draw(st.sampled_from(_EXTREMES)) + data[at + 4 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "double":
            data = data[:at] + data[max(0, at - draw(st.integers(1, 300))) :]
        elif kind == "insert":
            data = data[:at] + draw(st.binary(min_size=1, max_size=20)) + data[at:]
        else:
            data = data[:at] + data[at + draw(st.integers(1, 40)) :]
    return data


@given(damaged() | st.binary(max_size=100))
@settings(FIXED, max_examples=1_000)
def test_headers_and_metadata_of_anything_are_read_or_refused(data):
    started = time.monotonic()

    found = sniff(data)
    assert looks_like(data)
    for form in _FORMATS if found is None else (found.format,):
        try:
            metadata = read_metadata(data, form, CAP)
        except (MetadataOversizeError, ValueError):
            continue
        assert 1 <= metadata.orientation <= 8
        assert len(metadata.profile or b"") <= CAP
        # A PNG gets the signature and the end that it lacks.
        assert len(metadata.bare) <= len(data) + 20

    assert time.monotonic() - started < 0.5


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    limits = {"max_image_side": 2_000, "max_image_pixels": 1_000_000, "min_image_size": 8}
    return Recipe.of(DownloadConfig(formats=_FORMATS, image_size=32, **limits))


@given(data=damaged())
@settings(FIXED, max_examples=400)
def test_damaged_pictures_are_made_or_refused(data, recipe):
    started = time.monotonic()

    made = make_picture(data, recipe)

    if made.reason is None:
        with Image.open(io.BytesIO(made.jpeg)) as image:
            assert image.size == (made.width, made.height)
    else:
        assert made.reason in FETCH
        assert made.detail.isprintable()
        assert made.jpeg == made.thumb == made.phash == b""
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("name", WHOLE)
def test_the_fuzzed_pictures_are_valid_before_fuzzing(name, recipe):
    """Otherwise all damaged ones would be refused for the same reason."""
    wanted = "metadata_oversize" if name == "png-profile" else None

    assert make_picture(WHOLE[name], recipe).reason == wanted
