"""Limits, sizes and fingerprints: from any bytes to the stored JPEG, or a reason."""

import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from plain_pictures import assert_same, jpeg, pixels_of, resize
from plain_scenes import encoded, scene
from sklearn.datasets import load_sample_image


@pytest.mark.parametrize(
    ("mode", "bigger", "size", "wanted"),
    [
        ("no", True, (300, 200), (300, 200)),
        ("keep_ratio", True, (300, 200), (96, 64)),
        ("keep_ratio", True, (200, 300), (64, 96)),
        ("keep_ratio", True, (50, 40), (50, 40)),
        ("keep_ratio", False, (50, 40), (80, 64)),
        ("center_crop", True, (300, 200), (64, 64)),
        ("center_crop", True, (50, 40), (50, 40)),
        ("center_crop", False, (50, 40), (64, 64)),
        ("border", True, (300, 200), (64, 64)),
        ("border", True, (50, 40), (50, 40)),
        ("border", False, (50, 40), (64, 64)),
    ],
)
def test_resize_modes_give_the_sizes_of_img2dataset(mode, bigger, size, wanted):
    data = jpeg(*size)
    made = resize(data, resize_mode=mode, resize_only_if_bigger=bigger)

    assert made.reason is None
    assert (made.width, made.height) == wanted
    assert (made.original_width, made.original_height) == size
    pixels = pixels_of(made.jpeg)
    assert pixels.shape == (*wanted[::-1], 3)
    if mode == "center_crop":
        assert_same(pixels, scene(*wanted), 8.0)
    if mode == "border" and wanted == (64, 64):
        assert pixels[:5].min() > 245
        assert pixels[-5:].min() > 245
        assert pixels[32, 5].argmax() in (0, 2)


def _png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(40)


@pytest.mark.parametrize(
    ("data", "options", "reason", "size"),
    [
        (_png_header(60_000, 60_000), {}, "image_too_many_pixels", (60_000, 60_000)),
        (_png_header(70_000, 300), {}, "image_too_large", (70_000, 300)),
        (_png_header(2**31, 2**31), {}, "decode_error", (None, None)),
        (_png_header(15_000, 15_000), {}, "image_too_many_pixels", (15_000, 15_000)),
        (jpeg(64, 65), {"max_image_pixels": 64 * 64}, "image_too_many_pixels", (64, 65)),
        (
            jpeg(4, 4_000),
            {"resize_mode": "keep_ratio", "resize_only_if_bigger": False, "image_size": 256},
            "image_too_large",
            (4, 4_000),
        ),
        (_png_header(100, 100), {}, "decode_error", (100, 100)),
        (b"\x89PNG\r\n\x1a\n\0\0", {}, "decode_error", (None, None)),
        (jpeg()[:100], {}, "decode_error", (None, None)),
        (encoded(scene(), "PNG")[:-60], {}, "decode_error", (96, 80)),
        (encoded(scene(), "WEBP")[:-60], {}, "decode_error", (96, 80)),
        (encoded(scene(), "BMP"), {}, "not_an_image", (None, None)),
        (encoded(scene(), "TIFF"), {}, "not_an_image", (None, None)),
        (b"<html></html>", {}, "not_an_image", (None, None)),
    ],
)
def test_refusals_have_a_reason_and_the_facts_of_the_header(data, options, reason, size):
    made = resize(data, **options)

    assert made.reason == reason, made.detail
    assert (made.original_width, made.original_height) == size
    assert (made.jpeg, made.phash, made.thumb, made.width) == (b"", b"", b"", None)


def test_fingerprints_are_near_after_resizing_and_far_for_other_pictures():
    def facts(pixels: np.ndarray, scale: float = 1.0, **options: Any) -> Any:
        image = Image.fromarray(pixels)
        image = image.resize((int(image.width * scale), int(image.height * scale)))
        return resize(encoded(image, **options), image_size=128, resize_mode="keep_ratio")

    def distance(a: bytes, b: bytes) -> int:
        return bin(int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).count("1")

    photo, other = (load_sample_image(name) for name in ("china.jpg", "flower.jpg"))
    kept = facts(photo)
    assert len(kept.phash) == 32
    assert len(kept.thumb) == 432
    assert kept.phash_quality >= 50
    for scale, quality in ((1.0, 40), (0.4, 85), (0.6, 60), (0.77, 85)):
        assert distance(kept.phash, facts(photo, scale, quality=quality).phash) <= 12
    assert distance(kept.phash, facts(other).phash) > 80
    thumb = np.frombuffer(kept.thumb, np.uint8).reshape(12, 12, 3)
    boxed = Image.fromarray(photo).resize((12, 12), Image.Resampling.BOX)
    assert np.abs(thumb - np.asarray(boxed).astype(int)).mean() < 3


def test_the_same_input_bytes_give_the_same_output_bytes():
    data = jpeg(301, 203)
    first, second = (resize(data, resize_mode="keep_ratio") for _ in range(2))

    assert first == second
