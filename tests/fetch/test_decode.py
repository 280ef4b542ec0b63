"""Every unusual format of the web becomes an upright 8-bit RGB picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from plain_pictures import assert_same, jpeg, resize, stored
from plain_scenes import encoded, scene, stored_as

from pipeline.fetch.picture.decode import turn


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation, format):  # noqa: A002
    upright = Image.fromarray(scene(96, 64))
    turned = stored_as(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation

    data = encoded(turned, format, exif=exif)
    made = resize(data)

    assert (made.original_width, made.original_height) == (96, 64)
    assert_same(stored(data), scene(96, 64))
    assert_same(stored(data, resize_mode="keep_ratio", image_size=32), scene(48, 32))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_agrees_with_pillow(orientation):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    turned = stored_as(image, orientation)

    assert np.array_equal(turn(np.asarray(turned), orientation), np.asarray(image))


def test_a_picture_with_broken_exif_is_decoded():
    data = jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    assert_same(stored(data), scene())


def _sixteen_bit_png(values: np.ndarray) -> bytes:
    """A 16-bit PNG (RGB or grey, by shape), built here because Pillow writes no 16-bit RGB."""
    height, width = values.shape[:2]
    kind = 2 if values.ndim == 3 else 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    pieces = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def _with_alpha(mode: str) -> Image.Image:
    """The scene with its upper half transparent."""
    image = Image.fromarray(scene()).convert("RGBA")
    alpha = np.full((80, 96), 255, dtype=np.uint8)
    alpha[:40] = 0
    image.putalpha(Image.fromarray(alpha))
    return image.convert(mode)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    pixels[:40] = 255
    return pixels


GREY = np.asarray(Image.fromarray(scene()).convert("L").convert("RGB"))


def test_cmyk_jpeg():
    assert_same(stored(encoded(Image.fromarray(scene()).convert("CMYK"))), scene())


def test_grey_jpeg():
    assert_same(stored(encoded(Image.fromarray(scene()).convert("L"))), GREY)


def test_progressive_jpeg():
    assert_same(stored(jpeg(progressive=True)), scene())


def test_16_bit_colour_png():
    assert_same(stored(_sixteen_bit_png(scene().astype(np.uint16) * 256 + 77)), scene())


def test_16_bit_grey_png():
    assert_same(stored(_sixteen_bit_png(GREY[:, :, 0].astype(np.uint16) * 256 + 77)), GREY)


def test_one_bit_png():
    black_and_white = Image.fromarray(scene()).convert("1", dither=Image.Dither.NONE)
    assert_same(stored(encoded(black_and_white, "PNG")), np.asarray(black_and_white.convert("RGB")))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_is_put_on_white(format):  # noqa: A002
    assert_same(stored(encoded(_with_alpha("RGBA"), format)), _on_white(scene()))


def test_half_transparency_is_mixed_with_white():
    image = Image.new("RGBA", (32, 32), (0, 100, 200, 51))
    assert_same(stored(encoded(image, "PNG")), np.full((32, 32, 3), (204, 224, 244)), 2.0)


def test_grey_with_alpha_png():
    assert_same(stored(encoded(_with_alpha("LA"), "PNG")), _on_white(GREY))


def test_palette_png():
    assert_same(stored(encoded(Image.fromarray(scene()).quantize(8), "PNG")), scene())


def test_palette_with_alpha_png():
    image = _with_alpha("RGBA").quantize(8)
    data = encoded(image, "PNG")
    with Image.open(io.BytesIO(data)) as saved:
        assert saved.mode == "P"
        assert "transparency" in saved.info

    assert_same(stored(data), _on_white(scene()))


def test_transparent_colour_png():
    data = encoded(Image.fromarray(scene()), "PNG", transparency=(200, 30, 30))
    wanted = scene()
    wanted[:40, :48] = 255

    assert_same(stored(data), wanted)


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_the_first_frame_of_an_animation(format):  # noqa: A002
    frames = [Image.fromarray(scene()), Image.new("RGB", (96, 80), (0, 0, 0))]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])

    assert_same(stored(data), scene())
