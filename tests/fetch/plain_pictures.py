"""Makes small pictures with the resizer, and compares two pictures with a tolerance."""

import io
from typing import Any

import numpy as np
from PIL import Image
from plain_scenes import encoded, scene

from pipeline.config.download import DownloadConfig
from pipeline.fetch.picture.make import Made, make_picture
from pipeline.fetch.picture.recipe import Recipe


def jpeg(width: int = 96, height: int = 80, **options: Any) -> bytes:
    return encoded(scene(width, height), **options)


def pixels_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def resize(data: bytes, **options: Any) -> Made:
    usual = {"image_size": 64, "min_image_size": 16, "resize_mode": "no"}
    return make_picture(data, Recipe.of(DownloadConfig(**usual | options)))


def stored(data: bytes, **options: Any) -> np.ndarray:
    made = resize(data, **options)
    assert made.reason is None, made.detail
    pixels = pixels_of(made.jpeg)
    assert pixels.shape == (made.height, made.width, 3)
    return pixels


def assert_same(pixels: np.ndarray, wanted: np.ndarray, tolerance: float = 6.0) -> None:
    """Equal except for JPEG's errors; a turned or differently coloured quarter is far outside."""
    assert pixels.shape == wanted.shape
    assert np.abs(pixels - wanted.astype(int)).mean() < tolerance
