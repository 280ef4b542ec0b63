"""Bytes to an upright RGB picture: each format's odd cases turned into plain 8-bit colour."""

import io
import math
import warnings
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from pipeline.fetch.picture.sniff import Sniffed

Pixels = npt.NDArray[np.uint8]
_ORIENTATION = 0x0112

# Pillow warns of odd pictures (broken EXIF, sizes), once per process: here they are the web's.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode(data: bytes, sniffed: Sniffed, scale: float = 1.0) -> tuple[Pixels, bool]:
    """Decode to RGB uint8, shape (height, width, 3), as a viewer shows it; and if it was turned.

    "Turned" means that EXIF orientation swapped width and height. A JPEG may come at reduced size
    (scaled in the DCT, libjpeg), each side at least `scale` times its own. Transparency is put on
    white; of an animation the first frame is taken; 16-bit values keep their high byte.

    Raises whatever the decoders raise on broken bytes: they know no common exception.
    """
    with Image.open(io.BytesIO(data), formats=[sniffed.format]) as image:
        if image.size != (sniffed.width, sniffed.height):
            raise ValueError(f"two sizes: {sniffed.width}×{sniffed.height} and {image.size}")
        orientation = _orientation(image)
        pixels = None
        if sniffed.format == "jpeg" and image.mode in ("RGB", "L"):
            pixels = _decode_jpeg(data, image.size, scale)
        if pixels is None:
            pixels = _to_rgb(image)
    return turn(pixels, orientation), orientation >= 5


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Apply EXIF orientation 1–8 (CIPA DC-008, tag 274) to an array (height, width, …)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # broken EXIF raises what it likes, and says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_jpeg(data: bytes, size: tuple[int, int], scale: float) -> Pixels | None:
    """libjpeg-turbo, scaled; None where it finds fault, which Pillow may yet forgive or name."""
    width, height = size
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data, "RGB",
            min_height=min(height, math.ceil(height * scale)),
            min_width=min(width, math.ceil(width * scale)),
        )  # fmt: skip
    except ValueError:
        return None
    return pixels


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion clips instead of scaling
        grey = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba: npt.NDArray[Any] = np.asarray(image.convert("RGBA")).astype(np.uint16)
        alpha = rgba[:, :, 3:]
        mixed = (rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
        return mixed.astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize to exactly width × height: by area when shrinking, Lanczos when growing."""
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), dtype=np.uint8)
