"""Colour profiles are applied as Little CMS applies them; sRGB pictures stay as they are."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from plain_pictures import stored
from plain_scenes import encoded, scene

from pipeline.fetch.picture.colour import to_srgb

TOLERANCE = 3.0
"""Mean difference (0–255) that JPEG storage at quality 100 makes on these plain areas."""


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def matrix_profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC v2 display profile, built here (ICC.1:2001-04, clauses 6.1 and 6.2)."""
    tags = {b"wtpt": _xyz((0.9642, 1.0, 0.8249)), **tags}
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += padded
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


P3 = matrix_profile(
    b"RGB ",
    {
        b"rXYZ": _xyz((0.5151, 0.2412, -0.0011)),
        b"gXYZ": _xyz((0.2920, 0.6922, 0.0419)),
        b"bXYZ": _xyz((0.1571, 0.0666, 0.7841)),
        b"rTRC": gamma(2.2),
        b"gTRC": gamma(2.2),
        b"bTRC": gamma(2.2),
    },
)
DARK_GREY = matrix_profile(b"GRAY", {b"kTRC": gamma(3.0)})
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def reference(image: Image.Image, profile: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    assert converted is not None
    return np.asarray(converted).astype(int)


def assert_near(pixels: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(pixels - wanted).mean() < TOLERANCE


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_wide_profile_is_applied(format):  # noqa: A002
    image = Image.fromarray(scene())
    wanted = reference(image, P3)
    assert np.abs(wanted - scene()).mean() > 2 * TOLERANCE  # otherwise the test proves nothing

    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    data = encoded(image, format, icc_profile=P3, **options)

    assert_near(stored(data, encode_quality=100), wanted)
    half = stored(data, encode_quality=100, resize_mode="keep_ratio", image_size=40)
    assert np.abs(half[5:15, 5:15].mean((0, 1)) - wanted[20, 20]).max() < 2 * TOLERANCE


def test_a_grey_profile_is_applied():
    grey = Image.fromarray(scene()).convert("L")

    pixels = stored(encoded(grey, "JPEG", icc_profile=DARK_GREY), encode_quality=100)

    assert_near(pixels, reference(grey, DARK_GREY))
    assert np.abs(pixels - np.asarray(grey.convert("RGB"))).mean() > 2 * TOLERANCE


def test_transparent_pixels_are_converted_before_they_are_mixed_with_white():
    image = Image.new("RGBA", (64, 64), (30, 200, 30, 128))

    pixels = stored(encoded(image, "PNG", icc_profile=P3), encode_quality=100)

    opaque = reference(Image.new("RGB", (64, 64), (30, 200, 30)), P3)
    assert_near(pixels, (opaque * 128 + 255 * 127) / 255)


@pytest.mark.parametrize("profile", [SRGB, b"no profile", DARK_GREY, SRGB[:200]])
def test_profiles_of_srgb_or_of_another_colour_space_change_no_value(profile):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))

    assert np.array_equal(np.asarray(to_srgb(image, profile)), np.asarray(image))


def test_sixteen_bit_grey_is_rounded_and_not_clipped():
    values = np.array([[0, 127, 128, 384, 385, 65535 - 128, 65535]], np.uint16).repeat(64, axis=0)
    data = encoded(Image.fromarray(values.repeat(16, axis=1)), "PNG")

    pixels = stored(data, encode_quality=100, max_aspect_ratio=9)

    found = pixels[32, 8::16, 0]
    assert np.abs(found - np.round(values[0] / 257)).max() <= 1
