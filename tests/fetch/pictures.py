"""Small pictures for the tests, made by Pillow."""

import io
from typing import Any

import numpy as np
from PIL import Image


def scene(width: int = 96, height: int = 80) -> np.ndarray:
    """A picture of four plain quarters (red, green; blue, white): uint8 (height, width, 3)."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = (200, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 200)
    pixels[height // 2 :, width // 2 :] = (240, 240, 240)
    return pixels


def encoded(image: Image.Image | np.ndarray, format: str = "JPEG", **options: Any) -> bytes:  # noqa: A002
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if format == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def jpeg(width: int = 96, height: int = 80, **options: Any) -> bytes:
    return encoded(scene(width, height), **options)


def pixels_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)
