"""The demo web's picture files: drawn, then changed as the open web changes them, then encoded."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.demo.world import Scene, draw, draw_graphic

Pixels = NDArray[np.uint8]
Format = Literal["jpg", "png", "webp"]
Change = Literal[
    "none", "resized", "recompressed", "cropped", "recoloured", "tiny", "small", "strip", "huge",
    "turned", "truncated", "html",
]  # fmt: skip

_TURNS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}
"""How to store a picture so that its EXIF orientation turns it upright again."""


@dataclass(frozen=True)
class Picture:
    """A file to be made. The same `scene`, `seed`, `side` and `shape` always give the same pixels,
    so a repeat is its original's description with another `change`.

    `scene` None is a graphic picture; `side` is in pixels; `shape` is width over height.
    """

    path: str
    scene: Scene | None
    seed: int
    side: int
    shape: float
    form: Format = "jpg"
    change: Change = "none"


def write(picture: Picture, folder: Path) -> None:
    """Draw the picture and write it to `folder / picture.path`."""
    path = folder / picture.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render(picture))


def render(picture: Picture) -> bytes:
    """The file's bytes."""
    if picture.change == "html":
        return b"<!doctype html><title>404</title><p>This picture has moved. Log in to see it.</p>"
    rng = np.random.default_rng(picture.seed)
    if picture.scene is None:
        square = draw_graphic(rng, picture.side)
    else:
        square = draw(picture.scene, rng, picture.side)
    # A change has its own random generator, so that it does not depend on the drawing's.
    dice = np.random.default_rng([picture.seed, len(picture.path), *picture.path.encode()])
    pixels = _shaped(square, picture.shape)
    if picture.change in _CHANGES:
        pixels = _CHANGES[picture.change](pixels, dice)
    data = _encode(pixels, picture, dice)
    return (
        data[: int(len(data) * dice.uniform(0.3, 0.7))] if picture.change == "truncated" else data
    )


def _shaped(square: Pixels, shape: float) -> Pixels:
    """Square to `shape` (width over height): half of the way by cropping, half by stretching."""
    side = square.shape[0]
    kept = round(side / max(shape, 1 / shape) ** 0.5)
    skip = (side - kept) // 2
    cut = square[skip : skip + kept] if shape > 1 else square[:, skip : skip + kept]
    size = (side, round(side / shape)) if shape > 1 else (round(side * shape), side)
    return _resize(cut, *size)


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    shrinks = width < pixels.shape[1] or height < pixels.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)


def _resized(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    factor = dice.choice([dice.uniform(0.5, 0.8), dice.uniform(1.2, 1.5)])
    return _scaled(pixels, factor)


def _scaled(pixels: Pixels, factor: float) -> Pixels:
    return _resize(pixels, round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))


def _cropped(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    off_x, off_y = (round(s * dice.uniform(0.06, 0.10)) for s in (width, height))
    x, y = dice.integers(off_x + 1), dice.integers(off_y + 1)
    return pixels[y : y + height - off_y, x : x + width - off_x]


def _recoloured(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    gains, gamma = dice.uniform(0.8, 1.2, 3), dice.uniform(0.75, 1.3)
    return np.clip((pixels / 255) ** gamma * gains * 255, 0, 255).astype(np.uint8)


def _huge(pixels: Pixels, dice: np.random.Generator) -> Pixels:
    grain = dice.normal(0, 6, (720, 720, 1))
    return np.clip(_resize(pixels, 720, 720) + grain, 0, 255).astype(np.uint8)


_CHANGES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "resized": _resized,
    "cropped": _cropped,
    "recoloured": _recoloured,
    "tiny": lambda pixels, dice: _resize(pixels, 40, 40),
    "small": lambda pixels, dice: _scaled(pixels, 76 / min(pixels.shape[:2])),
    "strip": lambda pixels, dice: _resize(pixels, 900, 90),
    "huge": _huge,
}


def _encode(pixels: Pixels, picture: Picture, dice: np.random.Generator) -> bytes:
    low, high = (30, 55) if picture.change == "recompressed" else (82, 96)
    quality = int(dice.integers(low, high))
    if picture.change == "turned":
        return _encode_turned(pixels, int(dice.choice(list(_TURNS))), quality)
    options = {
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 3],
    }[picture.form]
    bgr = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(f".{picture.form}", bgr, options)[1])


def _encode_turned(pixels: Pixels, orientation: int, quality: int) -> bytes:
    """A JPEG stored rotated or mirrored, with the EXIF orientation that corrects it."""
    image = Image.fromarray(cv2.rotate(pixels, _TURNS[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()
