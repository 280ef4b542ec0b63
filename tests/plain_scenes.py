"""Small harmless pictures, and how each EXIF orientation stores one."""

import io
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 80
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (240, 240, 240))

STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""By EXIF orientation: what makes of an upright picture the stored one (CIPA DC-008, tag 274)."""


def scene(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Four plain quarters (red, green; blue, white): uint8 (height, width, 3)."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = height // 2, width // 2
    pixels[:top, :left], pixels[:top, left:], pixels[top:, :left], pixels[top:, left:] = COLOURS
    return pixels


def encoded(image: Image.Image | np.ndarray, format: str = "JPEG", **options: Any) -> bytes:  # noqa: A002
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if format == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def stored_as(upright: Image.Image, orientation: int) -> Image.Image:
    """The pixels that a file of this EXIF orientation holds."""
    return upright.transpose(STORED_AS[orientation]) if orientation in STORED_AS else upright


GOOD = encoded(scene())


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Noise, which compresses badly: uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
